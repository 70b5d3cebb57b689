# SPDX-License-Identifier: Apache-2.0
"""Volumes as sparse files in a directory (the embedded default)."""

import contextlib
import os
import pathlib

from multiattach.drivers.backend import GIB, BackendError, Capacity


class FileBackend:
    """Sparse files ``volume-UUID`` in one directory.

    :param directory: where they are.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def check(self) -> None:
        """See :meth:`multiattach.drivers.backend.Backend.check`."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise BackendError(f'Option directory of a file backend: {self._directory} cannot be '
                               f'made: {exc.strerror}.') from exc
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise BackendError(f'Option directory of a file backend: {self._directory} is not '
                               'writable.')

    def create(self, volume_id: str, size_gb: int) -> None:
        """See :meth:`multiattach.drivers.backend.Backend.create`."""
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
            raise BackendError(f'The file of volume {volume_id} cannot be made: '
                               f'{exc.strerror}.') from exc

    def delete(self, volume_id: str) -> None:
        """See :meth:`multiattach.drivers.backend.Backend.delete`."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self._file(volume_id).unlink()
        except OSError as exc:
            raise BackendError(f'The file of volume {volume_id} cannot be deleted: '
                               f'{exc.strerror}.') from exc

    def extend(self, volume_id: str, size_gb: int) -> None:
        """See :meth:`multiattach.drivers.backend.Backend.extend`."""
        if not self._file(volume_id).exists():
            raise BackendError(f'The file of volume {volume_id} is missing.')
        self.create(volume_id, size_gb)

    def path(self, volume_id: str) -> str:
        """See :meth:`multiattach.drivers.backend.Backend.path`."""
        return str(self._file(volume_id))

    def capacity(self) -> Capacity:
        """See :meth:`multiattach.drivers.backend.Backend.capacity`."""
        try:
            stat = os.statvfs(self._directory)
        except OSError as exc:
            raise BackendError(f'{self._directory} cannot be read: {exc.strerror}.') from exc
        return Capacity(stat.f_blocks * stat.f_frsize / GIB, stat.f_bavail * stat.f_frsize / GIB)

    def _file(self, volume_id: str) -> pathlib.Path:
        return self._directory / f'volume-{volume_id}'
