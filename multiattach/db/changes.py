# SPDX-License-Identifier: Apache-2.0
"""What a transaction changed, for those who want to know once it is committed.

Writers of states note what they do on their session or connection; :class:`~multiattach.db.database.Database`
hands it to its observers after the commit, and forgets it with a rollback.
"""

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

from multiattach.db.commits import Work, find_read
from multiattach.domain.callers import Caller

ATTACHMENT = 'attachment'
VOLUME = 'volume'
SNAPSHOT = 'snapshot'
_KEY = 'multiattach_changes'


@dataclasses.dataclass(frozen=True)
class Change:
    """One event on one row.

    :param noun: ``attachment``, ``volume`` or ``snapshot``.
    :param at: when, UTC without zone.
    :param left: state before, None where the transaction had not read it.
    :param stayed: seconds in the state before, None where not known.
    :param seconds: how long the step took that ends so, None where nobody measured.
    :param error: why a step failed; free of secrets.
    :param caller: who made that call, None for what the service does by itself.
    """

    noun: str
    ident: str
    event: str
    state: str | None
    at: datetime.datetime
    left: str | None = None
    stayed: float | None = None
    seconds: float | None = None
    error: str | None = None
    request_id: str | None = None
    caller: Caller | None = None


Observer = Callable[[Change], None]


def begin(work: Work) -> None:
    """Have the changes of a transaction noted."""
    work.info[_KEY] = []


def note(work: Work, change: Callable[[], Change]) -> None:
    """Note a change if somebody observes.

    :param change: makes the change; called only if it is wanted.
    """
    noted = work.info.get(_KEY)
    if noted is not None:
        noted.append(change())


def take(info: dict[Any, Any]) -> list[Change]:
    """Return what was noted.

    :param info: of the session or connection, got before it ended.
    """
    noted: list[Change] = info.pop(_KEY, [])
    return noted


def state_before(
    work: Work, model: Any, ident: str, column: str, at: datetime.datetime
) -> tuple[str | None, float | None]:
    """Tell what a session had read of a row before a statement changed it; nothing is asked.

    :param column: column of the state; ``COLUMN_at`` says since when.
    :param at: now.
    :returns: state and seconds in it; None for what was not read.
    """
    read = find_read(work, model, ident)
    since = read.get(f'{column}_at')
    return read.get(column), (at - since).total_seconds() if since else None
