# SPDX-License-Identifier: Apache-2.0
"""A wall clock that steps, for some programs only; their monotonic clocks are the system's."""

import mmap
import pathlib
import struct

from tests.testbed import processes

HOUR = 3600
_SOURCE = pathlib.Path(__file__).with_name('wall_clock.c')


class WallClock:
    """The wall clock of the programs that are started with its environment.

    :param folder: for what makes it so.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        library, file = folder / 'wall_clock.so', folder / 'wall_clock'
        processes.run(['gcc', '-O2', '-Wall', '-Werror', '-fPIC', '-shared', '-o', library, _SOURCE])
        file.write_bytes(bytes(mmap.PAGESIZE))
        with file.open('r+b') as opened:
            self._map = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self.environment = {'LD_PRELOAD': str(library), 'WALL_CLOCK': str(file)}

    def step(self, seconds: int) -> None:
        """Have it be off by so many seconds from now on; 0 sets it right."""
        struct.pack_into('@l', self._map, 0, seconds)
