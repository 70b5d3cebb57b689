# SPDX-License-Identifier: Apache-2.0
"""Volumes as sparse files in a directory (the embedded default)."""

import contextlib
import glob
import os
import pathlib
import secrets
from collections.abc import Callable
from typing import Any, Self

from multiattach.conf import plugins, volume as volume_conf
from multiattach.drivers import values
from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.backends.copying import copy_file
from multiattach.drivers.errors import ClearAborted, CopyAborted, StorageError


class FileBackend:
    """Sparse files ``volume-UUID`` in one directory.

    ``draft-UUID`` is one that is being copied, ``trash-UUID.NUMBER`` one that is to be removed.
    """

    OPTS = volume_conf.FILE_OPTS

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        directory = pathlib.Path(options.directory)
        values.check_path(f'Option directory in [{surroundings.section}]', directory)
        return cls(directory)

    def check(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageError(
                f'Option directory of a file backend: {self._directory} cannot be made: {exc.strerror}.'
            ) from exc
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise StorageError(f'Option directory of a file backend: {self._directory} is not writable.')

    def create(self, volume_id: str, size_gb: int) -> None:
        path = self._file(volume_id)
        size = size_gb * GIB
        try:
            if path.exists() and path.stat().st_size >= size:
                return
            with path.open('ab') as file:
                os.fchmod(file.fileno(), 0o600)
                file.truncate(size)
                os.fsync(file.fileno())
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be made: {exc.strerror}.') from exc

    def clone(self, volume_id: str, source_id: str, size_gb: int, proceed: Callable[[], bool]) -> None:
        path, draft = self._file(volume_id), self._draft(volume_id)
        try:
            if path.exists():
                return
            draft.unlink(missing_ok=True)
            self._copy(self._file(source_id), draft, size_gb * GIB, proceed)
            draft.rename(path)
            self._sync_directory()
        except OSError as exc:
            raise StorageError(f'The file of volume {source_id} cannot be copied: {exc.strerror}.') from exc

    def _copy(self, source: pathlib.Path, draft: pathlib.Path, size: int, proceed: Callable[[], bool]) -> None:
        with source.open('rb') as reader:
            # A file of its own: whoever made an earlier draft, and still writes, does not write here.
            try:
                handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError as exc:
                raise CopyAborted from exc
            try:
                copy_file(reader.fileno(), handle, size, proceed)
                if not _is_at(draft, handle):  # another worker took over
                    raise CopyAborted
            except (OSError, CopyAborted):
                if _is_at(draft, handle):  # it may fill the file system
                    draft.unlink()
                raise
            finally:
                os.close(handle)

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def discard(self, volume_id: str) -> None:
        try:
            for path in (self._file(volume_id), self._draft(volume_id)):
                # To replace other trash would remove it, which takes long.
                with contextlib.suppress(FileNotFoundError):
                    path.rename(self._directory / f'trash-{volume_id}.{secrets.token_hex(4)}')
            self._sync_directory()
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be renamed: {exc.strerror}.') from exc

    def clear(self, volume_id: str, proceed: Callable[[], bool]) -> None:
        try:
            for path in self._directory.glob(f'trash-{glob.escape(volume_id)}.*'):
                if not proceed():
                    raise ClearAborted('the worker stops')
                path.unlink(missing_ok=True)
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be deleted: {exc.strerror}.') from exc

    def extend(self, volume_id: str, size_gb: int) -> None:
        if not self._file(volume_id).exists():
            raise StorageError(f'The file of volume {volume_id} is missing.')
        self.create(volume_id, size_gb)

    def path(self, volume_id: str) -> str:
        return str(self._file(volume_id))

    def capacity(self) -> Capacity:
        try:
            stat = os.statvfs(self._directory)
        except OSError as exc:
            raise StorageError(f'{self._directory} cannot be read: {exc.strerror}.') from exc
        return Capacity(stat.f_blocks * stat.f_frsize / GIB, stat.f_bavail * stat.f_frsize / GIB)

    def _file(self, volume_id: str) -> pathlib.Path:
        return self._directory / f'volume-{volume_id}'

    def _draft(self, volume_id: str) -> pathlib.Path:
        return self._directory / f'draft-{volume_id}'


def _is_at(path: pathlib.Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
