# SPDX-License-Identifier: Apache-2.0
"""What people read beside the result: a progress line, warnings. Standard output stays a result only."""

import contextlib
import shutil
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import TextIO

_CLEAR = '\r\033[K'


class Terminal:
    """Standard error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_tty = stream.isatty()
        self._started = time.monotonic()
        self._last = ''

    def warn(self, text: str) -> None:
        width = shutil.get_terminal_size((100, 24)).columns if self._is_tty else 100
        self._stream.write(textwrap.fill(f'Warning: {text}', max(width, 40), subsequent_indent='  ') + '\n')
        self._stream.flush()

    def note(self, text: str) -> None:
        """Write a line beside an empty result."""
        self._stream.write(f'{text}\n')
        self._stream.flush()

    def tell(self, text: str) -> None:
        """Show how far something is: in place on a terminal, else a line for each change."""
        seconds = time.monotonic() - self._started
        if self._is_tty:
            self._stream.write(f'{_CLEAR}{seconds:5.1f} s  {text}')
        elif text != self._last:
            self._stream.write(f'{seconds:5.1f} s  {text}\n')
        self._last = text
        self._stream.flush()

    @contextlib.contextmanager
    def waiting(self, what: str, pause: float = 5.0) -> Iterator[None]:
        """Write now and then that something is still waited for, where no progress line says more.

        :param pause: seconds until the first line, and between two; whoever answers sooner gets none.
        """
        done = threading.Event()

        def tell() -> None:
            while not done.wait(pause):
                if not self._last:
                    self.note(f'Still waiting for {what} ({time.monotonic() - self._started:.0f} s).')

        thread = threading.Thread(target=tell, name='progress', daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def end(self) -> None:
        if self._is_tty and self._last:
            self._stream.write(_CLEAR)
            self._stream.flush()
