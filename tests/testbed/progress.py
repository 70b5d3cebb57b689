# SPDX-License-Identifier: Apache-2.0
"""Progress lines with a wall-clock time and the seconds since the program started."""

import sys
import threading
import time

_STARTED = time.monotonic()
_LOCK = threading.Lock()


def report(message: str) -> None:
    """Print one progress line.

    :param message: what has just happened or is about to happen
    """
    elapsed = time.monotonic() - _STARTED
    with _LOCK:
        sys.stderr.write(f'{time.strftime("%H:%M:%S")} {elapsed:7.1f}s  {message}\n')
        sys.stderr.flush()
