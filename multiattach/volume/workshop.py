# SPDX-License-Identifier: Apache-2.0
"""What images are copied with, and whether to go on with it."""

import contextlib
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO

from multiattach import failpoints
from multiattach.drivers.conversion.qemu import Converter
from multiattach.drivers.errors import StorageError
from multiattach.drivers.glance.client import ImageApi
from multiattach.steps.images import ImageCopies
from multiattach.volume.slow_steps import SlowSteps

LOOK_AGAIN = 2.0  # s between two looks whether a copy is still wanted


@dataclasses.dataclass(frozen=True)
class Workshop:
    """What images are copied with.

    :param connect: has the Image service as this service itself sees it.
    :param directory: for files while they are made.
    """

    connect: Callable[[], ImageApi]
    converter: Converter
    directory: pathlib.Path

    @contextlib.contextmanager
    def open_file(self) -> Iterator[IO[bytes]]:
        """Have a file without a name, which ends with this process.

        :raises StorageError: there is no room, or no folder.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory) as file:
                yield file
        except OSError as exc:
            raise StorageError(
                f'The file of an image cannot be written (option conversion_directory in [glance]): {exc.strerror}.'
            ) from exc


class Look:
    """Tells whether to go on with a copy, and writes now and then how far it is."""

    def __init__(self, copies: ImageCopies, steps: SlowSteps, volume_id: str, status: str) -> None:
        self._copies = copies
        self._steps = steps
        self._volume_id = volume_id
        self._status = status
        self._looked = time.monotonic()
        self.percent = 0

    def proceed(self) -> bool:
        """Say no when the worker stops, and to a volume that somebody gave up."""
        failpoints.reach('volume.image.running')
        if self._steps.is_stopping:
            return False
        if time.monotonic() - self._looked < LOOK_AGAIN:
            return True
        self._looked = time.monotonic()
        self._copies.note(self._volume_id, min(self.percent, 99))
        return self._copies.load(self._volume_id, self._status) is not None

    def note(self, start: int, end: int, done: float) -> None:
        """Note a part of the work from *start* to *end* percent; *done* is from 0 to 1."""
        self.percent = start + int((end - start) * min(done, 1.0))
