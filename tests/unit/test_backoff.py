# SPDX-License-Identifier: Apache-2.0
"""Looks and pauses of a wait, on a clock of its own."""

import time

import pytest

from multiattach import backoff


class Clock:
    """A clock that goes on in pauses only, or by what a look takes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, 'sleep', made.sleep)
    monkeypatch.setattr(time, 'monotonic', lambda: made.now)
    return made


def test_pauses_grow_and_the_last_look_is_at_the_end(clock: Clock) -> None:
    looks: list[float] = []

    def look() -> int:
        looks.append(clock.now - 100)
        return len(looks)

    assert backoff.poll(look, lambda seen: False, 10, first=1, most=4) == 5
    assert clock.pauses == [1, 2, 4, 3]
    assert looks == [0, 1, 3, 7, 10]


def test_nothing_is_waited_for_that_is_done(clock: Clock) -> None:
    assert backoff.poll(lambda: 'x', lambda seen: seen == 'x', 10, first=1, most=4) == 'x'
    assert clock.pauses == []


@pytest.mark.parametrize('limit', [0, -5])
def test_without_time_there_is_one_look(clock: Clock, limit: float) -> None:
    assert backoff.poll(lambda: None, lambda seen: seen is not None, limit, first=1, most=4) is None
    assert clock.pauses == []


def test_a_look_that_took_too_long_is_the_last(clock: Clock) -> None:
    def look() -> float:
        clock.now += 7
        return clock.now - 100

    assert backoff.poll(look, lambda seen: False, 10, first=1, most=4) == 15


def test_what_a_look_raises_ends_the_wait(clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError):
        backoff.poll(lambda: 1 // 0, bool, 10, first=1, most=4)
    assert clock.pauses == []
