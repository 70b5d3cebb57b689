# SPDX-License-Identifier: Apache-2.0
"""Who may take up a step, and when: leases, attempts and pauses. Pure functions of what is recorded.

A step is an attachment or a volume in a state in which a worker or an agent acts next. It needs no lease
of its own as long as it is quick: for a while after the state was written it belongs to whoever got the
order. Only a step that takes long, or that is to be tried again, has a lease.

The times of a row are of the clock of whoever wrote it, and clocks step. Whoever looks counts by itself, too,
for how long it has seen a row as it is: a lease that is renewed changes, whatever its times say.
"""

import dataclasses
import datetime
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class LeaseRules:
    """How long leases last and how often a step is tried.

    :param duration: seconds that a lease lasts without a sign of life of its owner.
    :param max_attempts: attempts without a result after which a step ends in an error state.
    :param pause: seconds between the first attempt and the second one; it doubles.
    :param longest_pause: seconds that it never exceeds.
    """

    duration: float = 30.0
    max_attempts: int = 10
    pause: float = 2.0
    longest_pause: float = 300.0

    @property
    def renewal(self) -> float:
        """Seconds between two renewals; a step that takes no longer needs no lease."""
        return max(self.duration / 3, 1.0)


@dataclasses.dataclass(frozen=True)
class Lease:
    """A lease as it is recorded.

    :param ident: UUID of the attachment or volume.
    :param since: when it took the state that the step is about.
    :param until: end of the lease, if it is not renewed.
    :param attempts: attempts that ended without a result.
    :param retry_at: when it is tried again; None while the owner is at it.
    :param error: what the last attempt ended with.
    """

    ident: str
    since: datetime.datetime
    owner: str
    until: datetime.datetime
    attempts: int = 0
    retry_at: datetime.datetime | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """What a process knows when it looks for steps to take up.

    :param me: its name as an owner of leases.
    :param is_gone: tells whether the process of another owner is known to be dead.
    :param orphaned_before: steps without a lease that began before this moment are nobody's: those who may
        have got the order are known to be dead. None if nothing is known.
    """

    me: str
    now: datetime.datetime
    is_gone: Callable[[str], bool]
    orphaned_before: datetime.datetime | None = None


# A lease is renewed each third of its duration: what has not changed for so long is not renewed.
_UNRENEWED = 0.75


def may_take(
    since: datetime.datetime,
    lease: Lease | None,
    rules: LeaseRules,
    view: View,
    *,
    ordered: bool = True,
    watched: float = 0.0,
) -> bool:
    """Return whether a process may try to take up a step that it has not in hand; of several one succeeds.

    :param since: when the attachment or volume took the state that the step is about.
    :param ordered: whether somebody else may have got an order for it.
    :param watched: for how long this process has seen step and lease as they are, seconds by a clock that
        does not step.
    """
    if lease is not None and lease.since == since and lease.retry_at is not None:
        longest = _limit_pause(lease.attempts, rules)
        return _has_come(lease.retry_at, rules, view, watched, longest / 2, longest)
    if lease is not None and lease.since == since:
        if lease.owner == view.me or view.is_gone(lease.owner):
            return True
        end = lease.until
    else:
        if not ordered or (view.orphaned_before is not None and since < view.orphaned_before):
            return True
        end = since + datetime.timedelta(seconds=rules.duration)
    return _has_come(end, rules, view, watched, rules.duration * _UNRENEWED, rules.duration)


def _has_come(
    moment: datetime.datetime, rules: LeaseRules, view: View, watched: float, least: float, most: float
) -> bool:
    """Tell whether a time has come that another one's clock has set.

    By the clocks, if they tell a time that may be: what lies further back than a lease was set by a clock
    that is behind, unless nobody was there to look, and *least* is waited for. In any case after *most*.
    """
    if watched >= most:
        return True
    late = (view.now - moment).total_seconds()
    return late >= 0 and (late < rules.duration or watched >= least)


def count_attempts(since: datetime.datetime, lease: Lease | None) -> int:
    """Count the attempts without a result of a step that is taken up.

    An owner that was lost while it was at it, or whoever got the order, counts as one.
    """
    if lease is None or lease.since != since:
        return 1
    return lease.attempts + (1 if lease.retry_at is None else 0)


def choose_pause(attempts: int, draw: float, rules: LeaseRules) -> float:
    """Choose how many seconds to wait before a step is tried again.

    It doubles with each attempt up to a limit; a random part of up to a half keeps those who failed
    together from coming back together.

    :param draw: a random number, at least 0 and below 1.
    """
    return _limit_pause(attempts, rules) * (0.5 + 0.5 * draw)


def _limit_pause(attempts: int, rules: LeaseRules) -> float:
    doublings = min(max(attempts - 1, 0), 60)
    return min(rules.pause * 2.0**doublings, rules.longest_pause)


def is_exhausted(attempts: int, rules: LeaseRules) -> bool:
    return attempts >= rules.max_attempts


def tell(lease: Lease) -> str:
    """Say in one sentence what a lease means for what happens next."""
    before = (
        ''
        if not lease.attempts
        else (f' {lease.attempts} attempt{"" if lease.attempts == 1 else "s"} before had no result.')
    )
    if lease.retry_at is not None:
        return f'The next attempt is at {lease.retry_at:%H:%M:%S} UTC.{before}'
    return f'Somebody is at it; if no sign of life comes, it is taken over at {lease.until:%H:%M:%S} UTC.{before}'


def give_up_text(attempts: int, error: str | None) -> str:
    return f'given up after {attempts} attempts: {error or "whoever was at it was lost each time"}'
