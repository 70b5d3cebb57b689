# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.testbed.errors import WaitTimeoutError

T = TypeVar('T')


def look_until(look: Callable[[], T], ends: Callable[[T], object], timeout: float, interval: float = 0.05) -> T:
    """Look again and again until what is seen is as it should be, or the time is over.

    :param look: it may raise to give up at once
    :param ends: whether this is what was waited for
    :param timeout: seconds after which to give up
    :param interval: seconds between two looks
    :returns: what was seen last, whatever it is
    """
    end = time.monotonic() + timeout
    while not ends(seen := look()) and time.monotonic() <= end:
        time.sleep(interval)
    return seen


def wait_until(check: Callable[[], T], timeout: float, what: str | Callable[[], str], interval: float = 0.05) -> T:
    """Ask again and again until the answer is true.

    :param check: the question; it may raise to give up at once
    :param timeout: seconds after which to give up
    :param what: what is awaited, for the message; a function says it when the time is over
    :param interval: seconds between two questions
    :returns: the first true answer
    :raises WaitTimeoutError: when no answer was true in time
    """
    answer = look_until(check, bool, timeout, interval)
    if not answer:
        raise WaitTimeoutError(f'{what if isinstance(what, str) else what()}: not within {timeout:g} s')
    return answer
