# SPDX-License-Identifier: Apache-2.0
"""Snapshots of logical volumes: each has room for all that its volume has, so that it is never lost to writes."""

import os
import secrets
from collections.abc import Callable
from typing import Any

from multiattach.drivers.backends.copying import Proceed, restore_device
from multiattach.drivers.errors import StorageError

# As Cinder names them: LVM keeps names that begin with "snapshot" for itself.
_PREFIX = '_snapshot-'


def name_snapshot(snapshot_id: str) -> str:
    return f'{_PREFIX}{snapshot_id}'


def measure_device(path: str) -> int:
    """Return the size of what a snapshot shows, in bytes: LVM itself reports what it takes."""
    with open(path, 'rb') as device:
        return device.seek(0, os.SEEK_END)


class LvmSnapshots:
    """Snapshots ``_snapshot-UUID``; what is to be zeroed becomes ``trash-UUID.NUMBER``."""

    def __init__(
        self, volume_group: str, report: Callable[..., Any], run: Callable[..., str], find_device: Callable[[str], str]
    ) -> None:
        self._group = volume_group
        self._report = report
        self._run = run
        self._find_device = find_device

    def find_origin(self, snapshot_id: str) -> str | None:
        """Return the name of what a snapshot is of; empty if LVM was killed while it made it, None without one."""
        select = f'lv_name={name_snapshot(snapshot_id)}'
        rows = self._list('--select', select)
        return rows[0]['origin'] if rows else None

    def _list(self, *args: str) -> list[dict[str, str]]:
        report = self._report('lvs', '--options', 'lv_name,origin', *args, self._group)
        rows: list[dict[str, str]] = report['report'][0]['lv']
        return rows

    def list(self) -> dict[str, str | None]:
        return {
            row['lv_name'].removeprefix(_PREFIX): row['origin'].removeprefix('volume-') or None
            for row in self._list()
            if row['lv_name'].startswith(_PREFIX)
        }

    def has_any(self, volume: str) -> bool:
        return any(row['origin'] == volume for row in self._list())

    def create(self, snapshot_id: str, volume: str) -> None:
        origin = self.find_origin(snapshot_id)
        if origin:
            return
        if origin is not None:
            self.discard(snapshot_id)
        # The kernel holds back what is written to the volume while it is made: it is of one moment.
        words = ('--yes', '--snapshot', '--extents', '100%ORIGIN', '--name', name_snapshot(snapshot_id))
        self._run('lvcreate', *words, f'{self._group}/{volume}')

    def discard(self, snapshot_id: str) -> None:
        """Make a snapshot trash: with its blocks, which have been the volume's."""
        name = name_snapshot(snapshot_id)
        origin = self.find_origin(snapshot_id)
        if origin is None:
            return
        if origin:
            self._run('lvconvert', '--yes', '--splitsnapshot', f'{self._group}/{name}')
        self._run('lvrename', self._group, name, f'trash-{snapshot_id}.{secrets.token_hex(4)}')

    def measure(self, snapshot_id: str) -> int:
        """Return the size of what a snapshot shows, in bytes.

        :raises StorageError: there is none.
        """
        if not self.find_origin(snapshot_id):
            raise StorageError(f'The snapshot {snapshot_id} is missing in {self._group}.')
        return measure_device(self._find_device(name_snapshot(snapshot_id)))

    def revert(self, snapshot_id: str, volume: str, proceed: Proceed) -> None:
        """Write again what differs from a snapshot; it may be repeated from the start."""
        size = self.measure(snapshot_id)
        reader = os.open(self._find_device(name_snapshot(snapshot_id)), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            # A device that is open so cannot be opened so again: nobody else on this host writes, too.
            writer = os.open(self._find_device(volume), os.O_RDWR | os.O_DIRECT | os.O_EXCL | os.O_CLOEXEC)
            try:
                restore_device(reader, writer, size, proceed)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
