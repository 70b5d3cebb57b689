# SPDX-License-Identifier: Apache-2.0
"""What this agent has in its hands: attachments in work, and what is under a lock."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from multiattach.domain import errors


class Work:
    """Attachments in work: a message, its repetition and the resume never meet on one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._again: dict[str, bool] = {}

    def run(self, attachment_id: str, step: Callable[[], None], *, insist: bool) -> None:
        """Run a step, or leave it to the thread that has the attachment in work.

        :param step: reads the row and does what it asks for; raises nothing.
        :param insist: the row may have changed since that thread read it: it runs once more.
        """
        with self._lock:
            if attachment_id in self._again:
                self._again[attachment_id] |= insist
                return
            self._again[attachment_id] = False
        try:
            step()
            while self._is_wanted(attachment_id):
                step()
        except BaseException:
            with self._lock:
                self._again.pop(attachment_id, None)
            raise

    def _is_wanted(self, attachment_id: str) -> bool:
        with self._lock:
            if self._again[attachment_id]:
                self._again[attachment_id] = False
                return True
            del self._again[attachment_id]
            return False


class HostLocks:
    """Locks by name, such as one per volume for its session on this host; there is one agent a host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def hold(self, name: str, patience: float) -> Iterator[None]:
        """Hold a lock; never take a second one of these inside.

        :param patience: seconds to wait for it.
        :raises Unavailable: it was not free in time.
        """
        with self._lock:
            lock, users = self._held.get(name, (threading.Lock(), 0))
            self._held[name] = lock, users + 1
        try:
            if not lock.acquire(timeout=patience):
                raise errors.Unavailable(f'Another step is at work on {name}; this one is tried again.')
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                lock, users = self._held[name]
                if users == 1:
                    del self._held[name]
                else:
                    self._held[name] = lock, users - 1


def name_place(server_id: str, volume_id: str) -> str:
    return f'volume {volume_id} in server {server_id}'
