# SPDX-License-Identifier: Apache-2.0
"""Rows of what is copied between volumes and images."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import items, models
from multiattach.domain.images import ImageCopy, Purpose

C = models.ImageCopy


def find(session: Session, volume_id: str) -> ImageCopy | None:
    """Return what is to be copied for a volume, None for nothing."""
    row = session.execute(
        sa.select(C.image_id, C.purpose, C.disk_format, C.percent).where(C.volume_id == volume_id)
    ).first()
    return None if row is None else ImageCopy(row.image_id, Purpose(row.purpose), row.disk_format, row.percent)


def put(session: Session, volume_id: str, copy: ImageCopy) -> None:
    """Write what is to be copied; the caller holds the volume's lock."""
    remove(session, volume_id)
    session.execute(
        sa.insert(C).values(
            volume_id=volume_id,
            image_id=copy.image_id,
            purpose=copy.purpose,
            disk_format=copy.disk_format,
            percent=0,
            created_at=models.now(),
        )
    )


def remove(session: Session, volume_id: str) -> None:
    session.execute(sa.delete(C).where(C.volume_id == volume_id))


def note(session: Session, volume_id: str, percent: int) -> None:
    """Write how much of a copy is done."""
    session.execute(
        sa.update(C)
        .where(C.volume_id == volume_id)
        .values(percent=percent)
        .execution_options(synchronize_session=False)
    )


def replace_metadata(session: Session, volume_id: str, metadata: Mapping[str, str], *, keep_others: bool) -> None:
    """Write what a volume keeps of its image; the caller holds the volume's lock."""
    items.put(session, models.ImageMetadata.volume_id, volume_id, metadata, keep_others=keep_others)
