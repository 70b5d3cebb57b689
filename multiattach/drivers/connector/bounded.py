# SPDX-License-Identifier: Apache-2.0
"""Calls that may hang in the kernel: waited for no longer than they may take."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from multiattach.drivers.host_connector import ConnectorUnavailable

R = TypeVar('R')


def run_bounded(call: Callable[[], R], timeout: float, what: str) -> R:
    """Run a call in a thread of its own; after the time is over it goes on unattended.

    :param call: may be repeated, and does not run twice at a time.
    :param timeout: seconds to wait.
    :param what: what it does, for the message.
    :returns: what the call returns.
    :raises ConnectorUnavailable: it has not ended in time.
    :raises Exception: what the call raises.
    """
    answers: queue.SimpleQueue[tuple[R | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except Exception as exc:
            answers.put((None, exc))

    # A daemon: a login that hangs must not keep the agent from ending.
    threading.Thread(target=run, name=what, daemon=True).start()
    try:
        result, error = answers.get(timeout=timeout)
    except queue.Empty:
        raise ConnectorUnavailable(
            f'The host did not {what} within {timeout:g} s; it goes on and is tried again.') from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
