# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from multiattach.domain import errors
from multiattach.host.work import HostLocks, Work


def test_second_thread_leaves_it_and_insisting_runs_it_once_more() -> None:
    work, runs = Work(), []
    entered, leave = threading.Event(), threading.Event()

    def step() -> None:
        runs.append(threading.current_thread())
        entered.set()
        assert leave.wait(20)

    first = threading.Thread(target=work.run, args=('one', step), kwargs={'insist': True})
    first.start()
    assert entered.wait(20)
    work.run('one', step, insist=False)
    assert runs == [first]
    for _ in range(3):
        work.run('one', step, insist=True)
    leave.set()
    first.join()
    assert runs == [first, first]
    work.run('one', step, insist=False)
    assert runs[2:] == [threading.current_thread()]


def test_step_that_ends_the_process_lets_go() -> None:
    work = Work()
    with pytest.raises(KeyboardInterrupt):
        work.run('one', lambda: (_ for _ in ()).throw(KeyboardInterrupt), insist=True)
    done: list[int] = []
    work.run('one', lambda: done.append(1), insist=False)
    assert done == [1]


def test_locks_exclude_per_volume_and_leave_nothing() -> None:
    locks, inside, most = HostLocks(), 0, 0

    def enter() -> None:
        nonlocal inside, most
        with locks.hold('one', 20):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.005)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    with locks.hold('two', 20):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert locks._held == {}


def test_who_waits_for_a_lock_waits_in_bounds() -> None:
    locks = HostLocks()
    with locks.hold('one', 0), pytest.raises(errors.Unavailable, match='at work on one'):  # noqa: SIM117
        with locks.hold('one', 0.05):
            raise AssertionError('two have it')
    with locks.hold('one', 0):
        pass
    assert locks._held == {}
