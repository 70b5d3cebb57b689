# SPDX-License-Identifier: Apache-2.0
"""Leases while the wall clock of one of two workers is wrong; monotonic time is the same for both."""

import contextlib
import datetime
import itertools
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.db import models
from multiattach.domain.leases import LeaseRules
from multiattach.steps import leases, watch
from multiattach.steps.leases import StepLeases
from tests.deployments import embedded

from .test_leases import RULES, Bench

HOUR = 3600.0


class Clocks:
    """All clocks of the test: one that only grows, and a wall clock that steps. Both stand still but for the test.

    Each look at them is a microsecond later than the one before: no two things happen at once.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.gone, self.step = 0.0, 0.0
        self._wall, self._monotonic, self._looks = models.now(), time.monotonic(), itertools.count()
        patch.setattr(models, 'now', lambda: self._wall + datetime.timedelta(seconds=self._past() + self.step))
        for module in (leases, watch):
            patch.setattr(module, 'time', types.SimpleNamespace(monotonic=lambda: self._monotonic + self._past()))

    def _past(self) -> float:
        return self.gone + next(self._looks) / 1e6

    @contextlib.contextmanager
    def wrong_by(self, seconds: float) -> Iterator[None]:
        self.step += seconds
        try:
            yield
        finally:
            self.step -= seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def bench(clocks: Clocks, tmp_path: Any) -> Iterator[Bench]:
    with embedded.deploy(tmp_path, report_interval=3600) as deployed:
        yield Bench(deployed)


def pass_time(bench: Bench, clocks: Clocks, seconds: float, who: StepLeases) -> bool:
    """Let time pass while a worker looks now and then; tell whether it may take the step in the end."""
    for _ in range(10):
        clocks.gone += seconds / 10
        if bench.due(who):
            return True
    return False


@pytest.mark.parametrize('step', [HOUR, -HOUR])
def test_a_dead_worker_whose_clock_was_wrong_holds_nothing(bench: Bench, clocks: Clocks, step: float) -> None:
    clocks.gone += 31
    (due,) = bench.due(bench.one)
    with clocks.wrong_by(step):
        bench.one.carry_on(due, lambda: None, None)  # it dies here
    assert bench.due(bench.two) == []
    assert not pass_time(bench, clocks, 20, bench.two)
    assert pass_time(bench, clocks, 15, bench.two)


@pytest.mark.parametrize('step', [HOUR, -HOUR])
def test_a_live_worker_whose_clock_is_wrong_keeps_its_step(bench: Bench, clocks: Clocks, step: float) -> None:
    with bench.one.attempt('attachment', bench.ident, bench.give_up):
        for number in range(100):
            clocks.gone += 5
            assert bench.due(bench.two) == [], number
            if number % 2:
                with clocks.wrong_by(step):
                    bench.one.keep()
        found = bench.lease()
        assert found is not None
        assert (found.owner, found.attempts) == (bench.one.owner, 0)


@pytest.mark.parametrize('step', [HOUR, -HOUR])
def test_a_clock_that_steps_while_a_worker_is_at_it(bench: Bench, clocks: Clocks, step: float) -> None:
    """There and back: neither the step that is in hand nor its attempts are lost."""
    with bench.one.attempt('attachment', bench.ident, bench.give_up):
        for number in range(60):
            clocks.gone += 5
            if number in (20, 40):
                clocks.step = step if number == 20 else 0  # all of the machine, the other one's too
            assert bench.due(bench.two) == [], number
            bench.one.keep()
        found = bench.lease()
        assert found is not None
        assert (found.owner, found.attempts) == (bench.one.owner, 0)


@pytest.mark.parametrize('step', [HOUR, -HOUR])
def test_an_order_of_an_api_whose_clock_is_wrong(bench: Bench, clocks: Clocks, step: float) -> None:
    clocks.gone += 31  # since the worker's start
    with clocks.wrong_by(step):
        bench.restart_step()
    assert bench.due(bench.two) == []
    assert not pass_time(bench, clocks, 20, bench.two)
    assert pass_time(bench, clocks, 15, bench.two)


@pytest.mark.parametrize('step', [HOUR, -HOUR])
def test_a_retry_of_a_worker_whose_clock_is_wrong(bench: Bench, clocks: Clocks, step: float) -> None:
    with clocks.wrong_by(step):
        bench.fail(bench.one)
    assert not pass_time(bench, clocks, 0.5, bench.two)
    assert pass_time(bench, clocks, 2, bench.two)


def test_attempts_do_not_run_out_while_somebody_is_at_it(bench: Bench, clocks: Clocks) -> None:
    """A worker that took a step too early waits for its lock in vain: who has it gets its lease back."""
    with bench.one.attempt('attachment', bench.ident, bench.give_up):
        clocks.gone += 31
        (due,) = bench.due(bench.two)
        bench.two.carry_on(due, lambda: bench.fail(bench.two), bench.give_up)
        for number in range(100):
            clocks.gone += 5
            bench.one.keep()
            if number:
                assert bench.due(bench.two) == [], number
        found = bench.lease()
        assert found is not None
        assert (found.owner, found.attempts) == (bench.one.owner, 2)
    assert bench.given_up == []


def test_a_clock_that_steps_back_makes_no_orphans(bench: Bench, clocks: Clocks) -> None:
    """What began after a worker's start is not taken for what began before, whatever the clock said then."""
    with clocks.wrong_by(HOUR):
        late = bench.make('volume.late')
    clocks.gone += 1
    bench.restart_step()
    assert bench.due(late) == []


def test_a_lease_of_the_future_is_swept(bench: Bench, clocks: Clocks) -> None:
    with clocks.wrong_by(HOUR):
        bench.fail(bench.one)
    bench.two.sweep()
    assert bench.lease() is not None  # its step is in flight
    bench.end()
    bench.two.sweep()
    assert bench.lease() is None


def test_a_lease_that_may_be_is_not_swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeaseRules, 'renewal', 0.0)
    with bench.one.attempt('attachment', bench.ident, bench.give_up):
        bench.one.keep()
        bench.end()
        bench.two.sweep()
        assert bench.lease() is not None
    assert RULES.duration < RULES.longest_pause
