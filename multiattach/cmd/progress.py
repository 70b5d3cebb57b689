# SPDX-License-Identifier: Apache-2.0
"""Commands that wait say so; whoever typed them is not to guess."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_PAUSE = 5.0


@contextlib.contextmanager
def shown(what: str, pause: float = _PAUSE) -> Iterator[None]:
    """Write to standard error, now and then, that something is still waited for.

    :param pause: seconds until the first line, and between two.
    :returns: a context; whoever answers sooner gets no line.
    """
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(pause):
            lasts = time.monotonic() - began
            print(f'Still waiting for {what} ({lasts:.0f} s).', file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, name='progress', daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
