# SPDX-License-Identifier: Apache-2.0
"""What becomes of what is seen: once said, once counted, never before its time."""

import logging
from collections.abc import Iterator

import pytest

from multiattach import signals
from multiattach.domain import errors, findings
from multiattach.domain.drift import DESTRUCTIVE, TABLE, Account, Action, Drift
from multiattach.domain.findings import DriftRules, Seen
from multiattach.steps.ledger import Ledger, Wish

EVERYTHING = frozenset(Account)
STRAY = Seen(Drift.STRAY_DISK, 'host', 'volume', None, 'server')
OTHER = Seen(Drift.STRAY_DISK, 'host', 'other', None, 'server')
STATUS = Seen(Drift.STATUS, 'backend', 'volume')


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    def __init__(self, rules: DriftRules | None = None) -> None:
        self.clock = Clock()
        self.ledger = Ledger(rules or DriftRules(), self.clock)
        self.ran: list[str | None] = []
        self.error: Exception | None = None

    def settle(
        self,
        *seen: Seen,
        fix: bool | None = None,
        accounts: frozenset[Account] = EVERYTHING,
        at: float | None = None,
        there: int = 100,
        release: tuple[str, ...] = (),
        doubt: str | None = None,
    ) -> list[str]:
        self.clock.now = self.clock.now if at is None else at
        found, self.due = self.ledger.settle(
            seen, lambda one: (one.volume_id, lambda: self.run(one)), Wish(fix, release, there, doubt), accounts
        )
        self.found = found
        return [one.outcome for one in found]

    def run(self, one: Seen) -> None:
        self.ran.append(one.volume_id)
        if self.error:
            raise self.error


class Counter(signals.Sink):
    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []
        self.holding = '', 0

    def drift(self, kind: str, outcome: str) -> None:
        self.counted.append((kind, outcome))

    def held(self, host: str, number: int) -> None:
        self.holding = host, number


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    signals.install(counter)
    yield counter
    signals.remove(counter)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_waits_for_its_grace_and_says_when_it_is_due(bench: Bench) -> None:
    assert bench.settle(STRAY) == ['waiting']
    assert bench.due == 60
    assert bench.settle(STRAY, OTHER, at=20) == ['waiting', 'waiting']
    assert bench.due == 40
    assert bench.settle(STRAY, OTHER, at=60) == ['repaired', 'waiting']
    assert bench.ran == ['volume']


def test_what_heals_by_itself_begins_anew(bench: Bench) -> None:
    bench.settle(STRAY)
    bench.settle(at=30)
    assert bench.settle(STRAY, at=61) == ['waiting']


def test_what_could_not_be_read_is_remembered(bench: Bench) -> None:
    bench.settle(STRAY)
    bench.settle(at=30, accounts=frozenset({Account.DATABASE}))
    assert bench.settle(STRAY, at=60) == ['repaired']


def test_an_age_that_a_row_tells_counts(bench: Bench) -> None:
    assert bench.settle(Seen(Drift.STRAY_DISK, 'host', 'volume', age=59.0)) == ['waiting']
    assert bench.settle(Seen(Drift.STRAY_DISK, 'host', 'volume', age=61.0)) == ['repaired']


def test_an_age_of_a_clock_that_was_ahead_holds_nothing_back(bench: Bench) -> None:
    assert bench.settle(Seen(Drift.STRAY_DISK, 'host', 'volume', age=-3600.0)) == ['waiting']
    assert bench.settle(Seen(Drift.STRAY_DISK, 'host', 'volume', age=-3539.0), at=61) == ['repaired']


def test_a_look_does_nothing(bench: Bench) -> None:
    assert bench.settle(STRAY, STATUS, fix=False) == ['waiting', 'found']
    assert bench.ran == []


def test_a_person_need_not_wait_but_where_it_is_firm(bench: Bench) -> None:
    young = Seen(Drift.SERVER_GONE, 'backend', 'volume', 'attachment', 'server', age=10.0)
    assert bench.settle(STRAY, young, fix=True) == ['repaired', 'waiting']


def test_what_is_held_waits_for_a_person(bench: Bench) -> None:
    held = Seen(Drift.UNUSED, 'backend', 'volume', hold='Too many.')
    assert bench.settle(held) == ['waiting']
    [found] = bench.found
    assert found.seal
    assert found.error == ('Too many. If it is right: openstack multiattach doctor --fix --release ' + found.seal)
    assert bench.due is None
    assert bench.settle(held, fix=True) == ['waiting'], 'it has to be named'
    assert bench.settle(held, fix=True, release=(found.seal,)) == ['repaired']
    adds = Seen(Drift.OLD_PORTAL, 'backend', 'volume', hold='In use.')
    assert bench.settle(adds) == ['waiting']
    assert (bench.found[0].error, bench.found[0].seal) == ('In use.', None)
    assert bench.settle(adds, fix=True) == ['repaired'], 'what takes nothing away needs no more'


def test_a_repair_that_fails_is_told_and_tried_again(bench: Bench) -> None:
    bench.error = errors.BackendError('It said no.')
    assert bench.settle(STATUS) == ['failed']
    assert bench.found[0].error == 'It said no.'
    bench.error = ValueError('secret words')
    assert bench.settle(STATUS) == ['failed']
    assert 'secret' not in str(bench.found[0].error)
    bench.error = None
    assert bench.settle(STATUS) == ['repaired']


def test_one_repair_is_enough_for_all_that_it_puts_right(bench: Bench) -> None:
    seen = [Seen(Drift.STATUS, 'backend', 'volume', about=str(number)) for number in range(3)]
    assert bench.settle(*seen) == ['repaired'] * 3
    assert bench.ran == ['volume']


def test_the_operator_decides() -> None:
    bench = Bench(DriftRules({Drift.STATUS: 'report', Drift.STRAY_DISK: 'ignore'}))
    for fix in (None, False, True):
        assert bench.settle(STATUS, STRAY, fix=fix) == ['reported']
    assert bench.ran == []


def test_each_is_said_and_counted_once_per_outcome(
    bench: Bench, counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for at in (0, 10, 20, 60):
        bench.settle(STRAY, at=at)
    assert counter.counted == [('stray_disk', 'waiting'), ('stray_disk', 'repaired')]
    assert len([one for one in caplog.records if 'Drift stray_disk' in one.message]) == 2


@pytest.mark.parametrize('kind', list(Drift))
def test_a_finding_survives_its_message(bench: Bench, kind: Drift) -> None:
    bench.settle(Seen(kind, 'host', 'volume', 'attachment', 'about', 1e9), fix=False)
    [one] = bench.found
    assert findings.read(one.write() | {'of a later release': 1}) == one
    assert one.is_left
    assert (one.action == 'report') is (TABLE[kind].action is Action.REPORT) is (one.outcome == 'reported')


# -- what takes something away ---------------------------------------------------------------------


def strays(number: int, first: int = 0) -> list[Seen]:
    return [Seen(Drift.ADMITTED, 'backend', f'volume-{one}', about='initiator') for one in range(first, first + number)]


def test_nothing_is_taken_away_at_first_sight(bench: Bench) -> None:
    gone = Seen(Drift.DOMAIN_GONE, 'host', 'volume', 'attachment', 'server', age=3600.0)
    assert bench.settle(gone, STATUS) == ['waiting', 'repaired']
    assert bench.due == 5
    assert bench.settle(gone, at=5) == ['repaired']
    assert bench.settle(*strays(1)) == ['waiting']
    assert bench.settle(*strays(1)) == ['repaired'], 'an earlier look of this process has seen it'
    assert bench.settle(*strays(1), fix=True) == ['repaired'], 'a person who asks has looked'


def test_many_at_once_wait_for_a_person(bench: Bench, counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    many = strays(11)
    for fix in (None, None, False, True, None):
        assert bench.settle(*many, STATUS, fix=fix)[:-1] == ['waiting'] * 11
    assert set(bench.ran) == {'volume'}, 'what takes nothing away goes on'
    assert bench.found[0].error is not None
    assert 'away 11 of 100 at once, and more than 10 wait for a person' in bench.found[0].error
    assert counter.holding == ('backend', 11)
    assert len(caplog.records) == 1
    assert '11 repairs wait on backend for a person' in caplog.text
    assert bench.settle(*many[1:]) == ['repaired'] * 10, 'it was less than it looked like'
    assert counter.holding == ('backend', 0)


def test_a_part_of_little_is_little(bench: Bench) -> None:
    bench.settle(*strays(8), there=39)
    assert bench.settle(*strays(8), there=39) == ['waiting'] * 8
    assert bench.settle(*strays(8), there=40) == ['repaired'] * 8


def test_a_release_names_what_was_seen_and_nothing_rides_along(bench: Bench) -> None:
    many = strays(11)
    bench.settle(*many, fix=False)
    seal = str(bench.found[0].seal)
    more = [*many, *strays(1, 11)]
    assert bench.settle(*more, fix=True, release=(seal,)) == ['waiting'] * 12
    assert bench.found[0].seal != seal
    assert bench.settle(*many, fix=None, release=(seal,)) == ['waiting'] * 11, 'only with --fix'
    assert bench.settle(*many, fix=False, release=(seal,)) == ['waiting'] * 11
    other = Bench()  # another worker of the backend, or the next process
    assert other.settle(*reversed(many), fix=True, release=('f' * 12, seal)) == ['repaired'] * 11
    assert other.settle(*strays(10, 20), fix=None) == ['waiting'] * 10
    assert other.settle(*strays(10, 20), fix=None) == ['repaired'] * 10, 'what a person does is not counted'


def test_many_one_after_the_other_wait_for_a_person(bench: Bench) -> None:
    outcomes = []
    for number in range(12):
        bench.settle(*strays(1, number), at=number * 60.0)
        outcomes += bench.settle(*strays(1, number))
    assert outcomes == ['repaired'] * 10 + ['waiting'] * 2
    assert 'one after the other' in str(bench.found[0].error)
    seal = str(bench.found[0].seal)
    assert bench.settle(*strays(1, 11), at=9000) == ['waiting'], 'the next window lets none of them through'
    assert bench.settle(*strays(1, 12), *strays(1, 11)) == ['waiting', 'waiting']
    assert bench.settle(*strays(1, 12), *strays(1, 11)) == ['repaired', 'waiting'], 'of others it does'
    assert bench.settle(*strays(1, 11), fix=True, release=(seal,)) == ['repaired']


def test_several_kinds_tell_of_one_login(bench: Bench) -> None:
    kinds = (Drift.ADMITTED, 'initiator'), (Drift.ACCOUNT, 'account'), (Drift.SESSION, 'initiator')
    told = [Seen(kind, 'backend', f'volume-{number}', about=about) for number in range(10) for kind, about in kinds]
    bench.settle(*told)
    assert bench.settle(*told) == ['repaired'] * 30
    shared = [Seen(Drift.SESSION, 'backend', 'shared', about=str(number)) for number in range(11)]
    bench.settle(*shared, at=10_000)
    assert bench.settle(*shared) == ['waiting'] * 11, 'and many logins are many, of one volume, too'
    whole = Seen(Drift.UNUSED, 'backend', 'busy', about='busy', units=11)
    bench.settle(whole)
    assert bench.settle(whole) == ['waiting']


def test_in_doubt_nothing_is_repaired(bench: Bench) -> None:
    for fix in (None, True, None):
        assert bench.settle(STATUS, *strays(2), fix=fix, doubt='Too old.', at=1e6) == ['waiting'] * 3
    assert {one.error for one in bench.found} == {'Too old.'}
    assert bench.ran == []
    assert bench.settle(STATUS, *strays(2)) == ['repaired'] * 3


def test_every_kind_that_takes_something_away_is_known() -> None:
    adds = {
        Drift.NO_TARGET,
        Drift.NO_LUN,
        Drift.SHUT,
        Drift.SHUT_OUT,
        Drift.NO_ACCOUNT,
        Drift.NO_FILE,
        Drift.OLD_PORTAL,
        Drift.LOST_DISK,
        Drift.UNSAVED_DISK,
        Drift.LOST_SECRET,
        Drift.LOST_SESSION,
        Drift.NO_ENTRY,
    }
    tells = {
        Drift.STATUS,
        Drift.OLD_DATABASE,
        Drift.STUCK_STEP,
        Drift.DOMAIN_MOVED,
        Drift.NO_CONNECTOR,
        Drift.SHARED_NAME,
        Drift.SHARED_LOGIN,
        Drift.STRAY_ENTRY,
        Drift.STRAY_WATCHER,
        Drift.LOST_GATEWAY,
        Drift.STRAY_SNAPSHOT,
        Drift.NO_SNAPSHOT,
        Drift.NO_STORAGE,
        Drift.STRAY_STORAGE,
    }
    assert set(Drift) - adds - tells == DESTRUCTIVE
