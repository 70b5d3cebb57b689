# SPDX-License-Identifier: Apache-2.0
"""Asking a part that may hang, in bounded time."""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Generic, TypeVar

T = TypeVar('T')


class Probe(Generic[T]):
    """Runs a call in a thread of its own, one at a time, and keeps the answer for a while.

    However often it is asked, and however long the call hangs, there is one thread and each who
    asks waits no longer than the limit.

    :param timeout: most seconds that somebody who asks waits.
    :param keep: seconds for which an answer serves those who ask again.
    """

    def __init__(self, call: Callable[[], T], timeout: float, keep: float) -> None:
        self._call = call
        self._timeout = timeout
        self._keep = keep
        self._lock = threading.Lock()
        self._answer: futures.Future[T] | None = None
        self._answered_at = 0.0

    def ask(self) -> T:
        with self._lock:
            answer = self._answer
            if answer is None or (answer.done() and time.monotonic() - self._answered_at > self._keep):
                answer = self._answer = futures.Future()
                threading.Thread(target=self._run, args=(answer,), name='probe', daemon=True).start()
        return answer.result(self._timeout)

    def _run(self, answer: 'futures.Future[T]') -> None:
        try:
            result = self._call()
        except BaseException as exc:
            self._answered_at = time.monotonic()
            answer.set_exception(exc)
        else:
            self._answered_at = time.monotonic()
            answer.set_result(result)
