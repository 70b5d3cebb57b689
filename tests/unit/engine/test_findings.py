# SPDX-License-Identifier: Apache-2.0
"""What becomes of what is seen: once said, once counted, never before its time."""

import logging
from collections.abc import Iterator

import pytest

from multiattach import metrics
from multiattach.domain import errors, findings
from multiattach.domain.drift import TABLE, Account, Action, Drift
from multiattach.domain.findings import Rules, Seen
from multiattach.engine.findings import Ledger

EVERYTHING = frozenset(Account)
STRAY = Seen(Drift.STRAY_DISK, 'host', 'volume', None, 'server')
OTHER = Seen(Drift.STRAY_DISK, 'host', 'other', None, 'server')
STATUS = Seen(Drift.STATUS, 'backend', 'volume')


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    def __init__(self, rules: Rules | None = None) -> None:
        self.clock = Clock()
        self.ledger = Ledger(rules or Rules(), self.clock)
        self.ran: list[str | None] = []
        self.error: Exception | None = None

    def settle(self, *seen: Seen, fix: bool | None = None, accounts: frozenset[Account] = EVERYTHING,
               at: float | None = None) -> list[str]:
        self.clock.now = self.clock.now if at is None else at
        found, self.due = self.ledger.settle(
            seen, lambda one: ((one.kind, one.volume_id), lambda: self.run(one)), fix=fix, accounts=accounts)
        self.found = found
        return [one.outcome for one in found]

    def run(self, one: Seen) -> None:
        self.ran.append(one.volume_id)
        if self.error:
            raise self.error


class Counter:
    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []

    def http(self, route: str, method: str, status: int, seconds: float) -> None: ...

    def rpc(self, topic: str, method: str, outcome: str, seconds: float) -> None: ...

    def retried(self) -> None: ...

    def drift(self, kind: str, outcome: str) -> None:
        self.counted.append((kind, outcome))


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    metrics.install(counter)
    yield counter
    metrics.remove(counter)


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
    assert bench.settle(Seen(Drift.STRAY_DISK, 'host', 'volume', age=61.0)) == ['repaired']
    assert bench.settle(Seen(Drift.STRAY_DISK, 'host', 'volume', age=59.0)) == ['waiting']


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
    held = Seen(Drift.STATUS, 'backend', 'volume', hold='Too many.')
    assert bench.settle(held) == ['waiting']
    assert bench.found[0].error == 'Too many.'
    assert bench.due is None
    assert bench.settle(held, fix=True) == ['repaired']


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
    bench = Bench(Rules({Drift.STATUS: 'report', Drift.STRAY_DISK: 'ignore'}))
    for fix in (None, False, True):
        assert bench.settle(STATUS, STRAY, fix=fix) == ['reported']
    assert bench.ran == []


def test_each_is_said_and_counted_once_per_outcome(bench: Bench, counter: Counter,
                                                   caplog: pytest.LogCaptureFixture) -> None:
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
