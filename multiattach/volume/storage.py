# SPDX-License-Identifier: Apache-2.0
"""Making, growing and deleting the storage of volumes. Any step may be repeated."""

import contextlib
import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterator

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors, states
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import ClearAborted, DriverRefused, DriverUnavailable, TargetBusy
from multiattach.drivers.nova.events import NovaEvents
from multiattach.drivers.targets.base import Target
from multiattach.rpc.clients import HostAgents
from multiattach.steps.leases import VOLUME, Step, StepLeases
from multiattach.steps.storage import Storage
from multiattach.steps.watch import Watch
from multiattach.volume import answers
from multiattach.volume.copies import Copies
from multiattach.volume.gateways import GatewayTarget
from multiattach.volume.images import ImageSteps
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.managed import ManagedStorage
from multiattach.volume.remnants import Remnants
from multiattach.volume.slow_steps import SlowSteps
from multiattach.volume.snapshots import SnapshotSteps

LOG = log.getLogger(__name__)
V = states.Volume
# s that an API needs at most to choose a backend, however short leases are.
_UNPLACED = 5.0
# At a time; more zeroing makes each slower, and what servers do.
_DELETIONS = 4
# What ends a step for good, and what it is called.
FAILURES: dict[str, tuple[str, str]] = {
    V.CREATING: ('create_failed', 'create'),
    V.DELETING: ('delete_failed', 'delete'),
    V.EXTENDING: ('extend_failed', 'extend'),
    V.MANAGING: ('manage_failed', 'manage'),
    V.UNMANAGING: ('unmanage_failed', 'unmanage'),
}


@dataclasses.dataclass(frozen=True)
class SlowWork:
    """What takes as long as it takes, beside all else."""

    snapshots: SnapshotSteps
    images: ImageSteps


class StorageSteps:
    """The steps on a backend."""

    def __init__(
        self,
        storage: Storage,
        backend: Backend,
        target: Target,
        locks: VolumeLocks,
        agents: HostAgents,
        leases: StepLeases,
        slow: SlowWork,
        nova: NovaEvents | None = None,
    ) -> None:
        self._snapshots = slow.snapshots
        self._images = slow.images
        self._agents = agents
        self._leases = leases
        self._nova = nova
        self._storage = storage
        self._backend = backend
        self._target = target
        self._locks = locks
        self.managed = ManagedStorage(storage, backend, target, locks)
        learn: Callable[[Callable[[str], bool]], None] | None = getattr(backend, 'learn_rows', None)
        if learn is not None:
            learn(storage.has)
        self._copies = Copies(storage, backend, locks, leases)
        self._deletions = SlowSteps(leases, 'delete', _DELETIONS)
        self.remnants = Remnants(storage, backend, locks, self._deletions)
        self._unplaced = Watch()

    def start(self) -> None:
        """Make copies and snapshots, and delete (again)."""
        self._images.start()
        self._copies.start()
        self._deletions.start()
        self._snapshots.start()

    def stop(self) -> None:
        """Break off what takes long: whoever serves the backend next does it anew."""
        self._snapshots.stop()
        self._deletions.stop()
        self._copies.stop()
        self._images.stop()

    @property
    def takes_images(self) -> bool:
        return self._images.takes_images

    def copy_image(self, volume_id: str) -> None:
        """Have an image copied to a volume in ``downloading``, or made of one in ``uploading``."""
        self._images.begin(volume_id)

    def create(self, volume_id: str) -> None:
        """Make the storage of a volume in ``creating``, or have it copied if it is a clone."""
        source = self._storage.find_source(volume_id)
        if source is not None:
            self._copies.begin(volume_id, source)
            return
        self._attempt(volume_id, V.CREATING, self._create)

    def _create(self, volume_id: str) -> None:
        with self._own_storage(volume_id):
            volume = self._storage.load(volume_id, V.CREATING)
            if volume is None:
                return
            failpoints.reach('volume.create.planned')
            try:
                self._backend.create(volume_id, volume.size)
            except DriverRefused as exc:
                self._refuse(volume_id, V.CREATING, exc)
                return
            failpoints.reach('volume.create.made')
            self._storage.finish(volume_id, 'created')
            failpoints.reach('volume.create.finished')
            LOG.info('Volume %s of %d GiB is available', volume_id, volume.size)

    def _refuse(self, volume_id: str, status: str, exc: DriverRefused) -> None:
        event, verb = FAILURES[status]
        LOG.error('Volume %s: %s was refused: %s', volume_id, verb, exc)
        self._storage.fail(volume_id, event, f'{verb} volume: {exc}')

    @contextlib.contextmanager
    def _own_storage(self, volume_id: str) -> Iterator[None]:
        with self._locks.try_storage(volume_id) as held:
            if not held:  # or a copy, which sees that it is not wanted
                raise errors.OutcomeUnknown('Another step on its storage has not ended yet.')
            yield

    def delete(self, volume_id: str) -> None:
        """Have the storage of a volume in ``deleting`` deleted, and a target left of it."""
        self._deletions.begin(volume_id, functools.partial(self._attempt, volume_id, V.DELETING, self._delete))

    def _delete(self, volume_id: str) -> None:
        with self._own_storage(volume_id):
            if self._storage.load(volume_id, V.DELETING) is None:
                return
            failpoints.reach('volume.delete.planned')
            self._images.forget(volume_id)
            try:
                self._snapshots.clear(volume_id)
                # A fence or an attach of another volume may wait for this lock: what takes long comes after.
                with self._locks.hold(volume_id, 'delete'):
                    self._target.remove_export(volume_id)
                    failpoints.reach('volume.delete.unexported')
                    self._backend.discard(volume_id)
                failpoints.reach('volume.delete.discarded')
                self._backend.clear(volume_id, lambda: not self._deletions.is_stopping)
            except DriverRefused as exc:
                self._refuse(volume_id, V.DELETING, exc)
                return
            except ClearAborted as exc:
                LOG.info('The deletion of volume %s is broken off: %s', volume_id, exc)
                if self._deletions.is_stopping:
                    return
                raise errors.OutcomeUnknown(str(exc)) from exc
            failpoints.reach('volume.delete.deleted')
            # Of one that an earlier release managed it is still there, and would say that it was given back.
            self._storage.finish(volume_id, 'deleted', managed_from=None)
            failpoints.reach('volume.delete.finished')
            LOG.info('Volume %s is deleted', volume_id)

    def extend(self, volume_id: str) -> None:
        """Grow the storage of a volume in ``extending`` and show the size to initiators."""
        self._attempt(volume_id, V.EXTENDING, self._extend)

    def _extend(self, volume_id: str) -> None:
        with self._own_storage(volume_id):
            volume = self._storage.load(volume_id, V.EXTENDING)
            if volume is None or volume.new_size is None:
                return
            failpoints.reach('volume.extend.planned')
            try:
                self._backend.extend(volume_id, volume.new_size)
                failpoints.reach('volume.extend.grown')
                with self._locks.hold(volume_id, 'extend'):
                    if isinstance(self._target, GatewayTarget) or volume_id in self._target.list_exports():
                        self._target.extend(volume_id, self._backend.path(volume_id))
            except TargetBusy as exc:
                raise errors.OutcomeUnknown(f'The new size cannot be shown now: {exc}') from exc
            except DriverRefused as exc:
                self._refuse(volume_id, V.EXTENDING, exc)
                return
            failpoints.reach('volume.extend.shown')
            self._storage.finish(volume_id, 'extended', size=volume.new_size, new_size=None)
            failpoints.reach('volume.extend.finished')
        self._tell_extended(volume_id, volume.request_id)
        LOG.info('Volume %s has %d GiB now', volume_id, volume.new_size)

    def _tell_extended(self, volume_id: str, request_id: str | None) -> None:
        """Tell everybody whose server has the volume; what is lost here, agents find themselves."""
        for host in self._storage.list_agent_hosts(volume_id):
            self._agents.extend(host, request_id)
        if self._nova is not None:
            self._nova.tell_extended(volume_id, self._storage.list_nova_servers(volume_id))

    def manage(self, volume_id: str) -> None:
        """Take storage over for a volume in ``managing``."""
        self._attempt(volume_id, V.MANAGING, functools.partial(self._own, V.MANAGING, self.managed.manage))

    def unmanage(self, volume_id: str) -> None:
        """Leave the storage of a volume in ``unmanaging`` to others."""
        self._attempt(volume_id, V.UNMANAGING, functools.partial(self._own, V.UNMANAGING, self.managed.unmanage))

    def _own(self, status: str, step: Callable[[str], None], volume_id: str) -> None:
        with self._own_storage(volume_id):
            try:
                step(volume_id)
            except DriverRefused as exc:
                self._refuse(volume_id, status, exc)

    def fail_unplaced(self) -> None:
        """End the making of volumes whose API ended before it chose a backend."""
        patience = max(self._leases.rules.duration, _UNPLACED)
        for volume_id in self._storage.list_unplaced():
            if self._unplaced.look(volume_id, None) >= patience:  # the API's clock may differ
                LOG.error('Volume %s has no backend: the API ended before it chose one', volume_id)
                self._storage.fail_unplaced(volume_id)

    def resume(self, owns: Callable[[str], bool] = lambda _ident: True, after: datetime.datetime | None = None) -> None:
        """Carry on with every volume whose next step is this worker's."""
        steps = {
            str(V.CREATING): self.create,
            str(V.DELETING): self.delete,
            str(V.EXTENDING): self.extend,
            str(V.REVERTING): self._snapshots.revert,
            str(V.MANAGING): self.manage,
            str(V.UNMANAGING): self.unmanage,
            **dict.fromkeys(map(str, states.COPYING), self.copy_image),
        }
        rows = {
            volume_id: (status, since)
            for volume_id, status, since in self._storage.list_open()
            if status in steps and owns(volume_id) and (after is None or since >= after)
        }
        for due in self._leases.list_due([Step(VOLUME, ident, since) for ident, (_, since) in rows.items()]):
            volume_id = due.step.ident
            status = rows[volume_id][0]
            try:
                self._leases.carry_on(
                    due, functools.partial(steps[status], volume_id), functools.partial(self.give_up, volume_id, status)
                )
            except errors.MultiattachError as exc:
                LOG.warning('Volume %s is taken up later: %s', volume_id, exc)
        self._snapshots.resume(owns, after)

    def _attempt(self, volume_id: str, status: str, step: Callable[[str], None]) -> None:
        """Try a step; without a result it is tried again."""
        try:
            with self._leases.attempt(VOLUME, volume_id, functools.partial(self.give_up, volume_id, status)):
                try:
                    step(volume_id)
                except DriverUnavailable as exc:
                    raise answers.translate(exc, status) from exc
        except errors.MultiattachError as exc:
            LOG.warning('Volume %s stays %s: %s', volume_id, status, exc)
        except Exception:  # nobody else would see it
            LOG.exception('Volume %s stays %s', volume_id, status)

    def give_up(self, volume_id: str, status: str, error: str) -> None:
        """End a step that was tried often enough, without a result, in an error status."""
        if status == V.REVERTING:
            self._snapshots.give_up_revert(volume_id, error)
            return
        if status in states.COPYING:
            self._images.give_up(volume_id, error)
            return
        with self._own_storage(volume_id):
            if self._storage.load(volume_id, status) is not None:
                event, verb = FAILURES[status]
                self._storage.fail(volume_id, event, f'{verb} volume: {error}')
