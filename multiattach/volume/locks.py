# SPDX-License-Identifier: Apache-2.0
"""Locks of volumes across threads and processes: one for what a target does, one for what a backend does.

That of the target is waited for, so nothing may be done under it that takes long; that of the storage may be
held for hours, so nobody waits for it.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import tooz
from tooz import coordination
from tooz.drivers.file import FileLock

from multiattach.domain import errors

# Locks leave files (or keys) behind, and a file that others may wait for cannot be removed: a bounded number
# of names serves any number of volumes. Those that share one wait for each other, which is short.
_NAMES = 1024
# s; whatever holds a lock is done long before, unless its target daemon does not answer.
_PATIENCE = 30.0
# s between two looks at a lock that another process holds. Drivers differ in how they wait, and some raise
# what is no error of tooz; none of them lets a fence go ahead.
_PAUSE, _LONGEST_PAUSE, _LONGEST_HURRIED_PAUSE = 0.005, 0.1, 0.02
# What drivers raise: OSError from file:// if its disk is full, ThreadError if the file cannot be locked.
_FAILURES = (tooz.ToozError, OSError, threading.ThreadError)


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock, for which step, and since when on the monotonic clock."""

    volume_id: str
    step: str
    since: float


class Turns:
    """One lock; it goes to those in a hurry in order of their coming, then to the others in theirs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: list[tuple[bool, int]] = []
        self._holder: Holder | None = None

    @property
    def holder(self) -> Holder | None:
        return self._holder

    @property
    def is_hurried(self) -> bool:
        with self._changed:
            return any(not patient for patient, _number in self._waiting)

    def take(self, volume_id: str, step: str, *, urgent: bool, deadline: float) -> bool:
        """Wait for one's turn until *deadline* on the monotonic clock, ahead of all who are not urgent."""
        with self._changed:
            mine = not urgent, next(self._numbers)
            self._waiting.append(mine)
            try:
                while self._holder is not None or min(self._waiting) != mine:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._changed.wait(left)
                self._holder = Holder(volume_id, step, time.monotonic())
                return True
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()  # another one may be the first now

    def give_back(self) -> None:
        """Let the next one have it."""
        with self._changed:
            self._holder = None
            self._changed.notify_all()


class VolumeLocks:
    """Locks of a tooz coordinator.

    :param patience: seconds that a lock is waited for.
    :param names: how many locks there are, the same in all processes; volumes share them.
    """

    def __init__(
        self, coordinator: coordination.CoordinationDriver, patience: float = _PATIENCE, names: int = _NAMES
    ) -> None:
        self._coordinator = coordinator
        self.patience = patience
        # Threads of this process wait here: a backend's own lock may poll while it waits.
        self._turns = [Turns() for _ in range(names)]

    @contextlib.contextmanager
    def hold(self, volume_id: str, step: str, *, urgent: bool = False) -> Iterator[None]:
        """Hold the lock of what a volume's target does; no second one inside, and nothing that takes long.

        :param step: what is done under it, for those who wait too long.
        :param urgent: go ahead of all others: a fence.
        :raises OutcomeUnknown: it was not free in time, or the coordination backend does not answer; nothing
            was done.
        """
        started = time.monotonic()
        number = zlib.crc32(volume_id.encode()) % len(self._turns)
        turns = self._turns[number]
        lock = self._coordinator.get_lock(f'multiattach-volume-{number:04d}'.encode())
        deadline = started + self.patience
        while True:
            if not turns.take(volume_id, step, urgent=urgent, deadline=deadline):
                raise _make_late(volume_id, step, turns.holder, time.monotonic() - started)
            held = False
            try:
                held = self._poll(lock, volume_id, turns, urgent, deadline)
                if held:
                    yield
                    return
            finally:
                if held:
                    # What was done is done; the lock runs out if it cannot be given back.
                    with contextlib.suppress(*_FAILURES):
                        lock.release()
                turns.give_back()
            if time.monotonic() >= deadline:
                raise _make_late(volume_id, step, None, time.monotonic() - started)

    def _poll(self, lock: Any, volume_id: str, turns: Turns, urgent: bool, deadline: float) -> bool:
        """Take a lock that another process may hold; give up at the deadline, or for one in a hurry."""
        pause = _PAUSE
        while not _acquire(lock, volume_id):
            left = deadline - time.monotonic()
            if left <= 0 or (not urgent and turns.is_hurried):
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_HURRIED_PAUSE if urgent else _LONGEST_PAUSE)
        return True

    @contextlib.contextmanager
    def try_storage(self, volume_id: str) -> Iterator[bool]:
        """Hold the lock of what a volume's backend does, or do not wait; that of the target may follow.

        It has a name of its own: who makes, copies or zeroes a large volume is in nobody else's way.

        :raises OutcomeUnknown: the coordination backend does not answer; nothing was done.
        """
        lock = self._coordinator.get_lock(f'multiattach-storage-{volume_id}'.encode())
        held = _acquire(lock, volume_id)
        try:
            yield held
        finally:
            if held:
                with contextlib.suppress(*_FAILURES):
                    if isinstance(lock, FileLock):
                        # Else a file would stay for each volume that there ever was. Nobody waits for it: at
                        # worst one who has just opened it holds what the next one does not see, and finds in
                        # the row that there is nothing to do.
                        pathlib.Path(os.fsdecode(lock.name)).unlink(missing_ok=True)
                    lock.release()


def _acquire(lock: Any, volume_id: str) -> bool:
    try:
        return bool(lock.acquire(blocking=False))
    except _FAILURES as exc:
        why = getattr(exc, 'strerror', None) or type(exc).__name__
        raise errors.OutcomeUnknown(
            f'The lock of volume {volume_id} cannot be taken ({why}): see option backend_url in [coordination].'
        ) from exc


def _make_late(volume_id: str, step: str, holder: Holder | None, waited: float) -> errors.OutcomeUnknown:
    """Say what was waited for."""
    by = (
        'another process'
        if holder is None
        else (f'"{holder.step}" of volume {holder.volume_id} (for {time.monotonic() - holder.since:.0f} s)')
    )
    return errors.OutcomeUnknown(
        f'"{step}" of volume {volume_id} waited {waited:.0f} s for a lock that {by} holds; nothing was done yet.'
    )
