# SPDX-License-Identifier: Apache-2.0
"""Making, growing and deleting the storage of volumes. Any step may be repeated."""

from collections.abc import Callable

from oslo_log import log

from multiattach.domain import errors
from multiattach.drivers.backend import Backend, BackendError
from multiattach.drivers.nova_events import NovaEvents
from multiattach.drivers.target import Target, TargetError, TargetUnavailable
from multiattach.engine.storage import Storage
from multiattach.rpc.clients import HostAgents
from multiattach.volume.copies import Copies
from multiattach.volume.locks import VolumeLocks

LOG = log.getLogger(__name__)


class StorageSteps:
    """The steps on a backend.

    :param storage: the database side of the steps.
    :param backend: where volumes are.
    :param target: where they are exported.
    :param locks: locks of volumes.
    :param agents: RPC client of the host agents, who show servers what has grown.
    :param nova: Nova, to be told the same of its servers; None without.
    """

    def __init__(self, storage: Storage, backend: Backend, target: Target, locks: VolumeLocks,
                 agents: HostAgents, nova: NovaEvents | None = None) -> None:
        self._agents = agents
        self._nova = nova
        self._storage = storage
        self._backend = backend
        self._target = target
        self._locks = locks
        self._copies = Copies(storage, backend, locks)

    def start(self) -> None:
        """Make copies (again)."""
        self._copies.start()

    def stop(self) -> None:
        """Break off the copies in work: whoever serves the backend next makes them anew."""
        self._copies.stop()

    def create(self, volume_id: str) -> None:
        """Make the storage of a volume in ``creating``, or have it copied if it is a clone.

        :param volume_id: UUID.
        """
        source_id = self._storage.find_source(volume_id)
        if source_id is not None:
            self._copies.begin(volume_id, source_id)
            return
        with self._locks.hold(volume_id):
            volume = self._storage.load(volume_id, 'creating')
            if volume is None:
                return
            try:
                self._backend.create(volume_id, volume.size)
            except BackendError as exc:
                LOG.error('Volume %s cannot be created: %s', volume_id, exc)
                self._storage.fail(volume_id, 'create_failed', f'create volume: {exc}')
                return
            self._storage.finish(volume_id, 'created')
            LOG.info('Volume %s of %d GiB is available', volume_id, volume.size)

    def delete(self, volume_id: str) -> None:
        """Delete the storage of a volume in ``deleting``, and a target left of it.

        :param volume_id: UUID.
        """
        if self._storage.find_source(volume_id) is None:
            self._delete(volume_id)
            return
        with self._locks.try_copy(volume_id) as held:
            if held:
                self._delete(volume_id)
            else:  # the copy sees that it is not wanted
                LOG.info('Volume %s is deleted when its copy has been broken off', volume_id)

    def _delete(self, volume_id: str) -> None:
        with self._locks.hold(volume_id):
            if self._storage.load(volume_id, 'deleting') is None:
                return
            try:
                self._target.remove_export(volume_id)
                self._backend.delete(volume_id)
            except (BackendError, TargetError) as exc:
                LOG.error('Volume %s cannot be deleted: %s', volume_id, exc)
                self._storage.fail(volume_id, 'delete_failed', f'delete volume: {exc}')
                return
            except TargetUnavailable as exc:
                LOG.warning('Volume %s is deleted later: %s', volume_id, exc)
                return
            self._storage.finish(volume_id, 'deleted')
            LOG.info('Volume %s is deleted', volume_id)

    def extend(self, volume_id: str) -> None:
        """Grow the storage of a volume in ``extending`` and show the size to initiators.

        :param volume_id: UUID.
        """
        with self._locks.hold(volume_id):
            volume = self._storage.load(volume_id, 'extending')
            if volume is None or volume.new_size is None:
                return
            try:
                self._backend.extend(volume_id, volume.new_size)
                if volume_id in self._target.list_exports():
                    self._target.extend(volume_id, self._backend.path(volume_id))
            except (BackendError, TargetError) as exc:
                LOG.error('Volume %s cannot be extended: %s', volume_id, exc)
                self._storage.fail(volume_id, 'extend_failed', f'extend volume: {exc}')
                return
            except TargetUnavailable as exc:
                LOG.warning('Volume %s is extended later: %s', volume_id, exc)
                return
            self._storage.finish(volume_id, 'extended', size=volume.new_size, new_size=None)
            self._tell_extended(volume_id, volume.request_id)
            LOG.info('Volume %s has %d GiB now', volume_id, volume.new_size)

    def _tell_extended(self, volume_id: str, request_id: str | None) -> None:
        """Tell everybody whose server has the volume; what is lost here, agents find themselves."""
        for host in self._storage.list_agent_hosts(volume_id):
            self._agents.extend(host, request_id)
        if self._nova is not None:
            self._nova.tell_extended(volume_id, self._storage.list_nova_servers(volume_id))

    def resume(self, owns: Callable[[str], bool] = lambda _ident: True) -> None:
        """Carry on with every volume whose next step is this worker's.

        :param owns: tells of a volume's UUID whether this one of several workers is to look after it.
        """
        steps = {'creating': self.create, 'deleting': self.delete, 'extending': self.extend}
        for volume_id, status in self._storage.list_open():
            if not owns(volume_id):
                continue
            try:
                steps[status](volume_id)
            except errors.MultiattachError as exc:
                LOG.warning('Volume %s is taken up later: %s', volume_id, exc)
