# SPDX-License-Identifier: Apache-2.0
"""Copying a volume's bytes, in this process: of a worker that is killed nobody is left who writes on."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator

from multiattach.drivers.errors import CopyAborted

_FICLONE = 0x40049409  # <linux/fs.h>: _IOW(0x94, 9, int)
_PIECE = 64 << 20  # bytes between two questions whether to go on
_BUFFER = 4 << 20  # bytes; a multiple of every block size
# What a file system, or an old kernel, answers that does not know the call.
_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EXDEV, errno.EINVAL)

Proceed = Callable[[], bool]


def copy_file(source: int, target: int, size: int, proceed: Proceed) -> None:
    """Copy a file into an empty one, with its holes; share its blocks where the file system can.

    :param size: bytes that the target has in the end; what the source does not have reads as zeros.
    :raises CopyAborted: *proceed* said no.
    """
    if not _share_blocks(source, target):
        for start, end in _list_extents(source, min(os.fstat(source).st_size, size)):
            _copy_extent(source, target, start, end, proceed)
    os.ftruncate(target, size)
    os.fsync(target)


def copy_device(source: int, target: int, size: int, proceed: Proceed) -> None:
    """Copy each block of a device: nobody knows what is in the target's. Both may be open for direct I/O.

    :param size: bytes to copy, a multiple of the block size.
    :raises CopyAborted: *proceed* said no.
    """
    _read_and_write(source, target, 0, size, proceed)
    os.fsync(target)


def _share_blocks(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as exc:
        if exc.errno not in _UNKNOWN:
            raise
        return False
    return True


def _list_extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where the data of a file begin and end, without its holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end


def _copy_extent(source: int, target: int, start: int, end: int, proceed: Proceed) -> None:
    while start < end:
        _check(proceed)
        try:
            done = os.copy_file_range(source, target, min(_PIECE, end - start), start, start)
        except OSError as exc:
            if exc.errno not in _UNKNOWN:
                raise
            done = 0
        if not done:  # also what some file systems answer that cannot
            _read_and_write(source, target, start, end, proceed)
            return
        start += done


def _read_and_write(source: int, target: int, start: int, end: int, proceed: Proceed) -> None:
    with mmap.mmap(-1, _BUFFER) as buffer, memoryview(buffer) as view:
        while start < end:
            if start % _PIECE < _BUFFER:
                _check(proceed)
            with view[: min(_BUFFER, end - start)] as wanted:
                read = os.preadv(source, [wanted], start)
                if not read:
                    raise OSError(errno.EIO, 'the source ends early')
                with wanted[:read] as piece:
                    written = os.pwritev(target, [piece], start)
            start += written


def _check(proceed: Proceed) -> None:
    if not proceed():
        raise CopyAborted
