# SPDX-License-Identifier: Apache-2.0
"""What people read beside the result: a progress line, warnings. Standard output stays a result only."""

import shutil
import textwrap
import time
from typing import TextIO

_CLEAR = '\r\033[K'


class Terminal:
    """Standard error.

    :param stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_tty = stream.isatty()
        self._started = time.monotonic()
        self._last = ''

    def warn(self, text: str) -> None:
        """Write a warning.

        :param text: one paragraph.
        """
        width = shutil.get_terminal_size((100, 24)).columns if self._is_tty else 100
        self._stream.write(textwrap.fill(f'Warning: {text}', max(width, 40), subsequent_indent='  ') + '\n')
        self._stream.flush()

    def note(self, text: str) -> None:
        """Write a line beside an empty result.

        :param text: a sentence.
        """
        self._stream.write(f'{text}\n')
        self._stream.flush()

    def tell(self, text: str) -> None:
        """Show how far something is: in place on a terminal, else a line for each change.

        :param text: a few words.
        """
        seconds = time.monotonic() - self._started
        if self._is_tty:
            self._stream.write(f'{_CLEAR}{seconds:5.1f} s  {text}')
        elif text != self._last:
            self._stream.write(f'{seconds:5.1f} s  {text}\n')
        self._last = text
        self._stream.flush()

    def wait(self) -> None:
        """Write that an answer is still waited for, where no progress line says more."""
        if not self._last:
            self._stream.write(f'Still waiting for the service ({time.monotonic() - self._started:.0f} s).\n')
            self._stream.flush()

    def end(self) -> None:
        """Take the progress line away."""
        if self._is_tty and self._last:
            self._stream.write(_CLEAR)
            self._stream.flush()
