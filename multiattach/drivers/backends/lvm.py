# SPDX-License-Identifier: Apache-2.0
"""Volumes as logical volumes of one volume group."""

import errno
import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from typing import Any, Self

from multiattach.conf import plugins, volume as volume_conf
from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.backends.copying import copy_device
from multiattach.drivers.backends.lvm_imports import LvmImports
from multiattach.drivers.backends.lvm_manageable import ManageableLogicalSnapshots, ManageableLogicalVolumes
from multiattach.drivers.backends.lvm_moving import MovableLogicalVolumes
from multiattach.drivers.backends.lvm_snapshots import LvmSnapshots, name_snapshot
from multiattach.drivers.backends.names import Stored, sort_names
from multiattach.drivers.errors import ClearAborted, StorageError

_TIMEOUT = 120
_CLEAR_SECONDS_PER_GIB = 60  # a disk that cannot zero by itself and writes 17 MiB/s
_PIECE = 64 << 20  # bytes that are zeroed at first
_SHORT, _LONG = 1.0, 4.0  # s for a piece: of less it grows, of more it shrinks


class LvmBackend:
    """Logical volumes ``volume-UUID`` in a volume group; the caller is root.

    ``_snapshot-UUID`` is a snapshot, ``draft-UUID`` a volume that is being copied,
    ``trash-UUID.NUMBER`` one that is to be zeroed and removed.
    """

    OPTS = volume_conf.LVM_OPTS
    GROWS_IN_USE_WITH_SNAPSHOTS = False
    IS_THICK = True

    def __init__(self, volume_group: str) -> None:
        self._group = volume_group
        self.imports = LvmImports(self)
        self._snapshots = LvmSnapshots(volume_group, self._report, self._run, self.find_device)
        self.movable = MovableLogicalVolumes(self)
        self.manageable = ManageableLogicalVolumes(volume_group, self._report, self._run)
        self.manageable_snapshots = ManageableLogicalSnapshots(volume_group, self._report, self._run, self.find_device)

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        return cls(options.volume_group)

    def check(self) -> None:
        try:
            self.capacity()
        except StorageError as exc:
            raise StorageError(f'Option volume_group of an lvm backend: {self._group} cannot be used. {exc}') from exc

    def create(self, volume_id: str, size_gb: int) -> None:
        found = self.find_size(_name(volume_id))
        if found is None:
            self.make(_name(volume_id), size_gb)
        elif found < size_gb * GIB:
            self.extend(volume_id, size_gb)

    def make(self, name: str, size_gb: int) -> None:
        # Wiping keeps the host from taking what is in there for its own; delete has zeroed it.
        self._run(
            'lvcreate',
            '--yes',
            '--wipesignatures',
            'y',
            '--zero',
            'y',
            '--size',
            f'{size_gb}g',
            '--name',
            name,
            self._group,
        )

    def clone(self, volume_id: str, source_id: str, size_gb: int, proceed: Callable[[], bool]) -> None:
        if self.find_size(_name(volume_id)) is not None:
            return
        source = self.find_size(_name(source_id))
        if source is None:
            raise StorageError(f'The logical volume of volume {source_id} is missing.')
        self._clone(volume_id, _name(source_id), source, size_gb, proceed)

    def _clone(self, volume_id: str, source: str, source_size: int, size_gb: int, proceed: Callable[[], bool]) -> None:
        if self.find_size(_draft(volume_id)) is None:
            self.make(_draft(volume_id), size_gb)
        try:
            self._copy(source, _draft(volume_id), min(source_size, size_gb * GIB), proceed)
        except OSError as exc:
            raise StorageError(f'The logical volume {source} cannot be copied: {exc.strerror}.') from exc
        self.rename(_draft(volume_id), _name(volume_id))

    def _copy(self, source: str, target: str, size: int, proceed: Callable[[], bool]) -> None:
        # Direct: a copy is no reason to forget what else is cached, and needs no room for itself.
        reader = os.open(self.find_device(source), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            # A device that is open so cannot be opened so again: nobody else on this host copies, too.
            writer = os.open(self.find_device(target), os.O_WRONLY | os.O_DIRECT | os.O_EXCL | os.O_CLOEXEC)
            try:
                copy_device(reader, writer, size, proceed)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def discard(self, volume_id: str) -> None:
        for name in (_draft(volume_id), _name(volume_id)):
            if self.find_size(name) is not None:
                self.check_alone(name)
                self._run('lvrename', self._group, name, f'{_trash(volume_id)}{secrets.token_hex(4)}')

    def check_alone(self, name: str) -> None:
        """See that a logical volume may go: LVM would remove its snapshots with it.

        :raises StorageError: it has some, which somebody made, or was given back.
        """
        if self._snapshots.has_any(name):
            raise StorageError(
                f'The logical volume {name} has snapshots that this service does not manage: remove them ("lvremove"), '
                'or manage and delete them.'
            )

    def clear(self, volume_id: str, proceed: Callable[[], bool]) -> None:
        report = self._report('lvs', '--options', 'lv_name,lv_size', self._group)
        for row in report['report'][0]['lv']:
            if row['lv_name'].startswith(_trash(volume_id)):
                self.check_alone(row['lv_name'])
                # The next volume on these extents may be another project's.
                self._zero(row['lv_name'], int(row['lv_size']), proceed)
                self.check_alone(row['lv_name'])  # that took its time
                self._run('lvremove', '--yes', '--force', f'{self._group}/{row["lv_name"]}')

    def _zero(self, name: str, size: int, proceed: Callable[[], bool]) -> None:
        """Zero a logical volume piece by piece, each as large as takes some seconds: one can stop between."""
        start, piece = 0, _PIECE
        while start < size:
            if not proceed():
                raise ClearAborted('the worker stops')
            length = min(piece, size - start)
            begun = time.monotonic()
            try:
                self._run(
                    'blkdiscard',
                    '--zeroout',
                    '--offset',
                    str(start),
                    '--length',
                    str(length),
                    self.find_device(name),
                    timeout=_TIMEOUT + length / GIB * _CLEAR_SECONDS_PER_GIB,
                )
            except StorageError:
                if self._is_busy(name):  # a process of a worker that was killed goes on
                    raise ClearAborted('another process has it open') from None
                raise
            start += length
            seconds = time.monotonic() - begun
            piece = piece * 2 if seconds < _SHORT else max(_PIECE, piece // 2) if seconds > _LONG else piece

    def _is_busy(self, name: str) -> bool:
        try:
            os.close(os.open(self.find_device(name), os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as exc:
            return exc.errno == errno.EBUSY
        return False

    def extend(self, volume_id: str, size_gb: int) -> None:
        name = _name(volume_id)
        found = self.find_size(name)
        if found is None:
            raise StorageError(f'The logical volume of volume {volume_id} is missing.')
        # LVM grows what has snapshots only while nobody has it open.
        is_origin = self._snapshots.has_any(name)
        if found < size_gb * GIB:
            if is_origin:
                self._run('lvchange', '--activate', 'n', f'{self._group}/{name}')
            self._run('lvextend', '--size', f'{size_gb}g', f'{self._group}/{name}')
        if is_origin:
            self._run('lvchange', '--activate', 'y', f'{self._group}/{name}')

    def path(self, volume_id: str) -> str:
        return self.find_device(_name(volume_id))

    def find_device(self, name: str) -> str:
        return f'/dev/{self._group}/{name}'

    def rename(self, name: str, new: str) -> None:
        self._run('lvrename', self._group, name, new)

    def list_storage(self) -> Stored:
        report = self._report('lvs', '--options', 'lv_name', self._group)
        return sort_names(row['lv_name'] for row in report['report'][0]['lv'])

    def capacity(self) -> Capacity:
        report = self._report('vgs', '--options', 'vg_size,vg_free', self._group)
        group = report['report'][0]['vg'][0]
        return Capacity(float(group['vg_size']) / GIB, float(group['vg_free']) / GIB)

    def find_size(self, name: str) -> int | None:
        """Return a logical volume's size in bytes, None if there is none."""
        report = self._report('lvs', '--options', 'lv_size', '--select', f'lv_name={name}', self._group)
        rows = report['report'][0]['lv']
        return int(rows[0]['lv_size']) if rows else None

    def _report(self, program: str, *args: str) -> Any:
        return json.loads(self._run(program, '--reportformat', 'json', '--units', 'b', '--nosuffix', *args))

    def _run(self, program: str, *args: str, timeout: float = _TIMEOUT) -> str:
        try:
            done = subprocess.run(
                [program, *args], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout
            )
        except FileNotFoundError as exc:
            raise StorageError(f'{program} is missing: install the packages lvm2 and util-linux.') from exc
        except subprocess.TimeoutExpired as exc:
            raise StorageError(f'{program} did not end in {timeout:.0f} s.') from exc
        if done.returncode:
            raise StorageError(f'{program} failed: {done.stderr.strip()}')
        return done.stdout

    # Snapshots ---------------------------------------------------------------------------

    def can_snapshot_in_use(self) -> bool:
        return True

    def create_snapshot(self, snapshot_id: str, volume_id: str, _proceed: Callable[[], bool]) -> None:
        self._snapshots.create(snapshot_id, _name(volume_id))

    def delete_snapshot(self, snapshot_id: str, _volume_id: str, proceed: Callable[[], bool]) -> None:
        self._snapshots.discard(snapshot_id)
        self.clear(snapshot_id, proceed)

    def clone_snapshot(
        self, volume_id: str, snapshot_id: str, _source_id: str, size_gb: int, proceed: Callable[[], bool]
    ) -> None:
        if self.find_size(_name(volume_id)) is None:
            size = self._snapshots.measure(snapshot_id)
            self._clone(volume_id, name_snapshot(snapshot_id), size, size_gb, proceed)

    def revert(self, volume_id: str, snapshot_id: str, proceed: Callable[[], bool]) -> None:
        try:
            self._snapshots.revert(snapshot_id, _name(volume_id), proceed)
        except OSError as exc:
            raise StorageError(f'The snapshot {snapshot_id} cannot be copied: {exc.strerror}.') from exc

    def list_snapshots(self) -> dict[str, str | None]:
        return self._snapshots.list()


def _name(volume_id: str) -> str:
    return f'volume-{volume_id}'


def _draft(volume_id: str) -> str:
    return f'draft-{volume_id}'


def _trash(volume_id: str) -> str:
    return f'trash-{volume_id}.'
