# SPDX-License-Identifier: Apache-2.0
"""What goes wrong again and again: one line when it begins, one when it is over, and a count between."""

import logging
import threading
import time

REMINDER = 60.0


class Trouble:
    """Something that works or does not. Safe for several threads.

    :param remind: seconds between two lines while it lasts.
    """

    def __init__(
        self, log: logging.Logger | logging.LoggerAdapter[logging.Logger], name: str, remind: float = REMINDER
    ) -> None:
        self._log = log
        self._name = name
        self._remind = remind
        self._lock = threading.Lock()
        self._count = 0
        self._reason = ''
        self._began = self._told = 0.0

    def note(self, text: str, reason: str = '', *, exc_info: bool = False) -> None:
        """Tell that it failed, if that is new.

        :param reason: what makes it another trouble than before; the text if it is empty.
        """
        now = time.monotonic()
        with self._lock:
            new = not self._count or (reason or text) != self._reason
            if new and not self._count:
                self._began = now
            self._count += 1
            self._reason = reason or text
            count, lasts = self._count, now - self._began
            if not new and now - self._told < self._remind:
                return
            self._told = now
        if new:
            self._log.error('%s %s', self._name, text, exc_info=exc_info)
        else:
            self._log.error('%s %s (%d times in %.0f s)', self._name, text, count, lasts)

    def end(self) -> None:
        """Tell that it works again, if it did not."""
        if not self._count:  # without the lock: it is asked all the time
            return
        with self._lock:
            count, lasts, self._count = self._count, time.monotonic() - self._began, 0
        if count:
            self._log.warning('%s works again; it failed %d times in %.0f s', self._name, count, lasts)
