# SPDX-License-Identifier: Apache-2.0
"""Volumes as files whose blocks are all reserved: no write of a server ever meets a full disk."""

import os
import pathlib
import shutil

from oslo_config import cfg

from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.errors import ClearAborted, CopyAborted, StorageError

_PIECE = 64 << 20  # bytes that are copied between two questions whether to go on


class ThickBackend:
    OPTS = [cfg.StrOpt('thick_directory', default='$state_path/thick', help='Directory of the volume files.')]

    def __init__(self, directory):
        self._directory = pathlib.Path(directory)

    @classmethod
    def from_options(cls, options, surroundings):
        return cls(options.thick_directory)

    def check(self):
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageError(f'Option thick_directory: {self._directory} cannot be made: {exc.strerror}.') from exc

    def create(self, volume_id, size_gb):
        try:
            with self._file('volume', volume_id).open('ab') as file:
                os.posix_fallocate(file.fileno(), 0, size_gb * GIB)  # what is there already stays as it is
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be made: {exc.strerror}.') from exc

    extend = create

    def clone(self, volume_id, source_id, size_gb, proceed):
        if self._file('volume', volume_id).exists():
            return
        draft = self._file('draft', volume_id)
        try:
            with self._file('volume', source_id).open('rb') as source, draft.open('wb') as target:
                os.posix_fallocate(target.fileno(), 0, size_gb * GIB)
                while piece := source.read(_PIECE):
                    if not proceed():
                        raise CopyAborted
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            draft.rename(self._file('volume', volume_id))  # half a copy never has the volume's name
        except OSError as exc:
            raise StorageError(f'The file of volume {source_id} cannot be copied: {exc.strerror}.') from exc

    def discard(self, volume_id):
        for kind in ('volume', 'draft'):
            if self._file(kind, volume_id).exists():
                self._file(kind, volume_id).rename(self._file('trash', f'{volume_id}.{os.urandom(4).hex()}'))

    def clear(self, volume_id, proceed):
        for path in self._directory.glob(f'trash-{volume_id}.*'):
            if not proceed():
                raise ClearAborted
            path.unlink(missing_ok=True)

    def path(self, volume_id):
        return str(self._file('volume', volume_id))

    def capacity(self):
        found = shutil.disk_usage(self._directory)
        return Capacity(found.total / GIB, found.free / GIB)

    def _file(self, kind, name):
        return self._directory / f'{kind}-{name}'
