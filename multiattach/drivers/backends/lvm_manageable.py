# SPDX-License-Identifier: Apache-2.0
"""Logical volumes of a volume group that may become volumes or snapshots."""

import re
from collections.abc import Callable
from typing import Any

from multiattach.drivers.backends.lvm_snapshots import measure_device, name_snapshot
from multiattach.drivers.backends.manageable import (
    Found,
    FoundSnapshot,
    check_obstacle,
    check_size,
    check_snapshot_size,
    is_passing,
    missing,
)
from multiattach.drivers.errors import StorageError

# What LVM takes for a name; nothing else reaches its commands.
_NAME = re.compile(r'[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,126}')
# First letter of lv_attr: pools and what belongs to other logical volumes are none that a server could have.
_PLAIN = frozenset('-oOCVrRmM')
_SNAPSHOTS = frozenset('sS')
_ACTIVE, _OPEN = 4, 5  # places of the letters that say so


class ManageableLogicalVolumes:
    """:param report: runs a command of LVM and returns its report."""

    def __init__(self, group: str, report: Callable[..., Any], run: Callable[..., str]) -> None:
        self._group = group
        self._report = report
        self._run = run

    def list(self) -> list[Found]:
        rows = self._report('lvs', '--options', 'lv_name,lv_size,lv_attr', self._group)['report'][0]['lv']
        return [found for row in rows if (found := _judge(row)) is not None]

    def find(self, name: str) -> Found:
        found = next((one for one in self.list() if one.name == name), None) if _NAME.fullmatch(name) else None
        if found is None:
            raise missing(name, 'the volume group')
        return found

    def take(self, volume_id: str, name: str) -> None:
        if not _NAME.fullmatch(name) or is_passing(name):
            raise missing(name, 'the volume group')
        known, target = {one.name: one for one in self.list()}, f'volume-{volume_id}'
        if target in known:
            if name in known and name != target:
                raise StorageError(f'There is a logical volume {target} already, which is not {name}.')
            return
        if name not in known:
            raise missing(name, 'the volume group')
        check_obstacle(known[name])
        self._run('lvrename', self._group, name, target)


class ManageableLogicalSnapshots:
    """Snapshots of logical volumes ``volume-UUID``.

    :param report: runs a command of LVM and returns its report.
    """

    def __init__(
        self, group: str, report: Callable[..., Any], run: Callable[..., str], find_device: Callable[[str], str]
    ) -> None:
        self._group = group
        self._report = report
        self._run = run
        self._find_device = find_device

    def list(self) -> list[FoundSnapshot]:
        rows = self._report('lvs', '--options', 'lv_name,lv_size,lv_attr,origin', self._group)['report'][0]['lv']
        sizes = {row['lv_name']: int(row['lv_size']) for row in rows}
        return [
            self._judge(row, sizes[row['origin']])
            for row in rows
            if row['lv_attr'][0] in _SNAPSHOTS and row['origin'].startswith('volume-') and row['origin'] in sizes
        ]

    def _judge(self, row: dict[str, str], volume_size: int) -> FoundSnapshot:
        name, attributes, size = row['lv_name'], row['lv_attr'], int(row['lv_size'])
        if attributes[0] == 'S' or attributes[_ACTIVE] != 'a':
            obstacle = 'it is being merged, is not active, or has been lost to writes'
        elif attributes[_OPEN] == 'o':
            obstacle = 'it is in use: a process has it open, or it is mounted'
        else:
            try:
                room, size = size, measure_device(self._find_device(name))
            except OSError as exc:
                obstacle = f'it cannot be read: {exc.strerror}'
            else:
                obstacle = check_snapshot_size(size, volume_size)
                if room < size:
                    obstacle = 'it has less room than its volume: writes to that could make it invalid'
        return FoundSnapshot(name, size, obstacle, row['origin'])

    def find(self, volume_id: str, name: str) -> FoundSnapshot:
        origin = f'volume-{volume_id}'
        found = next((one for one in self.list() if (one.name, one.origin) == (name, origin)), None)
        if found is None:
            raise missing(name, f'the snapshots of logical volume {origin}')
        return found

    def take(self, snapshot_id: str, volume_id: str, name: str) -> None:
        origin, target = f'volume-{volume_id}', name_snapshot(snapshot_id)
        known = {one.name: one for one in self.list() if one.origin == origin}
        if target in known:
            if name in known and name != target:
                raise StorageError(f'There is a snapshot {target} already, which is not {name[:64]}.')
            return
        if name not in known or not _NAME.fullmatch(name):
            raise missing(name, f'the snapshots of logical volume {origin}')
        check_obstacle(known[name])
        self._run('lvrename', self._group, name, target)


def _judge(row: dict[str, str]) -> Found | None:
    name, attributes = row['lv_name'], row['lv_attr']
    if is_passing(name) or not _NAME.fullmatch(name) or attributes[0] not in _PLAIN | _SNAPSHOTS:
        return None
    size, obstacle = int(row['lv_size']), ''
    if attributes[0] in _SNAPSHOTS:
        obstacle = 'it is a snapshot'
    elif attributes[_OPEN] == 'o':
        obstacle = 'it is in use: a process has it open, or it is mounted'
    return Found(name, size, obstacle or check_size(size))
