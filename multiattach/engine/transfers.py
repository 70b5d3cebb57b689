# SPDX-License-Identifier: Apache-2.0
"""Transfers: a volume changes its project, by a key that is shown once.

All is one transaction under the volume's lock: of two who accept at once one finds no transfer any more.
"""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    models,
    paging,
    snapshots as db_snapshots,
    transfers as db_transfers,
    transitions,
    types as db_types,
    volumes as db_volumes,
)
from multiattach.domain import errors, snapshots, states, transfers
from multiattach.engine.access import lock_volume
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas


class Transfers:
    def __init__(self, db: database.Database, policy: Policy, quotas: Quotas) -> None:
        self._db = db
        self._policy = policy
        self._quotas = quotas

    @database.retry
    def list_page(
        self,
        ctx: RequestContext,
        filters: Sequence[sa.ColumnElement[bool]],
        page: paging.Page,
        *,
        all_projects: bool = False,
    ) -> list[models.Transfer]:
        """List open transfers of the caller's project, or for admins of all."""
        self._policy.check(ctx, 'volume:get_all_transfers')
        scope = [] if ctx.is_admin and all_projects else [models.Transfer.source_project_id == ctx.project]
        with self._db.reader() as session:
            return db_transfers.list_page(session, [*filters, *scope], page)

    @database.retry
    def show(self, ctx: RequestContext, transfer_id: str) -> models.Transfer:
        with self._db.reader() as session:
            found = db_transfers.get(session, transfer_id)
        self._policy.check_visible(ctx, found, db_transfers.missing(transfer_id))
        self._policy.check(ctx, 'volume:get_transfer', found.project_id)
        return found

    def create(
        self, ctx: RequestContext, volume_id: str, name: str | None, *, no_snapshots: bool = False
    ) -> tuple[models.Transfer, str]:
        """Offer a volume that nobody uses.

        :returns: the transfer, and its key, which nobody can read later.
        :raises InvalidVolume: its status, or an attachment, does not allow it.
        """
        key = transfers.make_key()
        made = self._create(ctx, volume_id, str(uuid.uuid4()), name, no_snapshots, key)
        failpoints.reach('engine.transfer.offered')
        return made, key.text

    @database.retry
    def _create(
        self, ctx: RequestContext, volume_id: str, ident: str, name: str | None, no_snapshots: bool, key: transfers.Key
    ) -> models.Transfer:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:create_transfer')
            if volume.status != states.Volume.AVAILABLE:
                raise errors.InvalidVolume(f'Invalid volume: status must be available; it is {volume.status}.')
            if db_attachments.list_of_volume(session, volume_id):
                raise errors.InvalidVolume(
                    "Invalid volume: it has attachments (fenced, or failed), which would be the other project's; "
                    'delete them first.'
                )
            if not no_snapshots:
                _check_snapshots(session, volume_id)
            db_transfers.end(session, volume_id)  # what a reset of the status may have left
            transitions.move_volume(session, volume_id, 'offer')
            db_transfers.add(
                session,
                models.Transfer(
                    id=ident,
                    volume_id=volume_id,
                    display_name=name,
                    salt=key.salt,
                    key_hash=key.hashed,
                    no_snapshots=no_snapshots,
                    source_project_id=volume.project_id,
                ),
            )
            return db_transfers.get(session, ident)

    def accept(self, ctx: RequestContext, transfer_id: str, key: str) -> models.Transfer:
        """Take over a volume; who has the key may.

        :raises NotFound: no such transfer, or it was accepted or withdrawn meanwhile.
        :raises InvalidInput: the key is wrong, or the project may not use the volume's type.
        :raises QuotaExceeded: the project has no room for it.
        """
        if ctx.project is None:
            raise errors.InvalidInput('A volume needs a project: use a project-scoped token.')
        self._policy.check(ctx, 'volume:accept_transfer', ctx.project)
        accepted = self._accept(ctx, ctx.project, transfer_id, key)
        failpoints.reach('engine.transfer.accepted')
        return accepted

    @database.retry
    def _accept(self, ctx: RequestContext, project: str, transfer_id: str, key: str) -> models.Transfer:
        with self._db.writer() as session:
            found = db_transfers.get(session, transfer_id)
            if not transfers.is_key(key, found.salt, found.key_hash):
                raise errors.InvalidInput(f'Invalid auth key: Attempt to transfer {transfer_id} with invalid auth key.')
            volume = db_volumes.lock(session, found.volume_id)
            found = db_transfers.get(session, transfer_id)
            self._check_receiver(session, ctx, project, volume)
            giver = volume.project_id
            transitions.move_volume(session, volume.id, 'accept', project_id=project, user_id=ctx.user_id)
            if not found.no_snapshots:
                self._give_snapshots(session, ctx, project, volume, giver)
            db_transfers.end(session, volume.id, accepted_by=project)
            return found

    def _check_receiver(self, session: Session, ctx: RequestContext, project: str, volume: models.Volume) -> None:
        kind = db_types.get(session, volume.volume_type_id)
        if not db_types.is_accessible(session, kind, project):
            raise errors.InvalidVolume(
                'Invalid volume: your project may not use its type. An administrator can grant it access to that.'
            )
        if volume.multiattach:
            self._policy.check(ctx, 'volume:multiattach', project)
        if project != volume.project_id:
            self._quotas.check_growth(session, project, kind.name, volumes=1, gigabytes=volume.size, size=volume.size)

    def _give_snapshots(
        self, session: Session, ctx: RequestContext, project: str, volume: models.Volume, giver: str
    ) -> None:
        """Give a volume's snapshots to the project that has it now."""
        rows = _check_snapshots(session, volume.id)
        if rows and project != giver:
            kind = db_types.get(session, volume.volume_type_id)
            self._quotas.check_snapshots(session, project, kind.name, [row.size for row in rows])
        db_snapshots.give(session, volume.id, project, ctx.user_id)

    @database.retry
    def delete(self, ctx: RequestContext, transfer_id: str) -> None:
        """Withdraw an offer; the volume is available again, unless its status was reset meanwhile."""
        missing = db_transfers.missing(transfer_id)
        with self._db.writer() as session:
            found = db_transfers.get(session, transfer_id)
            self._policy.check_visible(ctx, found, missing)
            volume = db_volumes.lock(session, found.volume_id)
            self._policy.check(ctx, 'volume:delete_transfer', volume.project_id)
            db_transfers.get(session, transfer_id)
            db_transfers.end(session, volume.id)
            if volume.status == states.Volume.AWAITING_TRANSFER:
                transitions.move_volume(session, volume.id, 'withdraw')


def _check_snapshots(session: Session, volume_id: str) -> list[models.Snapshot]:
    """Return the snapshots of a locked volume that go with it.

    :raises InvalidVolume: with one of them something is going on.
    """
    rows = db_snapshots.list_of_volume(session, volume_id, for_update=True)
    busy = next((row for row in rows if row.status != snapshots.Snapshot.AVAILABLE), None)
    if busy is not None:
        raise errors.InvalidVolume(f'Invalid snapshot: snapshot: {busy.id} status must be available')
    return rows
