# SPDX-License-Identifier: Apache-2.0
"""Storage that was there before its volume: taken over, shown, and handed back. Any step may be repeated."""

from typing import Any

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors, states
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.backends.manageable import Found, Manageable, find_volume
from multiattach.drivers.errors import StorageError
from multiattach.drivers.targets.base import Target
from multiattach.steps.storage import Storage
from multiattach.volume import answers
from multiattach.volume.locks import VolumeLocks

LOG = log.getLogger(__name__)
V = states.Volume
MOST = 10_000  # that one answer carries


class ManagedStorage:
    def __init__(self, storage: Storage, backend: Backend, target: Target, locks: VolumeLocks) -> None:
        self._storage = storage
        self._backend = backend
        self._target = target
        self._locks = locks

    def list(self) -> list[dict[str, Any]]:
        """List what the storage has, as :func:`_write` writes it.

        :raises BackendError: the storage refused, or has more than an answer carries.
        :raises OutcomeUnknown: it does not answer.
        """
        with answers.expect('The storage cannot be listed'):
            found = self._manageable().list()
            if len(found) > MOST:
                raise StorageError(f'it has {len(found)} entries, and at most {MOST} can be shown')
        return [_write(one) for one in found]

    def find(self, name: str) -> dict[str, Any]:
        """Look at what has a name.

        :raises InvalidInput: there is nothing of that name that could be a volume.
        """
        try:
            with answers.expect('The storage cannot be read'):
                return _write(self._manageable().find(name))
        except errors.BackendError as exc:
            raise errors.InvalidInput(exc.message) from exc

    def _manageable(self) -> Manageable:
        found: Manageable | None = getattr(self._backend, 'manageable', None)
        if found is None:
            raise StorageError('this kind of backend takes no storage over')
        return found

    def manage(self, volume_id: str) -> None:
        """Give storage that is there the name of a volume in ``managing``.

        :raises DriverRefused: it cannot be had.
        """
        volume = self._storage.load(volume_id, V.MANAGING)
        if volume is None:
            return
        failpoints.reach('volume.manage.planned')
        self._manageable().take(volume_id, str(volume.managed_from))
        failpoints.reach('volume.manage.renamed')
        self._storage.finish(volume_id, 'managed', managed_from=None)
        failpoints.reach('volume.manage.finished')
        LOG.info('Volume %s of %d GiB was %s', volume_id, volume.size, volume.managed_from)

    def unmanage(self, volume_id: str) -> None:
        """Take a target that was left away; the storage stays as it is, with the name that it has."""
        volume = self._storage.load(volume_id, V.UNMANAGING)
        if volume is None:
            return
        failpoints.reach('volume.unmanage.planned')
        with self._locks.hold(volume_id, 'unmanage'):
            self._target.remove_export(volume_id)
        # Who looks for what steps have left knows by this that nothing of that name is left of one.
        name = volume.managed_from or f'volume-{volume.name_id or volume_id}'
        self._storage.finish(volume_id, 'unmanaged', managed_from=name)
        failpoints.reach('volume.unmanage.finished')
        LOG.info('Volume %s is managed no more; its storage is there', volume_id)


def _write(found: Found) -> dict[str, Any]:
    owner = found.owner or find_volume(found.name)
    return {'name': found.name, 'size': found.size, 'obstacle': found.obstacle, 'volume_id': owner}
