# SPDX-License-Identifier: Apache-2.0
"""What a reconciler does with what it sees: wait, repair, report; each said once and counted."""

import datetime
import threading
import time
from collections.abc import Callable, Collection, Hashable, Sequence

from oslo_log import log

from multiattach import metrics
from multiattach.domain import errors
from multiattach.domain.drift import TABLE, Account, Action
from multiattach.domain.findings import Finding, Outcome, Rules, Seen

LOG = log.getLogger(__name__)

# What to run for a drift, with a key: one run is enough for all that it puts right.
Step = tuple[Hashable, Callable[[], None]]


class _Memory:
    def __init__(self, now: float) -> None:
        self.first = now
        self.since = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(
            timespec='microseconds')
        self.outcome: Outcome | None = None


class Ledger:
    """Remembers what was seen, as long as it is seen.

    :param rules: what is done about which kind.
    :param clock: tells seconds that only grow.
    """

    def __init__(self, rules: Rules, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules = rules
        self._clock = clock
        self._known: dict[Seen, _Memory] = {}
        self._lock = threading.Lock()

    def settle(self, seen: Sequence[Seen], find_step: Callable[[Seen], Step], *, fix: bool | None,
               accounts: Collection[Account]) -> tuple[list[Finding], float | None]:
        """Do what is to be done about all that was seen in one look.

        :param seen: drift; of what is not among it any more the ledger knows nothing afterwards.
        :param find_step: tells what repairs one.
        :param fix: False to do nothing, True to repair at once, None to wait for the grace before.
        :param accounts: those that could be read; of others all is kept.
        :returns: findings in the order of ``seen``, and seconds until one that waits is due, or None.
        """
        with self._lock:
            return self._settle(seen, find_step, fix, accounts)

    def _settle(self, seen: Sequence[Seen], find_step: Callable[[Seen], Step], fix: bool | None,
                accounts: Collection[Account]) -> tuple[list[Finding], float | None]:
        now = self._clock()
        done: dict[Hashable, str | None] = {}
        found, due = [], None
        for one in seen:
            action = self.rules.find_action(one.kind)
            if action is Action.IGNORE:
                continue
            memory = self._known.setdefault(one, _Memory(now))
            left = self._find_rest(one, memory, now, fix=fix)
            error = one.hold if fix is not True else None
            if action is Action.REPORT:
                outcome = Outcome.REPORTED
            elif left > 0 or error:
                outcome = Outcome.WAITING
                if not error:
                    due = min(left, due if due is not None else left)
            elif fix is False:
                outcome = Outcome.FOUND
            else:
                key, run = find_step(one)
                if key not in done:
                    done[key] = _run(one, run)
                error = done[key]
                outcome = Outcome.FAILED if error else Outcome.REPAIRED
            finding = _describe(one, memory, action, outcome, error)
            self._tell(memory, finding)
            found.append(finding)
        repaired = {one for one, finding in zip(
            (each for each in seen if self.rules.find_action(each.kind) is not Action.IGNORE), found,
            strict=True) if not finding.is_left}
        gone = set(self._known) - set(seen) | repaired
        for one in gone:
            if one in repaired or TABLE[one.kind].account in accounts:
                del self._known[one]
        return found, due

    def _find_rest(self, one: Seen, memory: _Memory, now: float, *, fix: bool | None) -> float:
        """Tell how many seconds of the grace are left."""
        if fix is True and not TABLE[one.kind].is_firm:
            return 0.0
        # A row that a clock wrote that was ahead has a negative age for long.
        lasted = max(now - memory.first, one.age or 0.0)
        return max(self.rules.find_grace(one.kind) - lasted, 0.0)

    def _tell(self, memory: _Memory, finding: Finding) -> None:
        outcome = Outcome(finding.outcome)
        if memory.outcome is outcome or (memory.outcome is not None and outcome is Outcome.FOUND):
            return
        memory.outcome = outcome
        metrics.drift(finding.kind, outcome)
        LOG.warning('Drift %s (%s) on %s, volume %s, attachment %s, %s: %s%s', finding.kind, outcome,
                    finding.host, finding.volume_id or '-', finding.attachment_id or '-',
                    finding.about or '-', finding.text, f' {finding.error}' if finding.error else '')


def _run(one: Seen, run: Callable[[], None]) -> str | None:
    """Run a repair; return why it failed, or None."""
    try:
        run()
    except errors.MultiattachError as exc:
        return exc.message
    except Exception as exc:  # the rest is to be looked after all the same
        LOG.exception('Drift %s of volume %s was not repaired', one.kind, one.volume_id)
        return f'Unexpected failure ({type(exc).__name__}); the log says more.'
    return None


def _describe(one: Seen, memory: _Memory, action: Action, outcome: Outcome, error: str | None) -> Finding:
    row = TABLE[one.kind]
    return Finding(one.kind, one.host, one.volume_id, one.attachment_id, one.about, row.means, row.step,
                   action, outcome, memory.since, error)
