# SPDX-License-Identifier: Apache-2.0
"""Queries on volumes that are made of other volumes, or of snapshots."""

import dataclasses

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import states

V = models.Volume
_IMAGE = models.ImageMetadata


@dataclasses.dataclass(frozen=True)
class Source:
    """What a volume is a clone of.

    :param volume_id: the volume, or that of the snapshot.
    """

    volume_id: str
    snapshot_id: str | None = None

    def __str__(self) -> str:
        return f'volume {self.volume_id}' if self.snapshot_id is None else f'snapshot {self.snapshot_id}'


def find_source(session: Session, volume_id: str) -> Source | None:
    """Return what a volume is a clone of, None if it is no clone, or gone."""
    snapshot = models.Snapshot
    row = session.execute(
        sa.select(V.source_volid, V.snapshot_id, snapshot.volume_id)
        .outerjoin_from(V, snapshot, snapshot.id == V.snapshot_id)
        .where(V.id == volume_id, V.deleted_at.is_(None))
    ).first()
    if row is None:
        return None
    if row.snapshot_id is not None:  # without its row it fails: an empty volume would be none that was asked for
        return Source(row.volume_id or '', row.snapshot_id)
    return None if row.source_volid is None else Source(row.source_volid)


def is_being_copied(session: Session, volume_id: str) -> bool:
    """Return whether a worker reads, or is to read, a volume for a clone of it; one without a backend never will be.

    :param session: a session that holds the volume's lock, which a new clone takes, too.
    """
    source = orm.aliased(V)
    # A clone is where its source is: an index by host and status serves this without one of its own.
    host = sa.select(source.host).where(source.id == volume_id).scalar_subquery()
    return (
        session.execute(
            sa.select(V.id)
            .where(
                V.source_volid == volume_id, V.status == states.Volume.CREATING, V.host == host, V.deleted_at.is_(None)
            )
            .limit(1)
        ).first()
        is not None
    )


def copy_image_metadata(session: Session, source_id: str, clone_id: str) -> None:
    """Give a clone the image metadata of its source."""
    session.execute(
        sa.insert(_IMAGE).from_select(
            ['volume_id', 'key', 'value'],
            sa.select(sa.literal(clone_id), _IMAGE.key, _IMAGE.value).where(_IMAGE.volume_id == source_id),
        )
    )
