# SPDX-License-Identifier: Apache-2.0
"""Calls that may hang in the kernel: waited for no longer than they may take."""

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from multiattach.drivers.errors import ConnectorTimeout

R = TypeVar('R')


class BoundedCalls:
    """Calls of one connector; after its time is over a call goes on unattended.

    Until it has come back nothing else is done about the same: a login that ends late would undo a logout.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._late: dict[str, tuple[str, float]] = {}  # what began when, by what it is about

    def run(self, about: str, call: Callable[[], R], timeout: float, what: str) -> R:
        """Run a call, which may be repeated, in a thread of its own.

        :param about: what it is about, such as a volume's id; the caller comes with one at a time.
        :param what: what it does, for the message.
        :raises ConnectorTimeout: it has not ended in time, or an earlier one has not ended yet.
        """
        answers: queue.SimpleQueue[tuple[R | None, Exception | None]] = queue.SimpleQueue()
        with self._lock:
            if about in self._late:
                before, began = self._late[about]
                raise ConnectorTimeout(
                    f'The host does not {what}: it was to {before} {time.monotonic() - began:.0f} s ago, and '
                    'that has not ended.'
                )
            self._late[about] = what, time.monotonic()

        def run() -> None:
            answer: tuple[R | None, Exception | None] = None, None
            try:
                answer = call(), None
            except Exception as exc:
                answer = None, exc
            finally:
                with self._lock:
                    del self._late[about]
                answers.put(answer)

        # A daemon: a login that hangs must not keep the agent from ending.
        threading.Thread(target=run, name=what, daemon=True).start()
        try:
            result, error = answers.get(timeout=timeout)
        except queue.Empty:
            raise ConnectorTimeout(
                f'The host did not {what} within {timeout:g} s; it goes on and is tried again.'
            ) from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
