# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest
from hypothesis import given, strategies as st

from multiattach.domain import leases
from multiattach.domain.leases import Lease, LeaseRules, View

NOW = datetime.datetime(2026, 1, 1, 12)
RULES = LeaseRules(duration=30.0, max_attempts=5, pause=2.0, longest_pause=300.0)
ME, OTHER = 'volume:volume.me/1', 'volume:volume.other/1'


def ago(seconds: float) -> datetime.datetime:
    return NOW - datetime.timedelta(seconds=seconds)


def view(*, gone: bool = False, orphaned: float | None = None) -> View:
    return View(ME, NOW, lambda owner: gone and owner == OTHER, None if orphaned is None else ago(orphaned))


def lease(
    until: float = -10, owner: str = OTHER, retry: float | None = None, since: float = 100, attempts: int = 0
) -> Lease:
    return Lease('x', ago(since), owner, ago(until), attempts, None if retry is None else ago(retry))


@pytest.mark.parametrize(
    ('since', 'found', 'seen', 'expected'),
    [
        # nobody wrote a lease: for a while it is of whoever got the order
        (29, None, view(), False),
        (30, None, view(), True),
        # ... who is known to be dead
        (10, None, view(orphaned=5), True),
        (10, None, view(orphaned=15), False),
        # somebody is at it
        (100, lease(until=-1), view(), False),
        (100, lease(until=1), view(), True),
        (100, lease(until=-1), view(gone=True), True),
        (100, lease(until=-1, owner=ME), view(), True),
        (100, lease(until=-1), view(orphaned=5), False),
        # it waits for its next attempt, whoever makes it
        (100, lease(until=5, retry=-5), view(gone=True, orphaned=0), False),
        (100, lease(until=5, retry=-5, owner=ME), view(), False),
        (100, lease(until=0, retry=0), view(), True),
        # a lease of an earlier step is none
        (20, lease(until=-50), view(), False),
        (31, lease(until=-50), view(), True),
    ],
)
def test_who_may_take_a_step(since: float, found: Lease | None, seen: View, expected: bool) -> None:
    assert leases.may_take(ago(since), found, RULES, seen) is expected


def test_what_nobody_was_told_of_may_be_taken_at_once() -> None:
    assert leases.may_take(NOW, None, RULES, view(), ordered=False)
    assert not leases.may_take(ago(100), lease(), RULES, view(), ordered=False)


@pytest.mark.parametrize(
    ('found', 'number'),
    [(None, 1), (lease(attempts=3), 4), (lease(attempts=3, retry=1), 3), (lease(since=99, attempts=3), 1)],
)
def test_a_lost_owner_counts_as_an_attempt(found: Lease | None, number: int) -> None:
    assert leases.count_attempts(ago(100), found) == number


SECONDS = st.floats(0, 1e6, allow_nan=False)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), DRAWS, SECONDS, SECONDS)
def test_a_pause_is_bounded_and_not_less_than_half_of_its_limit(
    attempts: int, draw: float, first: float, longest: float
) -> None:
    rules = LeaseRules(pause=first, longest_pause=longest)
    limit = min(first * 2.0 ** min(attempts - 1, 60), longest)
    assert limit / 2 <= leases.choose_pause(attempts, draw, rules) <= limit <= longest


@given(st.integers(1, 100), DRAWS)
def test_pauses_never_shrink_for_the_same_draw(attempts: int, draw: float) -> None:
    assert leases.choose_pause(attempts, draw, RULES) <= leases.choose_pause(attempts + 1, draw, RULES)


@given(DRAWS)
def test_the_default_gives_a_target_that_restarts_ten_minutes(draw: float) -> None:
    rules = LeaseRules()
    assert not leases.is_exhausted(rules.max_attempts - 1, rules)
    assert leases.is_exhausted(rules.max_attempts, rules)
    pauses = [leases.choose_pause(number, draw, rules) for number in range(1, rules.max_attempts)]
    assert 300 < sum(pauses) < 1800


@given(
    st.sampled_from([None, ME, OTHER]),
    st.integers(-100, 100),
    st.one_of(st.none(), st.integers(-100, 100)),
    st.booleans(),
)
def test_of_two_that_are_alive_none_takes_what_the_other_is_at(
    owner: str | None, until: float, retry: float | None, gone: bool
) -> None:
    """Only a lease that ran out, a dead owner, or a retry that is due is taken from another one."""
    found = None if owner is None else lease(until=until, owner=owner, retry=retry)
    if leases.may_take(ago(100), found, RULES, view(gone=gone)) and owner == OTHER:
        assert (retry is not None and retry >= 0) or (retry is None and (until >= 0 or gone))


def test_the_text_says_why() -> None:
    assert leases.give_up_text(5, 'no answer') == 'given up after 5 attempts: no answer'
    assert 'lost each time' in leases.give_up_text(5, None)


HOUR = 3600.0


@pytest.mark.parametrize(
    ('since', 'found', 'watched', 'expected'),
    [
        # a clock that is ahead wrote it: what is not renewed is not held for an hour
        (-HOUR, None, 29, False),
        (-HOUR, None, 30, True),
        (100, lease(until=-HOUR), 29, False),
        (100, lease(until=-HOUR), 30, True),
        (-HOUR, lease(until=-HOUR - 30, since=-HOUR), 29, False),
        (-HOUR, lease(until=-HOUR - 30, since=-HOUR), 30, True),
        (100, lease(until=-HOUR, retry=-HOUR, attempts=3), 7.9, False),
        (100, lease(until=-HOUR, retry=-HOUR, attempts=3), 8, True),
        # a clock that is behind wrote it: what is renewed each 10 s is of one that lives
        (HOUR, None, 0, False),
        (HOUR, None, 20, False),
        (HOUR, None, 23, True),
        (HOUR, lease(until=HOUR - 30, since=HOUR), 20, False),
        (HOUR, lease(until=HOUR - 30, since=HOUR), 23, True),
        # ... and a retry is not earlier than its pause
        (HOUR, lease(until=HOUR, retry=HOUR, since=HOUR, attempts=3), 3.9, False),
        (HOUR, lease(until=HOUR, retry=HOUR, since=HOUR, attempts=3), 4, True),
        # clocks that differ by less than a lease, or nobody has looked for a moment: nothing is waited for
        (59, None, 0, True),
        (100, lease(until=29), 0, True),
        (100, lease(until=29, retry=29, attempts=3), 0, True),
    ],
)
def test_times_of_a_clock_that_has_stepped(since: float, found: Lease | None, watched: float, expected: bool) -> None:
    assert leases.may_take(ago(since), found, RULES, view(), watched=watched) is expected


@given(st.floats(-1e6, 1e6), st.floats(0, 30 * 0.7), st.booleans())
def test_one_that_renews_is_not_robbed_whatever_its_clock_says(skew: float, watched: float, leased: bool) -> None:
    """It is seen to renew each third of a lease; a clock that differs by less than a lease is believed."""
    now = NOW - datetime.timedelta(seconds=skew)  # at its place
    found = lease(until=skew - (30 - watched), since=100) if leased else None
    since = ago(100) if leased else now - datetime.timedelta(seconds=watched)
    if leases.may_take(since, found, RULES, view(), watched=watched):
        assert 30 - watched <= skew < 60 - watched


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(1, 50), st.booleans())
def test_nothing_waits_for_longer_than_without_clocks(since: float, until: float, attempts: int, waits: bool) -> None:
    found = lease(until=until, since=since, retry=until if waits else None, attempts=attempts)
    longest = RULES.longest_pause if waits else RULES.duration
    assert leases.may_take(ago(since), found, RULES, view(), watched=longest)
