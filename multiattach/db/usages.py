# SPDX-License-Identifier: Apache-2.0
"""What notifications say of volumes and attachments.

Columns are named one by one, and those with connectors and credentials are not among them.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models

_V, _A, _M = models.Volume, models.Attachment, models.VolumeMetadata
_S, _T = models.Snapshot, models.SnapshotMetadata
_VOLUME_COLUMNS = (
    _V.id,
    _V.project_id,
    _V.user_id,
    _V.host,
    _V.availability_zone,
    _V.volume_type_id,
    _V.display_name,
    _V.created_at,
    _V.status,
    _V.size,
    _V.multiattach,
    _V.bootable,
    _V.snapshot_id,
)
_ATTACHMENT_COLUMNS = (
    _A.id,
    _A.volume_id,
    _A.instance_uuid,
    _A.attached_host,
    _A.mountpoint,
    _A.attach_mode,
    _A.state,
    _A.attached_at,
    _A.detached_at,
)


def read_timeline(session: Session, attachment_id: str) -> str:
    """Read the timeline of an attachment, also of one that is gone; empty for one that was purged."""
    return session.scalar(sa.select(_A.timeline).where(_A.id == attachment_id)) or ''


def find_volume(session: Session, volume_id: str) -> Any | None:
    """Read a volume, also one that is gone; None for one that was purged."""
    return session.execute(sa.select(*_VOLUME_COLUMNS).where(_V.id == volume_id)).first()


def find_snapshot(session: Session, snapshot_id: str) -> Any | None:
    """Read a snapshot and where it is, also one that is gone; None for one that was purged."""
    return session.execute(
        sa.select(
            _S.id,
            _S.project_id,
            _S.user_id,
            _S.volume_id,
            _S.size,
            _S.display_name,
            _S.created_at,
            _S.status,
            _V.host,
            _V.availability_zone,
        )
        .join(_V, _V.id == _S.volume_id)
        .where(_S.id == snapshot_id)
    ).first()


def list_snapshot_metadata(session: Session, snapshot_id: str) -> list[tuple[str, str]]:
    rows = session.execute(sa.select(_T.key, _T.value).where(_T.snapshot_id == snapshot_id).order_by(_T.key))
    return [(row.key, row.value) for row in rows]


def find_attachment(session: Session, attachment_id: str) -> Any | None:
    """Read an attachment, also one that is gone; None for one that was purged."""
    return session.execute(sa.select(*_ATTACHMENT_COLUMNS).where(_A.id == attachment_id)).first()


def list_attachments(session: Session, volume_id: str) -> list[Any]:
    """List the live attachments of a volume, oldest first."""
    return list(
        session.execute(
            sa.select(*_ATTACHMENT_COLUMNS)
            .where(_A.volume_id == volume_id, _A.deleted_at.is_(None))
            .order_by(_A.created_at)
        )
    )


def list_metadata(session: Session, volume_id: str) -> list[tuple[str, str]]:
    rows = session.execute(sa.select(_M.key, _M.value).where(_M.volume_id == volume_id).order_by(_M.key))
    return [(row.key, row.value) for row in rows]
