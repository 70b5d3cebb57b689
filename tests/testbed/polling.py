# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.testbed.errors import WaitTimeoutError

T = TypeVar('T')


def wait_until(check: Callable[[], T], timeout: float, what: str, interval: float = 0.05) -> T:
    """Ask again and again until the answer is true.

    :param check: the question; it may raise to give up at once
    :param timeout: seconds after which to give up
    :param what: what is awaited, for the message
    :param interval: seconds between two questions
    :returns: the first true answer
    :raises WaitTimeoutError: when no answer was true in time
    """
    end = time.monotonic() + timeout
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > end:
            raise WaitTimeoutError(f'{what}: not within {timeout:g} s')
        time.sleep(interval)
