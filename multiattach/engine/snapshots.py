# SPDX-License-Identifier: Apache-2.0
"""Snapshots: create, read, update, delete, and the revert of a volume to its latest one."""

import dataclasses
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    clones as db_clones,
    database,
    models,
    paging,
    services as db_services,
    snapshots as db_snapshots,
    transitions,
    types as db_types,
    volumes as db_volumes,
)
from multiattach.domain import bounds, errors, snapshots, states
from multiattach.domain.services import VOLUME_BINARY
from multiattach.engine import placement
from multiattach.engine.access import lock_snapshot, lock_volume, show_sharers
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.engine.services import Services
from multiattach.rpc.clients import VolumeWorkers

_ADMIN = 'volume_extension:snapshot_admin_actions:'


@dataclasses.dataclass(frozen=True)
class SnapshotWish:
    """What a user asks a snapshot to be.

    :param in_use_allowed: of a volume that servers have, too: by ``force``, or from 3.66.
    """

    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    in_use_allowed: bool = False


class Snapshots:
    """Use cases on snapshots."""

    def __init__(
        self, db: database.Database, policy: Policy, services: Services, quotas: Quotas, workers: VolumeWorkers
    ) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._quotas = quotas
        self._workers = workers

    # -- reading -------------------------------------------------------------------------------

    @database.retry
    def show(self, ctx: RequestContext, snapshot_id: str, rule: str = 'volume:get_snapshot') -> models.SnapshotDetail:
        with self._db.rows() as connection:
            found = db_snapshots.get(connection, snapshot_id)
        self._policy.check_visible(ctx, found, errors.SnapshotNotFound(snapshot_id))
        self._policy.check(ctx, rule, found.project_id)
        return found

    @database.retry
    def list_page(
        self,
        ctx: RequestContext,
        filters: Sequence[sa.ColumnElement[bool]],
        page: paging.Page,
        *,
        all_projects: bool = False,
    ) -> list[models.SnapshotDetail]:
        """List snapshots of the caller's project, or for admins of all."""
        self._policy.check(ctx, 'volume:get_all_snapshots')
        with self._db.reader() as session:
            return db_snapshots.list_page(session, [*filters, *_scope(ctx, all_projects)], page)

    @database.retry
    def count(
        self, ctx: RequestContext, filters: Sequence[sa.ColumnElement[bool]], *, all_projects: bool = False
    ) -> int:
        self._policy.check(ctx, 'volume:get_all_snapshots')
        with self._db.reader() as session:
            return db_snapshots.count(session, [*filters, *_scope(ctx, all_projects)])

    # -- creating ------------------------------------------------------------------------------

    def create(self, ctx: RequestContext, wish: SnapshotWish) -> models.SnapshotDetail:
        """Record a snapshot and ask the volume's backend to take it.

        :returns: the snapshot in ``creating``.
        :raises InvalidVolume: the volume's status, or its backend, does not allow it.
        """
        if ctx.project is None:
            raise errors.InvalidInput('A snapshot needs a project: use a project-scoped token.')
        host, snapshot = self._insert(ctx, str(uuid.uuid4()), wish)
        failpoints.reach('engine.snapshot_create.written')
        self._workers.create_snapshot(host, snapshot.id, ctx.request_id)
        return snapshot

    @database.retry
    def _insert(self, ctx: RequestContext, ident: str, wish: SnapshotWish) -> tuple[str, models.SnapshotDetail]:
        backends = self._services.list_backends()
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, wish.volume_id, 'volume:create_snapshot')
            allowed = states.SETTLED if wish.in_use_allowed else (states.Volume.AVAILABLE,)
            status = show_sharers(session, volume)
            if status not in allowed or volume.host is None:
                raise errors.InvalidVolume(
                    f'Invalid volume: Volume {volume.id} status must be {", ".join(allowed)}, but current status '
                    f'is: {volume.status}.'
                )
            _check_backend(backends, volume, in_use=status == states.Volume.IN_USE)
            add(session, self._quotas, ctx, wish, volume, id=ident, size=volume.size)
            return volume.host, db_snapshots.get(session, ident)

    # -- changing ------------------------------------------------------------------------------

    @database.retry
    def update(self, ctx: RequestContext, snapshot_id: str, changes: Mapping[str, str | None]) -> models.SnapshotDetail:
        """Change name or description."""
        with self._db.writer() as session:
            lock_snapshot(session, self._policy, ctx, snapshot_id, 'volume:update_snapshot')
            db_snapshots.update(session, snapshot_id, **changes)
            return db_snapshots.get(session, snapshot_id)

    @database.retry
    def set_metadata(
        self, ctx: RequestContext, snapshot_id: str, wanted: Mapping[str, str], *, keep_others: bool
    ) -> dict[str, str]:
        """Set user metadata; return all of it.

        :raises InvalidInput: there would be too many keys.
        """
        with self._db.writer() as session:
            lock_snapshot(session, self._policy, ctx, snapshot_id, 'volume:update_snapshot_metadata')
            db_snapshots.replace_metadata(session, snapshot_id, wanted, keep_others=keep_others)
            written = db_snapshots.get(session, snapshot_id).metadata
            bounds.check_items(written, 'keys of metadata')
            return written

    @database.retry
    def delete_metadata(self, ctx: RequestContext, snapshot_id: str, key: str) -> None:
        with self._db.writer() as session:
            lock_snapshot(session, self._policy, ctx, snapshot_id, 'volume:delete_snapshot_metadata')
            if not db_snapshots.delete_metadata(session, snapshot_id, key):
                raise errors.NotFound(f'Snapshot {snapshot_id} has no metadata with key {key}.')

    def delete(self, ctx: RequestContext, snapshot_id: str, *, force: bool = False) -> None:
        """Record that a snapshot is to go and ask its backend to delete it.

        :param force: accept any status but that of a revert.
        :raises InvalidSnapshot: its status does not allow it, or a volume is being made from it.
        """
        host = self._begin_delete(ctx, snapshot_id, force)
        failpoints.reach('engine.snapshot_delete.written')
        self._workers.delete_snapshot(host, snapshot_id, ctx.request_id)

    @database.retry
    def _begin_delete(self, ctx: RequestContext, snapshot_id: str, force: bool) -> str:
        with self._db.writer() as session:
            rule = _ADMIN + 'force_delete' if force else 'volume:delete_snapshot'
            row = lock_snapshot(session, self._policy, ctx, snapshot_id, rule)
            begin_delete(session, row, 'force_delete' if force else 'delete')
            return str(db_volumes.load(session, row.volume_id).host)

    # -- statuses ------------------------------------------------------------------------------

    @database.retry
    def reset_status(self, ctx: RequestContext, snapshot_id: str, status: str) -> None:
        """Set a status at an admin's word (os-reset_status).

        :raises InvalidInput: no status that can be set.
        """
        with self._db.writer() as session:
            lock_snapshot(session, self._policy, ctx, snapshot_id, _ADMIN + 'reset_status')
            if status not in snapshots.RESETTABLE:
                raise errors.InvalidInput(f'Invalid snapshot status: {status[:64]}')
            db_snapshots.reset(session, snapshot_id, status)

    @database.retry
    def update_status(self, ctx: RequestContext, snapshot_id: str, status: str, progress: str | None) -> None:
        """Set the status of a snapshot that is being taken or deleted (os-update_snapshot_status).

        :raises InvalidInput: the status before, or the new one, does not allow it.
        """
        rule = 'snapshot_extension:snapshot_actions:update_snapshot_status'
        with self._db.writer() as session:
            row = lock_snapshot(session, self._policy, ctx, snapshot_id, rule)
            if row.status not in snapshots.UPDATES:
                raise errors.InvalidInput(f'Snapshot status {row.status} not allowed for update_snapshot_status')
            if status not in snapshots.UPDATES[row.status]:
                raise errors.InvalidInput(
                    f'Provided snapshot status {status[:64]} not allowed for snapshot with status {row.status}.'
                )
            db_snapshots.reset(session, snapshot_id, status, progress and snapshots.check_progress(progress))

    # -- revert --------------------------------------------------------------------------------

    def revert(self, ctx: RequestContext, volume_id: str, snapshot_id: str | None) -> None:
        """Give a volume again what its latest snapshot has (3.40).

        :raises InvalidInput: not the latest snapshot, or the volume has grown since.
        :raises Conflict: the volume, or the snapshot, is not available.
        """
        host = self._begin_revert(ctx, volume_id, snapshot_id)
        failpoints.reach('engine.volume_revert.written')
        self._workers.revert_volume(host, volume_id, ctx.request_id)

    @database.retry
    def _begin_revert(self, ctx: RequestContext, volume_id: str, snapshot_id: str | None) -> str:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:revert_to_snapshot')
            found = db_snapshots.list_of_volume(session, volume_id, for_update=True)
            if not found:
                raise errors.InvalidInput(f"Volume {volume_id} doesn't have any snapshots.")
            latest = found[0]
            if snapshot_id != latest.id:
                raise errors.InvalidInput(
                    f'Specified snapshot {(snapshot_id or "None")[:64]} is None or not the latest one of volume '
                    f'{volume_id}.'
                )
            if volume.size != latest.size:
                raise errors.InvalidInput(
                    f"Can't revert volume {volume_id} to its latest snapshot {latest.id}. The volume size must be "
                    'equal to the snapshot size.'
                )
            _check_revert(session, volume, latest)
            transitions.move_volume(session, volume_id, 'revert')
            db_snapshots.move(session, latest.id, 'revert')
            return str(volume.host)


def add(
    session: Session, quotas: Quotas, ctx: RequestContext, wish: SnapshotWish, volume: models.Volume, **columns: Any
) -> None:
    """Record a snapshot of a locked volume in ``creating``.

    :param columns: ``id``, ``size`` in GiB, and where it comes from if the storage has it already.
    :raises QuotaExceeded: the project has as many as it may have.
    """
    kind = db_types.get(session, volume.volume_type_id).name
    quotas.check_snapshot(session, str(ctx.project), kind, columns['size'])
    row = models.Snapshot(
        volume_id=volume.id,
        project_id=ctx.project,
        user_id=ctx.user_id,
        display_name=wish.name,
        display_description=wish.description,
        request_id=ctx.request_id,
        **columns,
    )
    db_snapshots.add(session, row, wish.metadata)


def begin_delete(session: Session, row: models.Snapshot, event: str, **values: str) -> None:
    """Move a locked snapshot to where it is deleted from, or away.

    :param event: ``delete``, ``force_delete`` or ``unmanage``.
    :param values: of columns that are written with it.
    :raises InvalidSnapshot: its status does not allow it, or a volume is being made from it.
    """
    if db_snapshots.is_being_cloned(session, row):
        raise errors.InvalidSnapshot(
            'Invalid snapshot: a volume is being made from it; try again when the volume is available.'
        )
    try:
        db_snapshots.move(session, row.id, event, **values)
    except errors.InvalidTransition as exc:
        allowed = snapshots.SNAPSHOT_EVENTS[event].sources
        raise errors.InvalidSnapshot(
            f'Invalid snapshot: Snapshot {row.id} status must be {" or ".join(sorted(allowed))}, but it is '
            f'{row.status}.'
        ) from exc


def begin_cascade(session: Session, ctx: RequestContext, volume: models.Volume, *, force: bool) -> None:
    """Move all snapshots of a locked volume that is to be deleted to ``deleting``.

    :raises InvalidVolume: one is in no status for that, another project's, or being cloned.
    """
    for row in db_snapshots.list_of_volume(session, volume.id, for_update=True):
        allowed = snapshots.SNAPSHOT_EVENTS['force_delete'].sources if force else snapshots.CASCADED
        if row.status not in allowed:
            raise errors.InvalidVolume(f'Invalid volume: its snapshot {row.id} is {row.status}.')
        if row.project_id != ctx.project and not ctx.is_admin:
            raise errors.InvalidVolume(f'Invalid volume: its snapshot {row.id} belongs to another project.')
        if row.status != snapshots.Snapshot.DELETING:
            begin_delete(session, row, 'force_delete' if force else 'delete')


def check_none(session: Session, volume: models.Volume) -> None:
    """Refuse what a volume with snapshots cannot have done to it."""
    if db_snapshots.has_any(session, volume.id):
        raise errors.InvalidVolume('Invalid volume: it has snapshots; delete them first, or with it by cascade.')


def check_growth(session: Session, volume: models.Volume, *, in_use: bool) -> None:
    """Refuse to extend a volume of which a snapshot is being taken, or that its storage cannot extend now."""
    if db_snapshots.has_any(session, volume.id, (snapshots.Snapshot.CREATING,)):
        raise errors.InvalidVolume(
            'Invalid volume: a snapshot of it is being taken; try again when the snapshot is available.'
        )

    if in_use and db_snapshots.has_any(session, volume.id):
        crew = db_services.list_of_backend(session, VOLUME_BINARY, str(volume.host))
        if not all(((row.report or {}).get('snapshots') or {}).get('grows_in_use', True) for row in crew):
            raise errors.InvalidVolume(
                'Invalid volume: it has snapshots, and its storage extends such a volume only while no server has it.'
            )


def _check_backend(backends: Iterable[placement.Candidate], volume: models.Volume, *, in_use: bool) -> None:
    backend = next((one for one in backends if one.host == volume.host), None)
    if backend is None or backend.snapshots is None:
        raise errors.InvalidVolume(
            'Invalid volume: its backend does not take snapshots: its volume worker does not report, or runs an '
            'older release.'
        )
    if in_use and not backend.snapshots.get('in_use'):
        raise errors.InvalidVolume(
            'Invalid volume: its storage can only copy it, which takes time, and servers write meanwhile: the '
            'snapshot would be of no moment. Take it while no server has the volume.'
        )


def _check_revert(session: Session, volume: models.Volume, snapshot: models.Snapshot) -> None:
    what = f"Can't revert volume {volume.id} to its latest snapshot {snapshot.id}. "
    if volume.status != states.Volume.AVAILABLE or volume.host is None:
        raise errors.Conflict(what + "Volume's status must be 'available'.")
    if snapshot.status != snapshots.Snapshot.AVAILABLE:
        raise errors.Conflict(what + "Snapshot's status must be 'available'.")
    if db_clones.is_being_copied(session, volume.id) or db_snapshots.has_any(
        session, volume.id, (snapshots.Snapshot.CREATING,)
    ):
        raise errors.Conflict(what + 'A clone or a snapshot of the volume is being made.')


def _scope(ctx: RequestContext, all_projects: bool) -> list[Any]:
    return [] if all_projects and ctx.is_admin else [models.Snapshot.project_id == ctx.project]
