# SPDX-License-Identifier: Apache-2.0
"""Snapshots that the storage has already: shown, and taken over. Any step may be repeated."""

from typing import Any

from multiattach.domain import errors
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.backends.manageable import FoundSnapshot, ManageableSnapshots, find_snapshot
from multiattach.drivers.errors import StorageError
from multiattach.volume import answers
from multiattach.volume.managed import MOST


class ManagedSnapshots:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list(self) -> list[dict[str, Any]]:
        """List what the storage has, as :func:`_write` writes it.

        :raises BackendError: the storage refused, or has more than an answer carries.
        :raises OutcomeUnknown: it does not answer.
        """
        with answers.expect('The snapshots of the storage cannot be listed'):
            found = self._manageable().list()
            if len(found) > MOST:
                raise StorageError(f'it has {len(found)} snapshots, and at most {MOST} can be shown')
        return [_write(one) for one in found]

    def find(self, volume_id: str, name: str) -> dict[str, Any]:
        """Look at what has a name.

        :raises InvalidInput: there is nothing of that name that could be a snapshot of the volume.
        """
        try:
            with answers.expect('The storage cannot be read'):
                return _write(self._manageable().find(volume_id, name))
        except errors.BackendError as exc:
            raise errors.InvalidInput(exc.message) from exc

    def take(self, snapshot_id: str, volume_id: str, name: str) -> None:
        """Give storage that is there the name of a snapshot.

        :raises DriverRefused: it cannot be had.
        """
        self._manageable().take(snapshot_id, volume_id, name)

    def _manageable(self) -> ManageableSnapshots:
        found: ManageableSnapshots | None = getattr(self._backend, 'manageable_snapshots', None)
        if found is None:
            raise StorageError('this kind of backend takes no snapshots over')
        return found


def _write(found: FoundSnapshot) -> dict[str, Any]:
    return {
        'name': found.name,
        'size': found.size,
        'obstacle': found.obstacle,
        'snapshot_id': find_snapshot(found.name),
        'origin': found.origin,
    }
