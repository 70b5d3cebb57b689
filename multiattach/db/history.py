# SPDX-License-Identifier: Apache-2.0
"""Rows that are history: reading them and purging them."""

import datetime

import sqlalchemy as sa

from multiattach.db import attachments as db_attachments, database, models

_BATCH = 1000


def timeline(db: database.Database, attachment_id: str) -> str:
    """Read the timeline of an attachment, of a deleted one too."""
    with db.reader() as session:
        return db_attachments.get_timeline(session, attachment_id)


def purge(db: database.Database, before: datetime.datetime) -> dict[str, int]:
    """Delete rows that were deleted before a moment (UTC), in short transactions; count them by table."""
    attachment, volume, kind = models.Attachment, models.Volume, models.VolumeType
    snapshot, transfer = models.Snapshot, models.Transfer
    return {
        'attachments': _purge(db, attachment, attachment.deleted_at < before),
        'snapshots': _purge(db, snapshot, snapshot.deleted_at < before),
        'volume_transfers': _purge(db, transfer, transfer.deleted_at < before),
        'volumes': _purge(
            db,
            volume,
            volume.deleted_at < before,
            ~sa.exists().where(attachment.volume_id == volume.id),
            ~sa.exists().where(snapshot.volume_id == volume.id),
            ~sa.exists().where(transfer.volume_id == volume.id),
        ),
        'volume_migrations': _purge(db, models.Migration, models.Migration.deleted_at < before),
        'volume_types': _purge(
            db, kind, kind.deleted_at < before, ~sa.exists().where(volume.volume_type_id == kind.id)
        ),
        'servers': _purge(db, models.Server, models.Server.deleted_at < before),
        'messages': _purge(db, models.Message, models.Message.guaranteed_until < before),
    }


@database.retry
def _purge_batch(
    db: database.Database, model: type[models.Base], conditions: tuple[sa.ColumnElement[bool], ...]
) -> int:
    ident = sa.inspect(model).primary_key[0]
    with db.writer() as session:
        idents = list(session.scalars(sa.select(ident).where(*conditions).limit(_BATCH)))
        if model is models.Volume:
            for items in (models.VolumeMetadata, models.ImageMetadata):
                session.execute(
                    sa.delete(items).where(items.volume_id.in_(idents)).execution_options(synchronize_session=False)
                )
        if model is models.Snapshot:
            session.execute(
                sa.delete(models.SnapshotMetadata)
                .where(models.SnapshotMetadata.snapshot_id.in_(idents))
                .execution_options(synchronize_session=False)
            )
        if model is models.VolumeType:
            for specs in (
                models.ExtraSpec,
                models.TypeAccess,
                models.TypeEncryption,
                models.TypeQos,
                models.DefaultType,
            ):
                session.execute(
                    sa.delete(specs)
                    .where(specs.volume_type_id.in_(idents))
                    .execution_options(synchronize_session=False)
                )
        session.execute(sa.delete(model).where(ident.in_(idents)).execution_options(synchronize_session=False))
    return len(idents)


def _purge(db: database.Database, model: type[models.Base], *conditions: sa.ColumnElement[bool]) -> int:
    total = 0
    while True:
        number = _purge_batch(db, model, conditions)
        total += number
        if number < _BATCH:
            return total
