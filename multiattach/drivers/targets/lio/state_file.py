# SPDX-License-Identifier: Apache-2.0
"""The file with the registrations of one volume. The kernel rewrites it in place, through a link where it looks."""

import contextlib
import fcntl
import os
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

from multiattach.drivers.targets import folders
from multiattach.drivers.targets.lio.registrations import Nexus, parse_state

# linux/fs.h: get and set the flags of a file (_IOR and _IOW of 'f', with the size of a long), and that of chattr +S
_GET_FLAGS, _SET_FLAGS, _SYNC = 0x80086601, 0x40086602, 0x8


class TooLate(OSError):
    """Nobody waits any more for what was to be written: others may have written it since."""


class StateFile:
    """:param link: ``pr/aptpl_SERIAL`` beneath the kernel's ``dbroot``.
    :param beside: where it is kept beside the volume; None if the volume is no file, or not known.
    :param usual: where it is kept else.
    :param is_late: tells whether nobody waits any more: the disk may not have answered for long.
    """

    def __init__(self, link: Path, beside: Path | None, usual: Path, is_late: Callable[[], bool]) -> None:
        self._link = link
        self._beside = beside
        self._usual = usual
        self._is_late = is_late

    def read(self) -> list[Nexus]:
        """Read it; one that is not there has nothing.

        :raises TornState: it is not whole.
        """
        path = self._find()
        return [] if path is None else parse_state(path.read_text(errors='replace'))

    def prepare(self, text: str) -> None:
        """Have it where it lasts as long as the volume, and the kernel write there, down to the disk each time."""
        place = self._beside or self._usual
        self._write(place, text)
        if not self._link.is_symlink() or self._link.readlink() != place:
            self._link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(place)
            folders.sync(self._link.parent)

    def replace(self, text: str) -> None:
        """Replace what stands in it, all or nothing; one that is not there stays so."""
        path = self._find()
        if path is not None:
            self._write(path, text)

    def remove(self) -> None:
        """Remove it and the link to it; absent is success."""
        path = self._find()
        if self._is_late():
            raise TooLate
        if path is not None:
            path.unlink(missing_ok=True)
        self._link.unlink(missing_ok=True)

    def _find(self) -> Path | None:
        """Find it: beside the volume, as another machine may have had it last, before where this kernel wrote."""
        if self._beside is not None and self._beside.exists():
            return self._beside
        if self._link.exists():
            return self._link.resolve()
        return self._usual if self._usual.exists() else None

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, 'w', encoding='utf-8') as file:
                _write_through(handle)
                file.write(text)
                file.flush()
                os.fsync(handle)
            if self._is_late():
                raise TooLate
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        folders.sync(path.parent)


def _write_through(handle: int) -> None:
    """Have each write to a file wait for the disk, as the kernel's own does not; not all file systems can."""
    with contextlib.suppress(OSError):
        flags = struct.unpack('l', fcntl.ioctl(handle, _GET_FLAGS, struct.pack('l', 0)))[0]
        fcntl.ioctl(handle, _SET_FLAGS, struct.pack('l', flags | _SYNC))
