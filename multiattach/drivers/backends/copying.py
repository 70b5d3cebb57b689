# SPDX-License-Identifier: Apache-2.0
"""Copying a volume's bytes, in this process: of a worker that is killed nobody is left who writes on."""

import errno
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator

from multiattach.drivers.errors import CopyAborted, StorageError

_FICLONE = 0x40049409  # <linux/fs.h>: _IOW(0x94, 9, int)
_PIECE = 64 << 20  # bytes between two questions whether to go on
_BUFFER = 4 << 20  # bytes; a multiple of every block size
_TICKS = 50_000_000  # ns, more than the longest tick by which a kernel marks writes
_LOOKS = 20
_WRITTEN = 'somebody wrote to the volume while it was copied: the copy is of no moment'
# What a file system, or an old kernel, answers that does not know the call.
_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EXDEV, errno.EINVAL)

Proceed = Callable[[], bool]


def copy_file(source: int, target: int, size: int, proceed: Proceed, *, of_one_moment: bool = False) -> None:
    """Copy a file into an empty one, with its holes; share its blocks where the file system can.

    :param size: bytes that the target has in the end; what the source does not have reads as zeros.
    :param of_one_moment: refuse a copy that took time while somebody wrote to the source.
    :raises CopyAborted: *proceed* said no.
    :raises StorageError: somebody wrote.
    """
    if not share_blocks(source, target):
        mark = _settle(source) if of_one_moment else None
        for start, end in list_extents(source, min(os.fstat(source).st_size, size)):
            _copy_extent(source, target, start, end, proceed)
        if mark is not None and _read_mark(source) != mark:
            raise StorageError(_WRITTEN)
    os.ftruncate(target, size)
    os.fsync(target)


def copy_device(source: int, target: int, size: int, proceed: Proceed) -> None:
    """Copy each block of a device: nobody knows what is in the target's. Both may be open for direct I/O.

    :param size: bytes to copy, a multiple of the block size.
    :raises CopyAborted: *proceed* said no.
    """
    _read_and_write(source, target, 0, size, proceed)
    os.fsync(target)


def restore_device(source: int, target: int, size: int, proceed: Proceed) -> None:
    """Make a device what another one is: only what differs is written. Both may be open for direct I/O.

    :param size: bytes to compare, a multiple of the block size.
    :raises CopyAborted: *proceed* said no.
    """
    with mmap.mmap(-1, _BUFFER) as mine, mmap.mmap(-1, _BUFFER) as theirs:
        for start in range(0, size, _BUFFER):
            if start % _PIECE == 0:
                _check(proceed)
            length = min(_BUFFER, size - start)
            with memoryview(mine)[:length] as wanted, memoryview(theirs)[:length] as found:
                if os.preadv(source, [wanted], start) != length or os.preadv(target, [found], start) != length:
                    raise OSError(errno.EIO, 'a device ends early')
                if wanted != found and os.pwritev(target, [wanted], start) != length:
                    raise OSError(errno.EIO, 'not all was written')
    os.fsync(target)


def _read_mark(source: int) -> tuple[int, int, int]:
    """Read what each write to a file changes."""
    found = os.fstat(source)
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _settle(source: int) -> tuple[int, int, int]:
    """Read the mark of a file when the next write will change it: times in the kernel's own ticks may be alike.

    :raises StorageError: somebody writes all the time.
    """
    for _ in range(_LOOKS):
        mark = _read_mark(source)
        if all(abs(time.time_ns() - moment) > _TICKS for moment in mark[:2]):
            return mark
        time.sleep(_TICKS / 1e9)
    raise StorageError(_WRITTEN)


def share_blocks(source: int, target: int) -> bool:
    """Have an empty file share all blocks of another one; False if the file system cannot.

    It is one moment for whoever writes: the file system locks the source meanwhile.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as exc:
        if exc.errno not in _UNKNOWN:
            raise
        return False
    return True


def list_extents(source: int, size: int) -> Iterator[tuple[int, int]]:
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
