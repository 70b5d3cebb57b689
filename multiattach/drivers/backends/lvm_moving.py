# SPDX-License-Identifier: Apache-2.0
"""Logical volumes that are copied to or from another backend."""

import contextlib
import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from typing import Protocol

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.moving import BLOCK, PIECE
from multiattach.drivers.errors import StorageError

_BLKZEROOUT = 0x127F  # <linux/fs.h>: _IO(0x12, 127)
_ZERO_PIECE = 256 << 20  # bytes in one call, which nobody can break off


class _Group(Protocol):
    def find_size(self, name: str) -> int | None:
        """Tell the bytes of a logical volume, None if there is none."""

    def make(self, name: str, size_gb: int) -> None: ...

    def rename(self, name: str, new: str) -> None: ...

    def find_device(self, name: str) -> str: ...


class Device:
    """A logical volume, past the cache: what is read back comes from the disk."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._buffer = mmap.mmap(-1, PIECE)
        self.size = os.lseek(handle, 0, os.SEEK_END)

    def close(self) -> None:
        self._buffer.close()

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield all: nobody knows what was written."""
        yield 0, self.size

    def read(self, start: int, length: int) -> bytes:
        at = 0
        with memoryview(self._buffer) as view:
            while at < length:
                with view[at : min(-(-length // BLOCK) * BLOCK, PIECE)] as wanted:
                    done = os.preadv(self._handle, [wanted], start + at)
                if not done:
                    raise OSError(5, 'it ends early')
                at += done
        return self._buffer[:length]

    def write(self, start: int, data: bytes) -> None:
        self._buffer[: len(data)] = data
        at, length = 0, -(-len(data) // BLOCK) * BLOCK
        self._buffer[len(data) : length] = bytes(length - len(data))
        with memoryview(self._buffer) as view:
            while at < length:
                with view[at:length] as wanted:
                    at += os.pwritev(self._handle, [wanted], start + at)

    def zero(self, start: int, end: int) -> None:
        """Zero: nobody knows what was there."""
        while start < end:
            length = min(_ZERO_PIECE, end - start)
            fcntl.ioctl(self._handle, _BLKZEROOUT, struct.pack('QQ', start, length))
            start += length

    def flush(self) -> None:
        os.fsync(self._handle)


class MovableLogicalVolumes:
    def __init__(self, group: _Group) -> None:
        self._group = group

    def open_reader(self, volume_id: str) -> contextlib.AbstractContextManager[Device]:
        return self._opened(f'volume-{volume_id}', os.O_RDONLY)

    @contextlib.contextmanager
    def open_draft(self, volume_id: str, size_gb: int) -> Iterator[Device]:
        if self._group.find_size(f'volume-{volume_id}') is not None:
            raise StorageError(f'There is a logical volume volume-{volume_id} already.')
        name = f'draft-{volume_id}'
        found = self._group.find_size(name)
        if found is not None and found != size_gb * GIB:
            self.drop_draft(volume_id)
            found = None
        if found is None:
            self._group.make(name, size_gb)
        # What is open so cannot be opened so again: nobody else on this host writes there.
        with self._opened(name, os.O_RDWR | os.O_EXCL) as device:
            yield device

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[Device]:
        try:
            handle = os.open(self._group.find_device(name), flags | os.O_DIRECT | os.O_CLOEXEC)
            try:
                with contextlib.closing(Device(handle)) as device:
                    yield device
            finally:
                os.close(handle)
        except OSError as exc:
            raise StorageError(f'The logical volume {name} cannot be copied: {exc.strerror}.') from exc

    def adopt(self, volume_id: str) -> None:
        draft, name = f'draft-{volume_id}', f'volume-{volume_id}'
        there = self._group.find_size(name) is not None
        if self._group.find_size(draft) is None:
            if not there:
                raise StorageError(f'The copy of volume {volume_id} is missing.')
            return
        if there:
            raise StorageError(f'There is a logical volume {name} already, which is not the copy.')
        self._group.rename(draft, name)

    def drop_draft(self, volume_id: str) -> None:
        if self._group.find_size(f'draft-{volume_id}') is not None:
            self._group.rename(f'draft-{volume_id}', f'trash-{volume_id}.{secrets.token_hex(4)}')
