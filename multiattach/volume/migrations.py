# SPDX-License-Identifier: Apache-2.0
"""Migrations: the destination's worker copies, the source's removes what was left. Any step may be repeated.

The destination reads the source itself: both backends are in one process, which has their drivers. So a copy knows
the holes of the source, passes no network that volumes do not use anyway, and needs no export that a fence would have
to know.
"""

import datetime
import functools
import time
from collections.abc import Callable, Mapping

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors, migrations
from multiattach.drivers.backends import moving
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import ClearAborted, CopyAborted, DriverRefused, DriverUnavailable, StorageError
from multiattach.rpc.clients import VolumeWorkers
from multiattach.steps.leases import MIGRATION, Step, StepLeases
from multiattach.steps.migrations import MigrationRows, Plan
from multiattach.volume import answers
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.slow_steps import SlowSteps

LOG = log.getLogger(__name__)
S = migrations.State
_AT_A_TIME = 2
LOOK_AGAIN = 2.0  # s between two looks whether a copy is still wanted


class Migrations:
    """The migrations that a backend has a part in.

    :param backends: those of this process, by name; others cannot be read.
    """

    def __init__(
        self,
        rows: MigrationRows,
        name: str,
        backends: Mapping[str, Backend],
        locks: VolumeLocks,
        leases: StepLeases,
        workers: VolumeWorkers,
    ) -> None:
        self._rows = rows
        self._backend = backends[name]
        self._backends = backends
        self._locks = locks
        self._leases = leases
        self._workers = workers
        self._steps = SlowSteps(leases, 'migrate', _AT_A_TIME, MIGRATION)

    @property
    def readable(self) -> list[str]:
        """Names of the backends whose volumes can come here."""
        if _find_movable(self._backend) is None:
            return []
        return sorted(name for name, one in self._backends.items() if _find_movable(one) is not None)

    def start(self) -> None:
        self._steps.start()

    def stop(self) -> None:
        """Break off what takes long: whoever serves the backend next does it anew."""
        self._steps.stop()

    def begin(self, migration_id: str) -> None:
        """Take the next step of a migration, and those after it that are this backend's."""
        self._steps.begin(migration_id, functools.partial(self._run, migration_id))

    def resume(self, owns: Callable[[str], bool] = lambda _ident: True, after: datetime.datetime | None = None) -> None:
        """Carry on with every migration whose next step is this worker's."""
        steps = [
            Step(MIGRATION, ident, since)
            for ident, volume_id, _state, since in self._rows.list_open()
            if owns(volume_id) and (after is None or since >= after)
        ]
        for due in self._leases.list_due(steps):
            ident = due.step.ident
            # What is to be removed is tried again for ever: the row is what knows of it.
            plan = self._rows.plan(ident)
            give_up = functools.partial(self._rows.fail, ident) if plan and plan.state in migrations.BEFORE else None
            try:
                self._leases.carry_on(due, functools.partial(self.begin, ident), give_up)
            except errors.MultiattachError as exc:
                LOG.warning('Migration %s is taken up later: %s', ident, exc)

    def _run(self, migration_id: str) -> None:
        plan = self._rows.plan(migration_id)
        if plan is None:
            return
        give_up = functools.partial(self._rows.fail, migration_id) if plan.state in migrations.BEFORE else None
        with self._leases.attempt(MIGRATION, migration_id, give_up), self._locks.try_storage(plan.volume_id) as held:
            if not held:
                raise errors.OutcomeUnknown('Another step on the storage of the volume has not ended yet.')
            try:
                source = self._carry_on(plan)
            except DriverUnavailable as exc:
                raise answers.translate(exc, 'migrate') from exc
            except ClearAborted as exc:
                if not self._steps.is_stopping:
                    raise errors.OutcomeUnknown(str(exc)) from exc
                return
        if source is not None:  # now that the lock is free, which it needs
            self._workers.migrate_volume(source, migration_id, None)

    def _carry_on(self, plan: Plan) -> str | None:
        """Take steps; return the source that is to be told that the volume has left it."""
        if plan.state in (S.STARTING, S.COPYING):
            return self._copy(plan.id)
        if plan.state == S.COPIED:
            return self._complete(plan)
        if plan.state == S.CLEARING:
            self._remove(plan, 'cleared', self._backend.discard, 'clear')
        elif plan.state == S.UNDOING:
            self._remove(plan, 'undone', self._find_own().drop_draft, 'undo')
        elif plan.state == S.REVOKING:
            self._remove(plan, 'undone', self._backend.discard, 'undo')
        return None

    # -- copying -------------------------------------------------------------------------------

    def _copy(self, migration_id: str) -> str | None:
        failpoints.reach('volume.migrate.planned')
        plan = self._rows.begin(migration_id)
        if plan is not None:
            try:
                self._rows.finish_copy(plan, self._copy_blocks(plan))
            except StorageError as exc:
                LOG.error('Volume %s cannot be copied from %s: %s', plan.volume_id, plan.source, exc)
                self._rows.fail(migration_id, str(exc))
            except CopyAborted:
                LOG.info('The copy of volume %s is broken off', plan.volume_id)
                if self._steps.is_stopping:
                    return None
                self._rows.fail(migration_id, 'the copy was broken off: the volume was used or changed meanwhile')
        # Whatever came of it, the next step is this worker's, too.
        after = self._rows.plan(migration_id)
        if after is None or after.state in (S.STARTING, S.COPYING):
            return None
        return self._carry_on(after)

    def _copy_blocks(self, plan: Plan) -> str:
        """Copy, and return the digest."""
        movable = _find_movable(self._backends[plan.source]) if plan.source in self._backends else None
        if movable is None:
            raise StorageError(
                f'This worker cannot read {plan.source}: name both backends in enabled_backends of one '
                'multiattach-volume.'
            )
        proceed, note = self._make_watch(plan)
        size = plan.size * moving.GIB
        with (
            movable.open_reader(plan.volume_id) as reader,
            self._find_own().open_draft(plan.volume_id, plan.size) as draft,
        ):
            started = time.monotonic()
            digest = moving.copy(reader, draft, size, proceed, note)
        failpoints.reach('volume.migrate.proven')
        LOG.info(
            'Volume %s of %d GiB is copied from %s in %.1f s, SHA-256 %s',
            plan.volume_id,
            plan.size,
            plan.source,
            time.monotonic() - started,
            digest,
        )
        return digest

    def _make_watch(self, plan: Plan) -> tuple[Callable[[], bool], Callable[[float], None]]:
        """Build what tells whether to go on, and what takes how far it is."""
        looked, part = time.monotonic(), 0.0

        def note(share: float) -> None:
            nonlocal part
            part = share

        def proceed() -> bool:
            nonlocal looked
            failpoints.reach('volume.migrate.running')
            if self._steps.is_stopping:
                return False
            if time.monotonic() - looked < LOOK_AGAIN:
                return True
            looked = time.monotonic()
            return self._rows.note_progress(plan, int(part * 100))

        return proceed, note

    def _find_own(self) -> moving.Movable:
        found = _find_movable(self._backend)
        if found is None:
            raise StorageError('Volumes cannot be copied to this kind of backend.')
        return found

    # -- after it ------------------------------------------------------------------------------

    def _complete(self, plan: Plan) -> str | None:
        try:
            self._find_own().adopt(plan.volume_id)
        except StorageError as exc:
            # Storage of that name is somebody else's: nothing but the draft is to go.
            self._rows.fail(plan.id, str(exc), is_draft=True)
        else:
            failpoints.reach('volume.migrate.adopted')
            source = self._rows.switch(plan.id)
            failpoints.reach('volume.migrate.switched')
            if source is not None:
                LOG.info('Volume %s was on %s and is here now', plan.volume_id, source)
                return source
        after = self._rows.plan(plan.id)
        return None if after is None or after.state == S.COPIED else self._carry_on(after)

    def _remove(self, plan: Plan, event: str, discard: Callable[[str], None], name: str) -> None:
        """Remove what this backend has of a volume that is elsewhere."""
        if not self._rows.may_remove(plan):
            LOG.error('Volume %s is on this backend: nothing of it is removed', plan.volume_id)
            return
        failpoints.reach(f'volume.migrate.{name}')
        try:
            discard(plan.volume_id)
            self._backend.clear(plan.volume_id, lambda: not self._steps.is_stopping)
        except DriverRefused as exc:
            raise errors.OutcomeUnknown(f'What is left of the volume cannot be removed: {exc}') from exc
        self._rows.end(plan.id, event)
        failpoints.reach('volume.migrate.finished')


def _find_movable(backend: Backend) -> moving.Movable | None:
    found: moving.Movable | None = getattr(backend, 'movable', None)
    return found
