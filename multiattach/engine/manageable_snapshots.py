# SPDX-License-Identifier: Apache-2.0
"""Snapshots that the storage has already and that become managed, and such as are left to others."""

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach import failpoints
from multiattach.db import database, models, paging, snapshots as db_snapshots, volumes as db_volumes
from multiattach.domain import errors, states
from multiattach.engine.access import lock_snapshot, lock_volume, show_sharers
from multiattach.engine.context import RequestContext
from multiattach.engine.manageable import MANAGED, Place, cut, find_backend, parse_reference
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.engine.services import Services
from multiattach.engine.snapshots import SnapshotWish, add, begin_delete
from multiattach.rpc.clients import VolumeWorkers

_GIB = 1024**3
_MANAGE = 'snapshot_extension:snapshot_manage'


@dataclasses.dataclass(frozen=True)
class SnapshotEntry:
    """A snapshot of a backend's storage, as admins see it.

    :param size: GiB, rounded up.
    :param reason: why it cannot be managed, None if it can.
    :param snapshot_id: UUID of the snapshot that it is, or None.
    :param origin: name of what it is a snapshot of; None if the storage does not tell.
    """

    name: str
    size: int
    reason: str | None
    snapshot_id: str | None
    origin: str | None


class ManageableSnapshots:
    def __init__(
        self, db: database.Database, policy: Policy, services: Services, quotas: Quotas, workers: VolumeWorkers
    ) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._quotas = quotas
        self._workers = workers

    def list_page(self, ctx: RequestContext, place: Place, page: paging.Page) -> list[SnapshotEntry]:
        """List the snapshots that the storage of a backend has.

        :param page: sorted by ``reference`` or ``size``; the marker is a reference as JSON.
        :raises InvalidInput: no such backend, or no such marker.
        :raises Unavailable: its worker does not report, or is of an older release.
        """
        self._policy.check(ctx, 'snapshot_extension:list_manageable')
        backend = find_backend(place, self._services.list_backends())
        found = self._workers.list_manageable_snapshots(backend.host, ctx.request_id)
        return cut(self._judge(backend.host, found), page)

    @database.retry
    def _judge(self, host: str, found: Sequence[Mapping[str, Any]]) -> list[SnapshotEntry]:
        """Add what the database knows."""
        with self._db.reader() as session:
            mine = {row[0] for row in db_snapshots.list_recorded(session, host)}
            taken = db_snapshots.list_taken(session, host)
            origins = {f'volume-{ident}' for ident in db_volumes.list_name_ids_of(session, host)}
        entries = []
        for one in found:
            ident = one['snapshot_id'] if one['snapshot_id'] in mine else taken.get(one['name'])
            reason = MANAGED if ident else one['obstacle'] or None
            if reason is None and one['origin'] is not None and one['origin'] not in origins:
                reason = 'its volume is not managed'
            entries.append(SnapshotEntry(one['name'], max(-(-one['size'] // _GIB), 1), reason, ident, one['origin']))
        return entries

    def manage(self, ctx: RequestContext, wish: SnapshotWish, ref: Any) -> models.SnapshotDetail:
        """Record a snapshot of storage that is there, and have the worker rename that.

        :param ref: of the storage, as :func:`parse_reference` reads it.
        :returns: the snapshot in ``creating``.
        :raises InvalidInput: there is no such storage, or it cannot be managed as a snapshot of the volume.
        :raises InvalidVolume: the volume's status does not allow it.
        """
        if ctx.project is None:
            raise errors.InvalidInput('A snapshot needs a project: use a project-scoped token.')
        host = self._find_host(ctx, wish.volume_id)
        reference = parse_reference(ref)  # after the rule was asked, as Cinder does
        find_backend((host, None), self._services.list_backends())
        seen = self._workers.find_manageable_snapshot(host, wish.volume_id, reference, ctx.request_id)
        [entry] = self._judge(host, [seen])
        if entry.reason is not None:
            raise errors.InvalidInput(f'Unable to manage existing snapshot. {reference}: {entry.reason}.')
        snapshot = self._insert(ctx, str(uuid.uuid4()), wish, host, entry)
        failpoints.reach('engine.snapshot_manage.written')
        self._workers.create_snapshot(host, snapshot.id, ctx.request_id)
        return snapshot

    @database.retry
    def _find_host(self, ctx: RequestContext, volume_id: str) -> str:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _MANAGE)
            status = show_sharers(session, volume)
            if status not in states.SETTLED or volume.host is None:
                raise errors.InvalidVolume(
                    f'Invalid volume: Volume {volume.id} status must be {" or ".join(sorted(states.SETTLED))}, but '
                    f'current status is: {volume.status}.'
                )
            return volume.host

    @database.retry
    def _insert(
        self, ctx: RequestContext, ident: str, wish: SnapshotWish, host: str, entry: SnapshotEntry
    ) -> models.SnapshotDetail:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, wish.volume_id, _MANAGE)
            if show_sharers(session, volume) not in states.SETTLED or volume.host != host or entry.size > volume.size:
                raise errors.InvalidVolume('Invalid volume: it has changed meanwhile; try again.')
            add(session, self._quotas, ctx, wish, volume, id=ident, size=entry.size, managed_from=entry.name)
            return db_snapshots.get(session, ident)

    @database.retry
    def unmanage(self, ctx: RequestContext, snapshot_id: str) -> None:
        """Delete a snapshot and leave its storage as it is (os-unmanage): a worker has nothing to do for that.

        :raises InvalidSnapshot: its status does not allow it, or a volume is being made from it.
        """
        with self._db.writer() as session:
            row = lock_snapshot(session, self._policy, ctx, snapshot_id, 'snapshot_extension:snapshot_unmanage')
            begin_delete(session, row, 'unmanage', managed_from=row.managed_from or f'snapshot-{row.id}')
