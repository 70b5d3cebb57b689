# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from multiattach.steps.watch import Watch


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: moment[0])
    return moment


def test_it_counts_from_the_last_change(now: list[float]) -> None:
    watch = Watch()
    assert watch.look('a', 1) == 0
    now[0] += 5
    assert (watch.look('a', 1), watch.look('b', 1)) == (5, 0)
    now[0] += 5
    assert (watch.look('a', 2), watch.look('b', 1)) == (0, 5)


def test_what_nobody_looks_at_is_forgotten(now: list[float]) -> None:
    watch = Watch()
    watch.look('a', 1)
    watch.look('b', 1)
    for _ in range(8):
        now[0] += 100
        watch.look('b', 1)
    assert watch.look('b', 1) == 800
    assert watch.look('a', 1) == 0
    assert len(watch._sights) == 2
