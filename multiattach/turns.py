# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to compute.

Threads of one interpreter cannot compute at once: each takes the interpreter's lock from the others wherever they
wait for a moment, for a row for instance, on whatever core it is then. So few threads have a turn at a time. One that
waits for long, for the answer of a worker, gives its turn to another for so long.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

# In the environment of a WSGI request: time.monotonic() since when it has waited; from servers that know it.
ARRIVED = 'multiattach.arrived'


class Turns:
    """Lets few threads compute at once.

    :param most: how many; 0 for any number.
    :param patience: seconds after which a thread goes on without a turn: those that have one seem to wait, not to
        compute, and are to hold up nobody.
    """

    def __init__(self, most: int, patience: float = 1.0) -> None:
        self._bounded = most > 0
        self._patience = patience
        self._lock = threading.Lock()
        self._free = most
        self._begun: deque[threading.Lock] = deque()
        self._fresh: deque[threading.Lock] = deque()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Have a turn for the length of a block."""
        if not self._bounded:
            yield
            return
        self._take(self._fresh)
        _mine.turns = self
        try:
            yield
        finally:
            _mine.turns = None
            self._give()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Do without a turn for the length of a block; only for who has one."""
        _mine.turns = None
        self._give()
        try:
            yield
        finally:
            self._take(self._begun)
            _mine.turns = self

    def _take(self, queue: deque[threading.Lock]) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            called = threading.Lock()
            called.acquire()
            queue.append(called)
        if not called.acquire(timeout=self._patience):
            with self._lock:
                if called in queue:
                    queue.remove(called)
                    self._free -= 1

    def _give(self) -> None:
        with self._lock:
            queue = self._begun or self._fresh
            if self._free >= 0 and queue:
                queue.popleft().release()
            else:
                self._free += 1


class _Mine(threading.local):
    turns: Turns | None = None


_mine = _Mine()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Let others compute for the length of a block, which waits for somebody else."""
    turns = _mine.turns
    if turns is None:
        yield
    else:
        with turns.lent():
            yield
