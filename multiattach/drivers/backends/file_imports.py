# SPDX-License-Identifier: Apache-2.0
"""Files that are to become volumes."""

import contextlib
import os
import pathlib
import secrets
from collections.abc import Callable, Iterator

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import CopyAborted, StorageError


class FileDraft:
    def __init__(self, directory: pathlib.Path, volume_id: str, handle: int) -> None:
        self._directory = directory
        self._volume_id = volume_id
        self._handle = handle
        self._file = directory / f'draft-{volume_id}'
        self.path = str(self._file)

    def adopt(self) -> None:
        target = self._directory / f'volume-{self._volume_id}'
        try:
            os.fsync(self._handle)
            if not self.is_mine():
                raise CopyAborted
            # A second name first: at no moment is there no volume, and to remove what was there takes long.
            with contextlib.suppress(FileNotFoundError):
                trash = self._directory / f'trash-{self._volume_id}.{secrets.token_hex(4)}'
                trash.hardlink_to(target)
            self._file.rename(target)
            sync(self._directory)
        except OSError as exc:
            raise _explain(self._volume_id, exc) from exc

    def is_mine(self) -> bool:
        """Tell whether the draft's name is that of this file: another worker may have taken over."""
        try:
            return os.path.samestat(self._file.stat(), os.fstat(self._handle))
        except FileNotFoundError:
            return False

    def drop(self) -> None:
        if self.is_mine():
            self._file.unlink()


class FileImports:
    """Files ``draft-UUID`` in a directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def open(self, volume_id: str, size_gb: int, _proceed: Callable[[], bool]) -> Iterator[FileDraft]:
        handle = self._make(volume_id, size_gb * GIB)
        draft = FileDraft(self._directory, volume_id, handle)
        try:
            yield draft
        finally:
            draft.drop()  # what was adopted has another name
            os.close(handle)

    def _make(self, volume_id: str, size: int) -> int:
        file = self._directory / f'draft-{volume_id}'
        try:
            file.unlink(missing_ok=True)
            # A file of its own: whoever made an earlier draft, and still writes, does not write here.
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as exc:
            raise CopyAborted from exc
        except OSError as exc:
            raise _explain(volume_id, exc) from exc
        try:
            os.ftruncate(handle, size)
        except OSError as exc:
            os.close(handle)
            raise _explain(volume_id, exc) from exc
        return handle


def sync(directory: pathlib.Path) -> None:
    """Have the names of files outlive a crash of the machine."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(volume_id: str, exc: OSError) -> StorageError:
    return StorageError(f'The file of volume {volume_id} cannot be made: {exc.strerror}.')
