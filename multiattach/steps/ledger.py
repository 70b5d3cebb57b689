# SPDX-License-Identifier: Apache-2.0
"""What a reconciler does with what it sees: wait, repair, report; each said once and counted."""

import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Collection, Hashable, Sequence

from oslo_log import log

from multiattach import signals
from multiattach.domain import errors
from multiattach.domain.drift import DESTRUCTIVE, TABLE, Account, Action
from multiattach.domain.findings import DriftRules, Finding, Outcome, Seen
from multiattach.steps.breaker import Breaker, make_seal

LOG = log.getLogger(__name__)

# What to run for a drift, with a key: one run is enough for all that it puts right.
Repair = tuple[Hashable, Callable[[], None]]
_CONFIRM = 5.0  # seconds after which what a repair takes away is looked at once more


class _Memory:
    def __init__(self, now: float) -> None:
        self.first = now
        self.since = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec='microseconds')
        self.outcome: Outcome | None = None
        self.looks = 0


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be done about what is seen.

    :param fix: False to do nothing, True to repair at once, None to wait for the grace before.
    :param release: seals of what a person lets through the breaker.
    :param there: sessions, targets or attachments that there are: what the breaker's limits are a part of.
    :param doubt: why nothing is repaired at all, or None.
    """

    fix: bool | None = None
    release: Collection[str] = ()
    there: int = 0
    doubt: str | None = None


class Ledger:
    """Remembers what was seen, as long as it is seen."""

    def __init__(self, rules: DriftRules, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules = rules
        self._clock = clock
        self._known: dict[Seen, _Memory] = {}
        self._breaker = Breaker(rules, clock)
        self._seal: str | None = None
        self._host = ''
        self._last: list[Finding] = []
        self._lock = threading.Lock()

    @property
    def last(self) -> list[Finding]:
        return self._last

    def settle(
        self, seen: Sequence[Seen], find_step: Callable[[Seen], Repair], wish: Wish, accounts: Collection[Account]
    ) -> tuple[list[Finding], float | None]:
        """Do what is to be done about all that was seen in one look.

        What takes something away is repaired by itself only if an earlier look of this process has seen it,
        too, and if the breaker lets it.

        :param seen: drift; of what is not among it any more the ledger knows nothing afterwards.
        :param accounts: those that could be read; of others all is kept.
        :returns: findings in the order of ``seen``, and seconds until one that waits is due, or None.
        """
        with self._lock:
            self._last, due = self._settle(
                [one for one in seen if self.rules.find_action(one.kind) is not Action.IGNORE],
                find_step,
                wish,
                accounts,
            )
            return self._last, due

    def _settle(
        self, seen: Sequence[Seen], find_step: Callable[[Seen], Repair], wish: Wish, accounts: Collection[Account]
    ) -> tuple[list[Finding], float | None]:
        now = self._clock()
        done: dict[Hashable, str | None] = {}
        found, due = [], None
        held, seal = self._hold(seen, find_step, wish)
        made: list[Seen] = []
        for one in seen:
            action = self.rules.find_action(one.kind)
            memory = self._known.setdefault(one, _Memory(now))
            left = self._find_rest(one, memory, now, fix=wish.fix)
            error = wish.doubt or held.get(one) or _find_hold(one, wish)
            if action is Action.REPORT:
                outcome, error = Outcome.REPORTED, None
            elif left > 0 or error:
                outcome = Outcome.WAITING
                if not error:
                    due = min(left, due if due is not None else left)
            elif wish.fix is False:
                outcome = Outcome.FOUND
            else:
                key, run = find_step(one)
                if key not in done:
                    done[key] = _run(one, run)
                if one.kind in DESTRUCTIVE and wish.fix is None:
                    made.append(one)
                error = done[key]
                outcome = Outcome.FAILED if error else Outcome.REPAIRED
            memory.looks += 1
            finding = _describe(one, memory, action, outcome, error, seal if one in held else None)
            self._tell(memory, finding)
            found.append(finding)
        self._breaker.report(made, lambda one: find_step(one)[0])
        repaired = {one for one, finding in zip(seen, found, strict=True) if not finding.is_left}
        gone = set(self._known) - set(seen) | repaired
        for one in gone:
            if one in repaired or TABLE[one.kind].account in accounts:
                del self._known[one]
        return found, due

    def _hold(
        self, seen: Sequence[Seen], find_step: Callable[[Seen], Repair], wish: Wish
    ) -> tuple[dict[Seen, str], str | None]:
        """Find what waits for a person, and its seal."""
        wanted = [
            one
            for one in seen
            if self.rules.find_action(one.kind) is Action.REPAIR and one.kind in DESTRUCTIVE and wish.doubt is None
        ]
        self._host = wanted[0].host if wanted else self._host
        held = self._breaker.judge(wanted, wish.there, lambda one: find_step(one)[0])
        seal = make_seal(held) if held else None
        if seal is not None and wish.fix is True and seal in wish.release:
            LOG.warning('%d repairs on %s were released by a person (seal %s)', len(held), self._host, seal)
            held, seal = {}, None
        if self._host:
            signals.sink.held(self._host, len(held))
        if seal is not None and seal != self._seal:
            LOG.error(
                '%s on %s for a person. %s',
                'A repair waits' if len(held) == 1 else f'{len(held)} repairs wait',
                self._host,
                _advise(next(iter(held.values())), seal),
            )
        self._seal = seal
        return {one: _advise(reason, str(seal)) for one, reason in held.items()}, seal

    def _find_rest(self, one: Seen, memory: _Memory, now: float, *, fix: bool | None) -> float:
        """Tell how many seconds of the grace are left."""
        if fix is True and not TABLE[one.kind].is_firm:
            return 0.0
        again = _CONFIRM if fix is None and one.kind in DESTRUCTIVE and not memory.looks else 0.0
        # A row that a clock wrote that was ahead has a negative age for long.
        lasted = max(now - memory.first, one.age or 0.0)
        return max(self.rules.find_grace(one.kind) - lasted, again)

    def _tell(self, memory: _Memory, finding: Finding) -> None:
        outcome = Outcome(finding.outcome)
        if memory.outcome is outcome or (memory.outcome is not None and outcome is Outcome.FOUND):
            return
        memory.outcome = outcome
        signals.sink.drift(finding.kind, outcome)
        LOG.warning(
            'Drift %s (%s) on %s, volume %s, attachment %s, %s: %s%s',
            finding.kind,
            outcome,
            finding.host,
            finding.volume_id or '-',
            finding.attachment_id or '-',
            finding.about or '-',
            finding.text,
            f' {finding.error}' if finding.error and finding.seal is None else '',
        )


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


def _find_hold(one: Seen, wish: Wish) -> str | None:
    """Tell what holds a repair back that takes nothing away: whoever asks for it, has it."""
    return None if wish.fix is True or one.kind in DESTRUCTIVE else one.hold


def _advise(reason: str, seal: str) -> str:
    return f'{reason} If it is right: openstack multiattach doctor --fix --release {seal}'


def _describe(
    one: Seen, memory: _Memory, action: Action, outcome: Outcome, error: str | None, seal: str | None
) -> Finding:
    row = TABLE[one.kind]
    return Finding(
        one.kind,
        one.host,
        one.volume_id,
        one.attachment_id,
        one.about,
        row.means,
        row.step,
        action,
        outcome,
        memory.since,
        error,
        seal,
    )
