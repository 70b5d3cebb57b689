# SPDX-License-Identifier: Apache-2.0
"""Files that are copied to or from another backend."""

import contextlib
import os
import pathlib
import secrets
from collections.abc import Iterator

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.copying import list_extents
from multiattach.drivers.errors import StorageError


class FileReader:
    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def extents(self) -> Iterator[tuple[int, int]]:
        return list_extents(self._handle, self.size)

    def read(self, start: int, length: int) -> bytes:
        data = read_all(self._handle, start, length)
        # What is read once is no reason to forget what else is cached.
        os.posix_fadvise(self._handle, start, length, os.POSIX_FADV_DONTNEED)
        return data


class FileDraft:
    """A new file: what is not written reads as zeros."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, start: int, data: bytes) -> None:
        with memoryview(data) as view:
            while view.nbytes:
                done = os.pwrite(self._handle, view, start)
                start, view = start + done, view[done:]

    def zero(self, start: int, end: int) -> None:
        """Leave a hole."""

    def flush(self) -> None:
        os.fsync(self._handle)
        os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def read(self, start: int, length: int) -> bytes:
        return read_all(self._handle, start, length)


class MovableFiles:
    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def open_reader(self, volume_id: str) -> Iterator[FileReader]:
        with self._explained(volume_id), self._opened(self._name('volume', volume_id), os.O_RDONLY) as handle:
            yield FileReader(handle)

    @contextlib.contextmanager
    def open_draft(self, volume_id: str, size_gb: int) -> Iterator[FileDraft]:
        path = self._name('draft', volume_id)
        with self._explained(volume_id):
            if os.path.lexists(self._name('volume', volume_id)):
                raise StorageError(f'There is a file volume-{volume_id} already.')
            path.unlink(missing_ok=True)  # who may write there still writes to nothing
            with self._opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as handle:
                os.ftruncate(handle, size_gb * GIB)
                yield FileDraft(handle)

    def adopt(self, volume_id: str) -> None:
        draft, path = self._name('draft', volume_id), self._name('volume', volume_id)
        with self._explained(volume_id):
            if draft.exists():
                with contextlib.suppress(FileExistsError):  # a link replaces nothing
                    os.link(draft, path)
                if not os.path.samestat(draft.lstat(), path.lstat()):
                    raise StorageError(f'There is a file volume-{volume_id} already, which is not the copy.')
                draft.unlink()
            elif not path.exists():
                raise StorageError(f'The copy of volume {volume_id} is missing.')
            with self._opened(self._directory, os.O_RDONLY | os.O_DIRECTORY) as handle:
                os.fsync(handle)

    def drop_draft(self, volume_id: str) -> None:
        with self._explained(volume_id), contextlib.suppress(FileNotFoundError):
            trash = self._directory / f'trash-{volume_id}.{secrets.token_hex(4)}'
            self._name('draft', volume_id).rename(trash)

    def _name(self, kind: str, volume_id: str) -> pathlib.Path:
        return self._directory / f'{kind}-{volume_id}'

    @contextlib.contextmanager
    def _opened(self, path: pathlib.Path, flags: int) -> Iterator[int]:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _explained(self, volume_id: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be copied: {exc.strerror}.') from exc


def read_all(handle: int, start: int, length: int) -> bytes:
    """Read as much as is asked for.

    :raises OSError: there is less.
    """
    pieces = []
    while length:
        piece = os.pread(handle, length, start)
        if not piece:
            raise OSError(5, 'it ends early')
        pieces.append(piece)
        start, length = start + len(piece), length - len(piece)
    return pieces[0] if len(pieces) == 1 else b''.join(pieces)
