# SPDX-License-Identifier: Apache-2.0
"""Copies from one backend to another: what each side gives, and the copy with its proof."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from multiattach.drivers.backends.base import GIB as GIB
from multiattach.drivers.errors import CopyAborted, StorageError

PIECE = 8 << 20  # bytes at once
BLOCK = 4096  # bytes; the largest that disks have
_ZEROS = bytes(PIECE)
Proceed = Callable[[], bool]


class Reader(Protocol):
    """A volume that nobody writes to.

    :ivar size: bytes.
    """

    size: int

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield where there may be data: begin and end in bytes, in order; the rest reads as zeros."""

    def read(self, start: int, length: int) -> bytes:
        """Read; what comes back has that length."""


class Draft(Protocol):
    """Storage that is to be a volume, and has not its name yet."""

    def write(self, start: int, data: bytes) -> None: ...

    def zero(self, start: int, end: int) -> None:
        """Have a part that was not written read as zeros."""

    def flush(self) -> None:
        """See that all is on stable storage, and that :meth:`read` reads from there."""

    def read(self, start: int, length: int) -> bytes: ...


class Movable(Protocol):
    """The part of a backend that copies from and to others. All methods may raise ``StorageError``."""

    def open_reader(self, volume_id: str) -> AbstractContextManager[Reader]: ...

    def open_draft(self, volume_id: str, size_gb: int) -> AbstractContextManager[Draft]:
        """Make the draft of a volume anew.

        :raises StorageError: there is storage of the volume's name already.
        """

    def adopt(self, volume_id: str) -> None:
        """Give a draft the name of its volume, which nobody has; if that has been done, nothing is."""

    def drop_draft(self, volume_id: str) -> None:
        """Make a draft trash, which :meth:`Backend.clear` removes; absent is success. Nothing else is touched."""


def copy(reader: Reader, draft: Draft, size: int, proceed: Proceed, note: Callable[[float], None]) -> str:
    """Copy, and read back what was written.

    :param size: bytes that the draft has; what the reader does not have reads as zeros.
    :param note: takes how far it is, 0 to 1.
    :returns: the SHA-256 of each place that has data, and of its data.
    :raises CopyAborted: *proceed* said no.
    :raises StorageError: what was read back is not what was read.
    """
    if reader.size > size:
        raise StorageError(f'The source has {reader.size} bytes, and the destination {size}.')
    there, done = hashlib.sha256(), []
    at = 0
    for start, length in _cut(reader.extents(), reader.size):
        _check(proceed)
        draft.zero(at, start)
        data = reader.read(start, length)
        _add(there, start, data)
        if data == _ZEROS[:length]:
            draft.zero(start, start + length)
        else:
            draft.write(start, data)
        done.append((start, length))
        at = start + length
        note(at / size / 2)
    draft.zero(at, size)
    draft.flush()
    back = hashlib.sha256()
    for start, length in done:
        _check(proceed)
        _add(back, start, draft.read(start, length))
        note(0.5 + (start + length) / size / 2)
    if back.digest() != there.digest():
        raise StorageError('What was read back from the destination is not what was read from the source.')
    return there.hexdigest()


def _cut(extents: Iterator[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Cut extents into pieces, begin and length, of whole blocks: some disks take nothing else."""
    after = 0
    for begin, stop in extents:
        start, end = max(begin // BLOCK * BLOCK, after), min(-(-stop // BLOCK) * BLOCK, size)
        after = max(after, end)
        while start < end:
            length = min(PIECE, end - start)
            yield start, length
            start += length


def _add(digest: 'hashlib._Hash', start: int, data: bytes) -> None:
    digest.update(start.to_bytes(8, 'big'))
    digest.update(data)


def _check(proceed: Proceed) -> None:
    if not proceed():
        raise CopyAborted
