# SPDX-License-Identifier: Apache-2.0
"""A lock among threads that knows who holds it, and that lets those who are in a hurry go first."""

import dataclasses
import itertools
import threading
import time


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    :param step: what is done under it.
    :param since: since when, on the monotonic clock.
    """

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
        """Who holds it now, None for nobody."""
        return self._holder

    @property
    def is_hurried(self) -> bool:
        """Whether somebody waits who is in a hurry."""
        with self._changed:
            return any(not patient for patient, _number in self._waiting)

    def take(self, volume_id: str, step: str, *, urgent: bool, deadline: float) -> bool:
        """Wait for one's turn.

        :param volume_id: UUID of the volume that the lock is for.
        :param step: what is to be done under it.
        :param urgent: go ahead of all who are not.
        :param deadline: until when, on the monotonic clock.
        :returns: whether the lock is held now.
        """
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
