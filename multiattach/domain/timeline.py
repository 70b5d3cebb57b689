# SPDX-License-Identifier: Apache-2.0
"""The timeline of an attachment as steps: when, how long, by whom, from which state to which, and why not."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterable
from typing import Any

# What the API itself writes as the actor; workers and agents write ``volume:HOST`` and ``host:HOST``.
_ACTORS = {'api': 'api', 'volume': 'volume worker', 'host': 'host agent'}
# Files and addresses of the service's machines, which are not for users.
_PATH = re.compile(r'(?<![\w/])/[\w.@:+-]+(?:/[\w.@:+-]+)+')
_ADDRESS = re.compile(r'\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\[[0-9a-fA-F:]+\](?::\d+)?')
_NAME = re.compile(r'\b(?:iqn\.\d{4}-\d{2}\.[^\s,;\'")]+|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32})')
_HIDDEN = '(hidden)'
# The line that stands for those that were left out of a long timeline, with their number; a text, as numbers
# of one width begin with zeros.
GAP_START, GAP_DIGITS, GAP_END = '{"dropped":"', 10, '"}\n'
_GAP = 'dropped'


@dataclasses.dataclass(frozen=True)
class TimelineEntry:
    """One move of an attachment's state.

    :param at: when, UTC without zone.
    :param event: key of :data:`~multiattach.domain.states.ATTACHMENT_EVENTS`, or ``reserve``.
    :param actor: who moved it: ``api``, ``volume:HOST`` or ``host:HOST``.
    :param user: id of the user who made that call; of one who may not know it, None.
    :param service: id of the service that passed the call on, Nova's for instance.
    :param address: where the call came from.
    :param seconds: how long the work took that ended in this move, None if it was not measured.
    :param stayed: how long the attachment stayed in *target*, seconds; None once it is gone.
    :param dropped: number of steps before this one that are no longer known; *source* is then None.
    """

    at: datetime.datetime
    event: str
    source: str | None
    target: str
    actor: str
    request_id: str | None = None
    user: str | None = None
    project: str | None = None
    service: str | None = None
    address: str | None = None
    seconds: float | None = None
    stayed: float | None = None
    error: str | None = None
    dropped: int = 0


def read(text: str) -> list[dict[str, Any]]:
    """Read a timeline as :mod:`multiattach.db.transitions` writes it, oldest entry first.

    An entry after steps that are no longer known has their number as ``dropped``.
    """
    entries: list[dict[str, Any]] = []
    dropped = 0
    for line in text.splitlines():
        entry = json.loads(line)
        if _GAP in entry:
            dropped = int(entry[_GAP])
            continue
        entries.append(entry | ({_GAP: dropped} if dropped else {}))
        dropped = 0
    return entries


def parse(text: str, now: datetime.datetime | None) -> list[TimelineEntry]:
    """Read a timeline as :mod:`multiattach.db.transitions` writes it, oldest step first.

    :param now: the time, UTC without zone, to which the last state lasts; None if it is over.
    """
    entries = read(text)
    moments = [datetime.datetime.fromisoformat(entry['at']) for entry in entries]
    ends = [*moments, now][1:]
    steps: list[TimelineEntry] = []
    for entry, at, end in zip(entries, moments, ends, strict=True):
        dropped = entry.get(_GAP, 0)
        if dropped:  # nobody knows how long that state lasted
            steps[-1] = dataclasses.replace(steps[-1], stayed=None)
        steps.append(
            TimelineEntry(
                at=at,
                event=entry['event'],
                source=steps[-1].target if steps and not dropped else None,
                dropped=dropped,
                target=entry['state'],
                actor=entry['by'],
                request_id=entry.get('request_id'),
                user=entry.get('user'),
                project=entry.get('project'),
                service=entry.get('service'),
                address=entry.get('from'),
                seconds=entry.get('seconds'),
                error=entry.get('error'),
                stayed=None if end is None else round(max((end - at).total_seconds(), 0.0), 3),
            )
        )
    return steps


def name_role(actor: str) -> str:
    """Return ``api``, ``volume worker`` or ``host agent`` for an actor; another text as it is up to its colon."""
    kind = actor.partition(':')[0]
    return _ACTORS.get(kind, kind)


def hide_internals(text: str, names: Iterable[str | None]) -> str:
    """Take out of an error what only operators should see: hosts, addresses, initiators, files.

    :param names: names of hosts and backends that may occur in it.
    """
    for pattern in (_NAME, _PATH, _ADDRESS):
        text = pattern.sub(_HIDDEN, text)
    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = re.sub(rf'(?<![\w.-]){re.escape(name)}(?![\w-])', _HIDDEN, text)
    return text
