# SPDX-License-Identifier: Apache-2.0
"""Volumes as sparse files in a directory (the embedded default)."""

import os
import pathlib
from collections.abc import Callable
from typing import Any, Self

from multiattach.conf import plugins, volume as volume_conf
from multiattach.drivers import values
from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.backends.file_drafts import Drafts
from multiattach.drivers.backends.file_imports import FileImports
from multiattach.drivers.backends.file_manageable import ManageableFiles, ManageableSnapshotFiles
from multiattach.drivers.backends.file_moving import MovableFiles
from multiattach.drivers.backends.file_snapshots import FileSnapshots
from multiattach.drivers.backends.names import Stored, sort_names
from multiattach.drivers.errors import StorageError


class FileBackend:
    """Sparse files ``volume-UUID`` in one directory.

    ``snapshot-UUID`` is a snapshot, ``draft-UUID`` what is being copied, ``trash-UUID.NUMBER`` what is to be removed.
    """

    OPTS = volume_conf.FILE_OPTS

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._drafts = Drafts(directory)
        self.imports = FileImports(directory)
        self._snapshots = FileSnapshots(directory, self._drafts)
        self.manageable = ManageableFiles(directory)
        self.manageable_snapshots = ManageableSnapshotFiles(directory)
        self.movable = MovableFiles(directory)

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
        path = self._file(volume_id)
        try:
            if not path.exists():
                self._drafts.make(volume_id, self._file(source_id), path, size_gb * GIB, proceed)
        except OSError as exc:
            raise StorageError(f'The file of volume {source_id} cannot be copied: {exc.strerror}.') from exc

    def discard(self, volume_id: str) -> None:
        try:
            self._drafts.discard(volume_id, self._file(volume_id))
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be renamed: {exc.strerror}.') from exc

    def clear(self, volume_id: str, proceed: Callable[[], bool]) -> None:
        try:
            self._drafts.clear(volume_id, proceed)
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be deleted: {exc.strerror}.') from exc

    def extend(self, volume_id: str, size_gb: int) -> None:
        if not self._file(volume_id).exists():
            raise StorageError(f'The file of volume {volume_id} is missing.')
        self.create(volume_id, size_gb)

    def path(self, volume_id: str) -> str:
        return str(self._file(volume_id))

    def list_storage(self) -> Stored:
        try:
            return sort_names(os.listdir(self._directory))
        except OSError as exc:
            raise StorageError(f'{self._directory} cannot be read: {exc.strerror}.') from exc

    def capacity(self) -> Capacity:
        try:
            stat = os.statvfs(self._directory)
        except OSError as exc:
            raise StorageError(f'{self._directory} cannot be read: {exc.strerror}.') from exc
        return Capacity(stat.f_blocks * stat.f_frsize / GIB, stat.f_bavail * stat.f_frsize / GIB)

    def _file(self, volume_id: str) -> pathlib.Path:
        return self._directory / f'volume-{volume_id}'

    # Snapshots ---------------------------------------------------------------------------

    def can_snapshot_in_use(self) -> bool:
        return self._snapshots.can_share()

    def create_snapshot(self, snapshot_id: str, volume_id: str, proceed: Callable[[], bool]) -> None:
        self._snapshots.create(snapshot_id, self._file(volume_id), proceed)

    def delete_snapshot(self, snapshot_id: str, _volume_id: str, proceed: Callable[[], bool]) -> None:
        self._snapshots.delete(snapshot_id, proceed)

    def clone_snapshot(
        self, volume_id: str, snapshot_id: str, _source_id: str, size_gb: int, proceed: Callable[[], bool]
    ) -> None:
        self._snapshots.clone(volume_id, self._file(volume_id), snapshot_id, size_gb, proceed)

    def revert(self, volume_id: str, snapshot_id: str, proceed: Callable[[], bool]) -> None:
        self._snapshots.revert(volume_id, self._file(volume_id), snapshot_id, proceed)

    def list_snapshots(self) -> dict[str, str | None]:
        return self._snapshots.list()
