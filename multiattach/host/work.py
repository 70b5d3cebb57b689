# SPDX-License-Identifier: Apache-2.0
"""What this agent has in its hands: attachments in work, and what is under a lock."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from oslo_log import log

from multiattach.domain import errors
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)


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


class Aside:
    """A call that whoever begins it does not wait for; it is not made twice at once.

    :param call: one that is repeated: its failure is logged, and nobody hears of it.
    """

    def __init__(self, name: str, call: Callable[[], None]) -> None:
        self._name = name
        self._call = call
        self._trouble = Trouble(LOG, name)
        self._busy = threading.Lock()

    def begin(self) -> None:
        """Make the call in a thread of its own, unless one is made."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._call()
        except errors.DatabaseAway:
            return  # whoever opens connections tells of it
        except Exception as exc:
            self._trouble.note(f'failed ({type(exc).__name__})', exc_info=True)
        else:
            self._trouble.end()
        finally:
            self._busy.release()


class Reminder:
    """What the log is told once a minute, though it is found every few seconds."""

    _PAUSE = 60.0  # s

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def is_due(self, about: str) -> bool:
        """Return whether the log is to be told (again), and take it for told."""
        now = time.monotonic()
        if now - self._told.get(about, -self._PAUSE) < self._PAUSE:
            return False
        self._told[about] = now
        return True

    def forget(self, about: str) -> None:
        self._told.pop(about, None)


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
