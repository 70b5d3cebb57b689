# SPDX-License-Identifier: Apache-2.0
"""A bounded queue of messages for a broker that may be slow or down: adding one never blocks or fails."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from oslo_log import log

LOG = log.getLogger(__name__)
_WARNING_INTERVAL = 60.0
T = TypeVar('T')


class Outbox(Generic[T]):
    """A queue with a thread of its own that sends. A crash loses what waits.

    :param send: sends one; what it raises is logged.
    :param size: how many may wait; further ones are dropped, with a warning.
    """

    def __init__(self, send: Callable[[T], None], describe: Callable[[T], str], size: int) -> None:
        self._send = send
        self._describe = describe
        self._queue: queue.Queue[T | None] = queue.Queue(size)
        self._dropped = 0
        self._warned_at = float('-inf')
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> None:
        try:
            self._queue.put_nowait(item)
            if self._thread is None:  # only now: a start takes a while, in which later ones would go first
                self._start()
        except queue.Full:
            self._dropped += 1
            if time.monotonic() - self._warned_at > _WARNING_INTERVAL:
                self._warned_at = time.monotonic()
                LOG.warning(
                    '%d notifications were dropped so far: the broker of '
                    '[oslo_messaging_notifications] does not take them as fast as they come '
                    '(option queue_size in [notifications])',
                    self._dropped,
                )

    def stop(self, patience: float = 5.0) -> None:
        """Send what waits, but not for long."""
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

    def _start(self) -> None:
        """Start the thread with the first of all: a WSGI server may fork before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='notifications', daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._send(item)
            except Exception as exc:  # the next one may pass
                LOG.warning('%s: not sent: %s', self._describe(item), type(exc).__name__)
