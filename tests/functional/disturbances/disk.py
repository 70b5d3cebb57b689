# SPDX-License-Identifier: Apache-2.0
"""A disk that is small enough to be full: a tmpfs, mounted by root."""

import contextlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence

from tests.testbed import processes

_SIZE, _FILES = 16 << 20, 400
# Volumes are sparse: that many of them fit.
SETTINGS = '[file]\nmax_over_subscription_ratio = 10000\n'


class SmallDisk:
    """A file system of a few MiB and a few hundred files.

    :param folder: where it is mounted.
    :param users: folders that are on it; links to it are made in their places.
    """

    def __init__(self, folder: pathlib.Path, users: Sequence[pathlib.Path] = ()) -> None:
        self.folder = folder
        self._users = users

    @contextlib.contextmanager
    def mounted(self) -> Iterator['SmallDisk']:
        """Mount it, and unmount it whatever happens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        processes.run(
            ['mount', '-t', 'tmpfs', '-o', f'size={_SIZE},nr_inodes={_FILES},mode=0700', 'tmpfs', self.folder]
        )
        try:
            for user in self._users:
                user.parent.mkdir(parents=True, exist_ok=True)
                (self.folder / user.name).mkdir(mode=0o700)
                user.symlink_to(self.folder / user.name)
            yield self
        finally:
            processes.run(['umount', '-l', self.folder])

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Have no room on it: no block, and no new file."""
        ballast = self.folder / 'ballast'
        ballast.mkdir()
        try:
            self._fill(ballast)
            yield
        finally:
            for one in ballast.iterdir():
                one.unlink()
            ballast.rmdir()

    @staticmethod
    def _fill(ballast: pathlib.Path) -> None:
        with (ballast / 'blocks').open('wb', buffering=0) as file:
            for size in (1 << 18, 1 << 9):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (ballast / str(number)).touch()
