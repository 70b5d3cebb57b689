# SPDX-License-Identifier: Apache-2.0
"""Work that is done again and again in a thread."""

import threading
from collections.abc import Callable, Sequence

from oslo_log import log

LOG = log.getLogger(__name__)


class Periodic:
    """Calls functions in turn, one after the other, until it is stopped.

    An exception is logged and ends nothing. The first round starts at once.

    :param name: for the thread and the log.
    :param interval: seconds between rounds.
    :param calls: what is called.
    """

    def __init__(self, name: str, interval: float, calls: Sequence[Callable[[], None]]) -> None:
        self._interval = interval
        self._calls = calls
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f'periodic-{name}', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after the call that is running."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for call in self._calls:
                try:
                    call()
                except Exception:  # the next round may do better
                    LOG.exception('Periodic call %s failed', getattr(call, '__name__', call))
            self._stopped.wait(self._interval)
