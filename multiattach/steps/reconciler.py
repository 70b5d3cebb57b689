# SPDX-License-Identifier: Apache-2.0
"""Rounds of looking for drift, of a backend or a host: when there is one, and what comes of it."""

import abc
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from oslo_log import log

from multiattach.domain import errors
from multiattach.domain.drift import Account
from multiattach.domain.epoch import Doubt
from multiattach.domain.findings import DriftRules, Finding, Seen
from multiattach.steps.ledger import Ledger, Repair, Wish

LOG = log.getLogger(__name__)
# s that one who only looks waits for the round before: whoever asks is to have an answer in ten seconds.
PATIENCE = 7.0
Owns = Callable[[str], bool]


def owns_all(_ident: str) -> bool:
    """Look after every volume."""
    return True


@dataclasses.dataclass
class Look:
    """What was seen in one round.

    :param accounts: those that are compared.
    :param doubt: why the database is not believed, or None.
    :param there: sessions, targets or attachments that there are.
    :param unread: why an account could not be read.
    :param is_bound: nothing is to be repaired now, whoever asks.
    """

    accounts: frozenset[Account]
    doubt: Doubt | None
    seen: list[Seen] = dataclasses.field(default_factory=list)
    there: int = 0
    unread: dict[Account, str] = dataclasses.field(default_factory=dict)
    is_bound: bool = False


class Reconciler(abc.ABC):
    """Looks after one backend or one host.

    :param interval: seconds between two rounds, 0 for none but those that a person asks for.
    """

    # Who does not answer, if a round does not end.
    silent = ''

    def __init__(self, host: str, rules: DriftRules, interval: float) -> None:
        self._host = host
        self._rules = rules
        self._interval = interval
        self._ledger = Ledger(rules)
        self._round = threading.Lock()
        self.due = 0.0  # when the next round is, by the monotonic clock

    @abc.abstractmethod
    def look(self, owns: Owns, fix: bool | None) -> Look:
        """Compare all accounts."""

    @abc.abstractmethod
    def find_step(self, one: Seen) -> Repair:
        """Return what puts a drift right, with a key: one run is enough for all that it puts right."""

    def is_due(self) -> bool:
        """Return whether it is time for a round: at the interval, or when the grace of something ends."""
        return time.monotonic() >= self.due

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Have whoever is asked in the block answer in some seconds."""
        return contextlib.nullcontext()

    @property
    def pause(self) -> float | None:
        """Seconds between two calls of :meth:`tick`, None if it is to do nothing by itself."""
        return max(min(self._interval / 4, 5.0), 0.05) if self._interval else None

    def tick(self, owns: Owns = owns_all) -> None:
        """Do a round if one is due."""
        if self.is_due():
            self.run(owns)

    def run(self, owns: Owns = owns_all, *, fix: bool | None = None, release: Collection[str] = ()) -> list[Finding]:
        """Do a round, for the volumes that *owns* accepts.

        :param fix: False to do nothing, True to repair at once, None to wait for the grace before.
        :param release: seals of what a person lets through the breaker.
        :raises Unavailable: the round before has not ended in time; for one who only looks.
        """
        return self._run(owns, fix, release)[0]

    def reconcile(self, fix: bool, release: Collection[str] = ()) -> dict[str, Any]:
        """Do a round for a person; of ``unread`` the reply tells by account why it could not be read."""
        found, unread = self._run(owns_all, fix, release)
        return {
            'findings': [one.write() for one in found],
            'unread': {str(account): reason for account, reason in unread.items()},
        }

    def list_findings(self, volume_id: str) -> list[dict[str, Any]]:
        """Tell what the last look found of a volume, and of the whole."""
        return [one.write() for one in self._ledger.last if one.volume_id in (volume_id, None)]

    def _run(self, owns: Owns, fix: bool | None, release: Collection[str]) -> tuple[list[Finding], dict[Account, str]]:
        with self._take_round(fix):
            look = self.look(owns, fix)
            for reason in look.unread.values():
                LOG.warning('%s cannot be compared as a whole: %s', self._host, reason)
            wish = Wish(False if look.is_bound else fix, release, look.there, look.doubt.tell() if look.doubt else None)
            found, due = self._ledger.settle(look.seen, self.find_step, wish, look.accounts - set(look.unread))
            after = time.monotonic() + min(self._interval, self._interval if due is None else due)
            # A person who looks often must not put off the round that repairs.
            self.due = after if fix is None else min(self.due, after)
            return found, look.unread

    @contextlib.contextmanager
    def _take_round(self, fix: bool | None) -> Iterator[None]:
        """Be the only one who looks; one for whom a person waits, and who changes nothing, not for long."""
        if fix is not False:
            with self._round:
                yield
            return
        until = time.monotonic() + PATIENCE
        if not self._round.acquire(timeout=PATIENCE):
            raise errors.Unavailable(
                f'An earlier look at {self._host} has not ended in {PATIENCE:g} s: {self.silent}, does not answer.'
            )
        try:
            with self.within(until - time.monotonic()):
                yield
        finally:
            self._round.release()
