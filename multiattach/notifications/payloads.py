# SPDX-License-Identifier: Apache-2.0
"""What a notification says of a volume: the fields of Cinder's ``_usage_from_volume``, and no secret.

Columns are named one by one, and those with connectors and credentials are not among them.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import changes, models
from multiattach.db.database import Database
from multiattach.domain import states, timeline

VERSION = '1.0'
_V, _A = models.Volume, models.Attachment
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


def read_history(db: Database, change: changes.Change) -> list[str]:
    """Read which states an attachment was in before a change.

    :returns: states, oldest first; empty for a volume, and for a row that was purged.
    """
    if change.noun != changes.ATTACHMENT:
        return []
    with db.reader() as session:
        text = session.execute(sa.select(_A.timeline).where(_A.id == change.ident)).scalar() or ''
    moment = change.at.isoformat()
    # The row may have gone on since.
    return [entry['state'] for entry in timeline.read(text) if entry['at'] < moment]


def build_payload(db: Database, change: changes.Change) -> dict[str, Any] | None:
    """Build the payload of a change, in four statements at most.

    :returns: JSON value; None if the row was purged meanwhile.
    """
    with db.reader() as session:
        volume_id = change.ident
        attachment = None
        if change.noun == changes.ATTACHMENT:
            found = session.execute(sa.select(*_ATTACHMENT_COLUMNS).where(_A.id == change.ident)).first()
            if found is None:
                return None
            volume_id, attachment = found.volume_id, _describe(found, change.state or found.state)
        volume = session.execute(sa.select(*_VOLUME_COLUMNS).where(_V.id == volume_id)).first()
        if volume is None:
            return None
        return _build(
            volume, _list_attachments(session, volume_id), _list_metadata(session, volume_id), change, attachment
        )


def _build(
    volume: Any,
    attachments: Sequence[Mapping[str, Any]],
    metadata: Sequence[Mapping[str, str]],
    change: changes.Change,
    attachment: Mapping[str, Any] | None,
) -> dict[str, Any]:
    status = change.state if change.noun == changes.VOLUME and change.state else volume.status
    payload: dict[str, Any] = {
        'version': VERSION,
        'tenant_id': volume.project_id,
        'user_id': volume.user_id,
        'host': volume.host,
        'availability_zone': volume.availability_zone,
        'volume_id': volume.id,
        'volume_type': volume.volume_type_id,
        'display_name': volume.display_name,
        'launched_at': _write(volume.created_at),
        'created_at': _write(volume.created_at),
        'status': status,
        'snapshot_id': None,
        'size': volume.size,
        'replication_status': None,
        'replication_extended_status': None,
        'replication_driver_data': None,
        'metadata': metadata,
        'volume_attachment': attachments,
        'multiattach': volume.multiattach,
        'bootable': volume.bootable,
        'changed_at': _write(change.at),
        'error': change.error,
    }
    if attachment is not None:
        payload |= {
            'attachment_id': attachment['id'],
            'instance_uuid': attachment['instance_uuid'],
            'attachment': attachment,
        }
    return payload


def _list_attachments(session: Session, volume_id: str) -> list[dict[str, Any]]:
    rows = session.execute(
        sa.select(*_ATTACHMENT_COLUMNS)
        .where(_A.volume_id == volume_id, _A.deleted_at.is_(None))
        .order_by(_A.created_at)
    )
    return [_describe(row, row.state) for row in rows]


def _list_metadata(session: Session, volume_id: str) -> list[dict[str, str]]:
    table = models.VolumeMetadata
    rows = session.execute(sa.select(table.key, table.value).where(table.volume_id == volume_id).order_by(table.key))
    return [{'key': row.key, 'value': row.value} for row in rows]


def _describe(row: Any, state: str) -> dict[str, Any]:
    return {
        'id': row.id,
        'volume_id': row.volume_id,
        'instance_uuid': row.instance_uuid,
        'attached_host': row.attached_host,
        'mountpoint': row.mountpoint,
        'attach_mode': row.attach_mode,
        'attach_status': states.public_status(state),
        'attach_time': _write(row.attached_at),
        'detach_time': _write(row.detached_at),
    }


def _write(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
