# SPDX-License-Identifier: Apache-2.0
"""Properties of a volume that actions set, and the reset of its status (contract 6)."""

from collections.abc import Mapping

from multiattach.db import (
    attachments as db_attachments,
    database,
    migrations as db_migrations,
    models,
    transfers as db_transfers,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import bounds, errors, states
from multiattach.domain.migrations import RESETTABLE
from multiattach.engine import migrations
from multiattach.engine.access import lock_volume
from multiattach.engine.attachments import actor_of
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.rpc.clients import ExportOrder
from multiattach.steps.orders import Orders, leave_target

_ADMIN = 'volume_extension:volume_admin_actions:'
_IMAGE = 'volume_extension:volume_image_metadata:'


class VolumeSettings:
    def __init__(self, db: database.Database, policy: Policy, orders: Orders) -> None:
        self._db = db
        self._policy = policy
        self._orders = orders

    @database.retry
    def set_readonly(self, ctx: RequestContext, volume_id: str, readonly: bool) -> None:
        """Let nobody write, or let everybody (os-update_readonly_flag).

        :raises InvalidVolume: not available.
        """
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:update_readonly_flag')
            if volume.status != states.Volume.AVAILABLE:
                raise errors.InvalidVolume(
                    f'Invalid volume: Volume {volume_id} status must be available to update '
                    f'readonly flag, but current status is: {volume.status}.'
                )
            db_migrations.describe(session, volume, readonly=readonly)

    @database.retry
    def set_bootable(self, ctx: RequestContext, volume_id: str, bootable: bool) -> None:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:update')
            _check_no_maintenance(volume)
            db_migrations.describe(session, volume, bootable=bootable)

    @database.retry
    def set_image_metadata(self, ctx: RequestContext, volume_id: str, items: Mapping[str, str]) -> dict[str, str]:
        """Set image metadata; other items stay. Return all."""
        with self._db.writer() as session:
            _check_no_maintenance(lock_volume(session, self._policy, ctx, volume_id, _IMAGE + 'set'))
            db_volumes.set_image_metadata(session, volume_id, items)
            written = db_volumes.get(session, volume_id).image_metadata
            bounds.check_items(written, 'keys of image metadata')
            return written

    @database.retry
    def show_image_metadata(self, ctx: RequestContext, volume_id: str) -> dict[str, str]:
        with self._db.reader() as session:
            volume = db_volumes.get(session, volume_id)
            self._policy.check_visible(ctx, volume, errors.VolumeNotFound(volume_id))
            self._policy.check(ctx, _IMAGE + 'show', volume.project_id)
            return volume.image_metadata

    @database.retry
    def unset_image_metadata(self, ctx: RequestContext, volume_id: str, key: str) -> None:
        with self._db.writer() as session:
            _check_no_maintenance(lock_volume(session, self._policy, ctx, volume_id, _IMAGE + 'remove'))
            if not db_volumes.delete_image_metadata(session, volume_id, key):
                raise errors.NotFound(f'Volume {volume_id} has no image metadata with key {key}.')

    # -- reset ---------------------------------------------------------------------------------

    def reset_status(
        self,
        ctx: RequestContext,
        volume_id: str,
        status: str | None,
        attach_status: str | None,
        migration_status: str | None = None,
    ) -> None:
        """Reset a volume's status (os-reset_status), to one that is ``resettable`` in the table of states.

        ``detached`` really takes every attachment from its target (contract 11.4 number 21). A status
        that attachments decide can be asked for only when they agree. A migration that is under way is broken off.

        :raises InvalidInput: the status cannot be set so.
        """
        if status is not None and status not in states.RESETTABLE:
            raise errors.InvalidInput(f'Invalid volume status: {status[:64]}')
        if migration_status is not None and migration_status not in RESETTABLE:
            raise errors.InvalidInput(f'Invalid volume migration status: {migration_status[:64]}')
        if attach_status == 'detached':
            for order in self._begin_detach_all(ctx, volume_id):
                self._orders.unexport(order, ctx.request_id)
        if migration_status is not None:
            self._set_migration_status(ctx, volume_id, migration_status)
        if status is not None:
            self._set_status(ctx, volume_id, status)
        elif attach_status is not None:
            self._derive(ctx, volume_id)

    @database.retry
    def _begin_detach_all(self, ctx: RequestContext, volume_id: str) -> list[ExportOrder]:
        orders = []
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _ADMIN + 'reset_status')
            for row in db_attachments.list_with_connectors(session, volume_id):
                if row.state == states.Attachment.UNEXPORTING and volume.host is not None:
                    orders.append(ExportOrder(volume.host, volume_id, row.id))
                    continue
                order = leave_target(session, db_attachments.get(session, row.id), actor_of(ctx))
                if order is not None:
                    orders.append(order)
        return orders

    @database.retry
    def _set_status(self, ctx: RequestContext, volume_id: str, status: str) -> None:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _ADMIN + 'reset_status')
            if volume.status == states.Volume.DELETING:
                raise errors.InvalidInput(f'The status cannot be reset from {volume.status} to {status}.')
            if status == states.Volume.IN_USE and not any(db_attachments.count_places(session, volume_id, None)):
                raise errors.InvalidInput('A volume without attachments cannot be in-use.')
            if volume.status == states.Volume.AWAITING_TRANSFER:
                db_transfers.end(session, volume_id)
            migrations.cancel(session, volume)
            transitions.reset_volume(session, volume_id, status)

    @database.retry
    def _set_migration_status(self, ctx: RequestContext, volume_id: str, status: str) -> None:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _ADMIN + 'reset_status')
            migrations.cancel(session, volume)
            db_migrations.show(session, volume_id, None if status == 'none' else status)

    @database.retry
    def _derive(self, ctx: RequestContext, volume_id: str) -> None:
        with self._db.writer() as session:
            lock_volume(session, self._policy, ctx, volume_id, _ADMIN + 'reset_status')
            transitions.derive_volume(session, volume_id, claim=None)


def _check_no_maintenance(volume: models.Volume) -> None:
    if volume.status == states.Volume.MAINTENANCE:
        raise errors.InvalidVolume('Invalid volume: it is in maintenance.')
