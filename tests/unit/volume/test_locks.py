# SPDX-License-Identifier: Apache-2.0
"""Who waits for a volume's lock, how long and in which order. The drivers: tests/functional/coordination."""

import contextlib
import pathlib
import threading
import time
from collections.abc import Iterator

import pytest

from multiattach.coordination import connect, disconnect
from multiattach.domain import errors
from multiattach.volume.locks import Turns, VolumeLocks
from tests.testbed.polling import wait_until

ONE, OTHER = 'a-volume', 'another-volume'


@contextlib.contextmanager
def connected(folder: pathlib.Path, patience: float = 20.0) -> Iterator[VolumeLocks]:
    """Have one lock that all volumes share."""
    coordinator = connect(f'file://{folder}', f'member-{time.monotonic_ns()}')
    try:
        yield VolumeLocks(coordinator, patience, names=1)
    finally:
        disconnect(coordinator)


class Queue:
    """Threads that want a lock, and the order in which they had it."""

    def __init__(self, locks: VolumeLocks) -> None:
        self.locks = locks
        self.order: list[str] = []
        self.threads: list[threading.Thread] = []

    def add(self, name: str, *, urgent: bool = False) -> None:
        def run() -> None:
            with self.locks.hold(name, 'test', urgent=urgent):
                self.order.append(name)

        turns = self.locks._turns[0]
        before = len(turns._waiting)
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)

        def has_come() -> bool:
            return len(turns._waiting) != before or (turns.holder is not None and turns.holder.volume_id == name)

        wait_until(has_come, 10, f'{name} in the queue', 0.001)

    def join(self) -> list[str]:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.order


def test_a_fence_goes_ahead_of_all_who_wait(tmp_path: pathlib.Path) -> None:
    with connected(tmp_path) as locks:
        queue = Queue(locks)
        with locks.hold(ONE, 'export'):
            for number in range(5):
                queue.add(f'export {number}')
            queue.add('fence 0', urgent=True)
            queue.add('export 5')
            queue.add('fence 1', urgent=True)
        assert queue.join() == ['fence 0', 'fence 1', *(f'export {number}' for number in range(6))]


def test_a_fence_goes_ahead_of_one_who_waits_for_another_process(tmp_path: pathlib.Path) -> None:
    with connected(tmp_path) as locks, connected(tmp_path) as others:
        queue = Queue(locks)
        with others.hold(OTHER, 'export'):
            queue.add('export')
            while locks._turns[0].holder is None:  # it looks again and again whether the other one is done
                time.sleep(0.001)
            queue.add('fence', urgent=True)
            while (holder := locks._turns[0].holder) is None or holder.volume_id != 'fence':
                time.sleep(0.001)
        assert queue.join() == ['fence', 'export']


def test_a_wait_ends_and_says_what_it_waited_for(tmp_path: pathlib.Path) -> None:
    with connected(tmp_path, 0.2) as locks, connected(tmp_path, 0.2) as others, locks.hold(ONE, 'extend'):
        for waiting, by in ((locks, r'"extend" of volume a-volume \(for 0 s\)'), (others, 'another process')):
            started = time.monotonic()
            said = rf'"fence" of volume {OTHER} waited 0 s for a lock that {by} holds; nothing was done yet'
            with pytest.raises(errors.OutcomeUnknown, match=said), waiting.hold(OTHER, 'fence', urgent=True):
                raise AssertionError('the lock was not free')
            assert time.monotonic() - started < 5
    with connected(tmp_path, 0.2) as again, again.hold(OTHER, 'export'):
        pass


def test_a_failure_under_the_lock_gives_it_back(tmp_path: pathlib.Path) -> None:
    with connected(tmp_path, 0.2) as locks, connected(tmp_path, 0.2) as others:
        with pytest.raises(ValueError, match='inside'), locks.hold(ONE, 'export'):
            raise ValueError('inside')
        for free in (locks, others):
            with free.hold(ONE, 'export'):
                pass


def test_who_gave_up_waiting_holds_nobody_up() -> None:
    turns = Turns()
    now = time.monotonic()
    assert turns.take(ONE, 'export', urgent=False, deadline=now + 5)
    assert not turns.take(ONE, 'fence', urgent=True, deadline=now)
    assert not turns.is_hurried
    turns.give_back()
    assert turns.take(OTHER, 'export', urgent=False, deadline=now)


def test_what_is_done_to_a_storage_is_in_no_other_s_way_and_leaves_no_file(tmp_path: pathlib.Path) -> None:
    with connected(tmp_path) as locks, connected(tmp_path) as others:

        def list_files() -> list[str]:
            return [path.name for path in tmp_path.rglob('*') if 'storage' in path.name]

        with locks.try_storage(ONE) as held, locks.try_storage(OTHER) as other, locks.hold(ONE, 'delete'):
            assert (held, other) == (True, True)
            for same in (locks, others):
                with same.try_storage(ONE) as again:
                    assert not again
            assert len(list_files()) == 2
        assert list_files() == []
        with others.try_storage(ONE) as held:
            assert held
