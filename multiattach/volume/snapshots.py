# SPDX-License-Identifier: Apache-2.0
"""Taking and deleting snapshots, and reverting volumes to them. Any step may be repeated."""

import contextlib
import datetime
import functools
import time
from collections.abc import Callable, Iterator

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors
from multiattach.domain.snapshots import Snapshot
from multiattach.domain.volume_states import Volume
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import ClearAborted, CopyAborted, DriverError, DriverRefused, DriverUnavailable
from multiattach.drivers.targets.base import Target
from multiattach.steps.leases import SNAPSHOT, VOLUME, Step, StepLeases
from multiattach.steps.snapshots import SnapshotRows
from multiattach.volume import answers
from multiattach.volume.copies import LOOK_AGAIN
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.managed_snapshots import ManagedSnapshots
from multiattach.volume.slow_steps import SlowSteps

LOG = log.getLogger(__name__)

# At a time: most take no time, a copy or a removal of files takes long.
_AT_A_TIME, _REVERTS = 4, 2
_PATIENCE, _PAUSE = 10.0, 0.1  # s for another step on the storage of the volume: most are short
# What ends a step for good, and what it is called.
_FAILURES = {Snapshot.CREATING: ('create_failed', 'create'), Snapshot.DELETING: ('delete_failed', 'delete')}
_WRITTEN = (
    'a server has the volume, and this storage can only copy it, which takes time; take the snapshot while no server '
    'has it'
)


class SnapshotSteps:
    """The steps of one worker on snapshots, each under the lock of its volume's storage."""

    def __init__(
        self, rows: SnapshotRows, backend: Backend, target: Target, locks: VolumeLocks, leases: StepLeases
    ) -> None:
        self._rows = rows
        self._backend = backend
        self.managed = ManagedSnapshots(backend)
        self._target = target
        self._locks = locks
        self._leases = leases
        self._steps = SlowSteps(leases, 'snapshot', _AT_A_TIME, SNAPSHOT)
        self._reverts = SlowSteps(leases, 'revert', _REVERTS)

    def start(self) -> None:
        self._steps.start()
        self._reverts.start()

    def stop(self) -> None:
        """Break off what takes long: whoever serves the backend next does it anew."""
        self._reverts.stop()
        self._steps.stop()

    def create(self, snapshot_id: str) -> None:
        """Have a snapshot in ``creating`` taken."""
        self._begin(snapshot_id, Snapshot.CREATING, self._create)

    def delete(self, snapshot_id: str) -> None:
        """Have a snapshot in ``deleting`` deleted."""
        self._begin(snapshot_id, Snapshot.DELETING, self._delete)

    def _begin(self, snapshot_id: str, status: str, step: Callable[[str, str], None]) -> None:
        self._steps.begin(snapshot_id, functools.partial(self._run, snapshot_id, status, step))

    def _run(self, snapshot_id: str, status: str, step: Callable[[str, str], None]) -> None:
        give_up = functools.partial(self._give_up, snapshot_id, status)
        with self._leases.attempt(SNAPSHOT, snapshot_id, give_up):
            row = self._rows.load(snapshot_id, status)
            if row is None:
                return
            with self._own_storage(row.volume_id), _translated(status):
                step(snapshot_id, row.volume_id)

    def _give_up(self, snapshot_id: str, status: str, error: str) -> None:
        row = self._rows.load(snapshot_id, status)
        if row is not None:
            with self._own_storage(row.volume_id):
                if self._rows.load(snapshot_id, status) is not None:
                    self._fail(snapshot_id, status, error)

    def _fail(self, snapshot_id: str, status: str, why: object) -> None:
        event, verb = _FAILURES[Snapshot(status)]
        LOG.error('Snapshot %s: %s failed: %s', snapshot_id, verb, why)
        self._rows.fail(snapshot_id, event, f'{verb} snapshot: {why}')

    @contextlib.contextmanager
    def _own_storage(self, volume_id: str) -> Iterator[None]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with self._locks.try_storage(volume_id) as held:
                if held:
                    yield
                    return
            if time.monotonic() > deadline or self._steps.is_stopping:
                raise errors.OutcomeUnknown('Another step on the storage of its volume has not ended yet.')
            time.sleep(_PAUSE)

    # -- steps -------------------------------------------------------------------------------------

    def _create(self, snapshot_id: str, volume_id: str) -> None:
        row = self._rows.load(snapshot_id, Snapshot.CREATING)
        if row is None:
            return
        if row.managed_from is not None:
            self._take_over(snapshot_id, volume_id, row.managed_from)
            return
        failpoints.reach('volume.snapshot.planned')
        if not self._backend.can_snapshot_in_use() and self._rows.may_be_written(volume_id):
            self._fail(snapshot_id, Snapshot.CREATING, _WRITTEN)
            return
        proceed = self._make_proceed(self._steps, lambda: self._rows.load(snapshot_id, Snapshot.CREATING) is not None)
        try:
            self._backend.create_snapshot(snapshot_id, volume_id, proceed)
        except DriverRefused as exc:
            self._fail(snapshot_id, Snapshot.CREATING, exc)
            return
        except CopyAborted:
            LOG.info('Snapshot %s of volume %s is broken off', snapshot_id, volume_id)
            return
        failpoints.reach('volume.snapshot.taken')
        self._rows.finish(snapshot_id, 'created')
        failpoints.reach('volume.snapshot.finished')
        LOG.info('Snapshot %s of volume %s is available', snapshot_id, volume_id)

    def _take_over(self, snapshot_id: str, volume_id: str, name: str) -> None:
        failpoints.reach('volume.snapshot_manage.planned')
        try:
            self.managed.take(snapshot_id, volume_id, name)
        except DriverRefused as exc:
            self._fail(snapshot_id, Snapshot.CREATING, exc)
            return
        failpoints.reach('volume.snapshot_manage.renamed')
        self._rows.finish(snapshot_id, 'created')
        failpoints.reach('volume.snapshot_manage.finished')
        LOG.info('Snapshot %s of volume %s was %s', snapshot_id, volume_id, name)

    def _delete(self, snapshot_id: str, volume_id: str) -> None:
        row = self._rows.load(snapshot_id, Snapshot.DELETING)
        if row is None:
            return
        failpoints.reach('volume.snapshot_delete.planned')
        try:
            if row.managed_from is None:  # else it was never taken over: its storage stays
                self._backend.delete_snapshot(snapshot_id, volume_id, lambda: not self._steps.is_stopping)
        except DriverRefused as exc:
            self._fail(snapshot_id, Snapshot.DELETING, exc)
            return
        except ClearAborted as exc:
            LOG.info('The deletion of snapshot %s is broken off: %s', snapshot_id, exc)
            if self._steps.is_stopping:
                return
            raise errors.OutcomeUnknown(str(exc)) from exc
        failpoints.reach('volume.snapshot_delete.deleted')
        self._rows.finish(snapshot_id, 'deleted')
        failpoints.reach('volume.snapshot_delete.finished')
        LOG.info('Snapshot %s of volume %s is deleted', snapshot_id, volume_id)

    def clear(self, volume_id: str) -> None:
        """Delete the snapshots of a volume that is deleted with them; the caller holds the lock of its storage.

        :raises StorageError: one cannot be deleted.
        """
        for snapshot_id in self._rows.list_of_volume(volume_id, Snapshot.DELETING):
            self._delete(snapshot_id, volume_id)
        for snapshot_id in self._rows.list_of_volume(volume_id, Snapshot.ERROR_DELETING):
            raise DriverRefused(f'its snapshot {snapshot_id} could not be deleted')

    # -- reverts -----------------------------------------------------------------------------------

    def revert(self, volume_id: str) -> None:
        """Have a volume in ``reverting`` made what its snapshot in ``restoring`` is."""
        self._reverts.begin(volume_id, functools.partial(self._run_revert, volume_id))

    def _run_revert(self, volume_id: str) -> None:
        with (
            self._leases.attempt(VOLUME, volume_id, functools.partial(self.give_up_revert, volume_id)),
            self._own_storage(volume_id),
            _translated(Volume.REVERTING),
        ):
            self._revert(volume_id)

    def give_up_revert(self, volume_id: str, error: str) -> None:
        with self._own_storage(volume_id):
            if self._is_reverting(volume_id):
                self._rows.end_revert(volume_id, 'revert_failed', f'revert volume: {error}')

    def _is_reverting(self, volume_id: str) -> bool:
        volume = self._rows.find_volume(volume_id)
        return volume is not None and volume.status == Volume.REVERTING

    def _revert(self, volume_id: str) -> None:
        if not self._is_reverting(volume_id):
            return
        failpoints.reach('volume.revert.planned')
        try:
            (snapshot_id,) = self._rows.list_of_volume(volume_id, Snapshot.RESTORING) or (None,)
            if snapshot_id is None:
                raise DriverRefused('the snapshot is not there any more')
            # No attachment needs a target now; one that was left would go on with the storage as it was.
            with self._locks.hold(volume_id, 'revert'):
                self._target.remove_export(volume_id)
            failpoints.reach('volume.revert.unexported')
            proceed = self._make_proceed(self._reverts, lambda: self._is_reverting(volume_id))
            self._backend.revert(volume_id, snapshot_id, proceed)
        except DriverRefused as exc:
            LOG.error('Volume %s cannot be reverted: %s', volume_id, exc)
            self._rows.end_revert(volume_id, 'revert_failed', f'revert volume: {exc}')
            return
        except CopyAborted:
            LOG.info('The revert of volume %s is broken off', volume_id)
            return
        failpoints.reach('volume.revert.copied')
        self._rows.end_revert(volume_id, 'reverted')
        failpoints.reach('volume.revert.finished')
        LOG.info('Volume %s is what its snapshot %s is', volume_id, snapshot_id)

    def _make_proceed(self, steps: SlowSteps, is_wanted: Callable[[], bool]) -> Callable[[], bool]:
        """Build what tells whether to go on: not when the worker stops, nor if it is not wanted any more."""
        looked = time.monotonic()

        def proceed() -> bool:
            nonlocal looked
            failpoints.reach('volume.snapshot.running')
            if steps.is_stopping:
                return False
            if time.monotonic() - looked < LOOK_AGAIN:
                return True
            looked = time.monotonic()
            return is_wanted()

        return proceed

    # -- taking up ---------------------------------------------------------------------------------

    def resume(self, owns: Callable[[str], bool] = lambda _ident: True, after: datetime.datetime | None = None) -> None:
        """Carry on with every snapshot whose next step is this worker's."""
        rows = {
            ident: (status, since)
            for ident, status, since in self._rows.list_open()
            if owns(ident) and (after is None or since >= after)
        }
        steps = {str(Snapshot.CREATING): self.create, str(Snapshot.DELETING): self.delete}
        for due in self._leases.list_due([Step(SNAPSHOT, ident, since) for ident, (_, since) in rows.items()]):
            ident = due.step.ident
            status = rows[ident][0]
            try:
                self._leases.carry_on(
                    due, functools.partial(steps[status], ident), functools.partial(self._give_up, ident, status)
                )
            except errors.MultiattachError as exc:
                LOG.warning('Snapshot %s is taken up later: %s', ident, exc)


@contextlib.contextmanager
def _translated(status: str) -> Iterator[None]:
    try:
        yield
    except DriverUnavailable as exc:
        raise answers.translate(exc, status) from exc
    except DriverError as exc:
        raise errors.OutcomeUnknown(f'{status}: {exc}') from exc
