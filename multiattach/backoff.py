# SPDX-License-Identifier: Apache-2.0
"""Looking again and again with pauses that grow: the one way to wait for somebody who does not call back."""

from collections.abc import Callable
from typing import TypeVar

import tenacity

T = TypeVar('T')


def poll(look: Callable[[], T], is_done: Callable[[T], bool], limit: float, *, first: float, most: float) -> T:
    """Look until it is done or the time is over; the last look is at the end of the time.

    :param limit: seconds; of 0 or less there is one look.
    :param first: seconds after the first look; each pause is twice the one before.
    :param most: longest pause, seconds.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: not is_done(seen)),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        stop=tenacity.stop_after_delay(limit),
        wait=grow(limit, first, most),
    )
    seen: T = retrying(look)
    return seen


def grow(limit: float, first: float, most: float) -> Callable[[tenacity.RetryCallState], float]:
    """Make the pauses of :func:`poll`, for those who try again after an exception."""
    growing = tenacity.wait_exponential(multiplier=first, max=most)

    def pause(state: tenacity.RetryCallState) -> float:
        return max(min(growing(state), limit - (state.seconds_since_start or 0.0)), 0.0)

    return pause
