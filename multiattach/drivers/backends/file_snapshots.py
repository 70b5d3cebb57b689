# SPDX-License-Identifier: Apache-2.0
"""Snapshots of files: they share their blocks with the volume, or are copies where the file system cannot."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.copying import Proceed, share_blocks
from multiattach.drivers.backends.file_drafts import Drafts
from multiattach.drivers.errors import StorageError

_PREFIX = 'snapshot-'


class FileSnapshots:
    """Files ``snapshot-UUID`` beside those of the volumes."""

    def __init__(self, directory: pathlib.Path, drafts: Drafts) -> None:
        self._directory = directory
        self._drafts = drafts
        self._shares: tuple[int, bool] | None = None  # which file system, and whether it shares blocks

    def can_share(self) -> bool:
        """Tell whether files can share blocks: then a snapshot is one call, and is of one moment."""
        with _told('The directory cannot be written to'):
            device = self._directory.stat().st_dev
            if self._shares is None or self._shares[0] != device:
                with (
                    tempfile.NamedTemporaryFile(dir=self._directory, prefix='probe-') as one,
                    tempfile.NamedTemporaryFile(dir=self._directory, prefix='probe-') as other,
                ):
                    one.write(bytes(4096))
                    one.flush()
                    self._shares = device, share_blocks(one.fileno(), other.fileno())
            return self._shares[1]

    def create(self, snapshot_id: str, volume: pathlib.Path, proceed: Proceed) -> None:
        path = self._file(snapshot_id)
        with _told(f'The file of snapshot {snapshot_id} cannot be made'):
            if not path.exists():
                self._drafts.make(snapshot_id, volume, path, None, proceed, of_one_moment=True)

    def delete(self, snapshot_id: str, proceed: Proceed) -> None:
        with _told(f'The file of snapshot {snapshot_id} cannot be deleted'):
            self._drafts.discard(snapshot_id, self._file(snapshot_id))
            self._drafts.clear(snapshot_id, proceed)

    def clone(self, volume_id: str, volume: pathlib.Path, snapshot_id: str, size_gb: int, proceed: Proceed) -> None:
        with _told(f'The file of snapshot {snapshot_id} cannot be copied'):
            if not volume.exists():
                self._drafts.make(volume_id, self._file(snapshot_id), volume, size_gb * GIB, proceed)

    def revert(self, volume_id: str, volume: pathlib.Path, snapshot_id: str, proceed: Proceed) -> None:
        """Put a copy of a snapshot in a volume's place: it is what it was, or what the snapshot is."""
        with _told(f'The file of snapshot {snapshot_id} cannot be copied'):
            self._drafts.make(volume_id, self._file(snapshot_id), volume, None, proceed)

    def list(self) -> dict[str, str | None]:
        with _told('The directory cannot be read'):
            return {
                name.removeprefix(_PREFIX): None for name in os.listdir(self._directory) if name.startswith(_PREFIX)
            }

    def _file(self, snapshot_id: str) -> pathlib.Path:
        return self._directory / f'{_PREFIX}{snapshot_id}'


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageError(f'{what}: {exc.strerror}.') from exc
