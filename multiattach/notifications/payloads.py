# SPDX-License-Identifier: Apache-2.0
"""What a notification says of a volume: the fields of Cinder's ``_usage_from_volume``, and no secret."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.db import changes, usages
from multiattach.db.database import Database
from multiattach.domain import states, timeline
from multiattach.domain.snapshots import Snapshot

VERSION = '1.0'


def read_history(db: Database, change: changes.Change) -> list[str]:
    """Read which states an attachment was in before a change, oldest first; none of anything else or a purged row."""
    if change.noun != changes.ATTACHMENT:
        return []
    with db.reader() as session:
        text = usages.read_timeline(session, change.ident)
    moment = change.at.isoformat()
    # The row may have gone on since.
    return [entry['state'] for entry in timeline.read(text) if entry['at'] < moment]


def build_payload(db: Database, change: changes.Change) -> dict[str, Any] | None:
    """Build the payload of a change, in four statements at most; None if the row was purged meanwhile."""
    if change.noun == changes.SNAPSHOT:
        return _describe_snapshot(db, change)
    with db.reader() as session:
        volume_id = change.ident
        attachment = None
        if change.noun == changes.ATTACHMENT:
            found = usages.find_attachment(session, change.ident)
            if found is None:
                return None
            volume_id, attachment = found.volume_id, _describe(found, change.state or found.state)
        volume = usages.find_volume(session, volume_id)
        if volume is None:
            return None
        attachments = [_describe(row, row.state) for row in usages.list_attachments(session, volume_id)]
        metadata = [{'key': key, 'value': value} for key, value in usages.list_metadata(session, volume_id)]
        return _build(volume, attachments, metadata, change, attachment)


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
        'snapshot_id': volume.snapshot_id,
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


def _describe_snapshot(db: Database, change: changes.Change) -> dict[str, Any] | None:
    """Build what Cinder's ``_usage_from_snapshot`` says, and where the snapshot is."""
    with db.reader() as session:
        row = usages.find_snapshot(session, change.ident)
        if row is None:
            return None
        metadata = dict(usages.list_snapshot_metadata(session, change.ident))
    return {
        'version': VERSION,
        'tenant_id': row.project_id,
        'user_id': row.user_id,
        'host': row.host,
        'availability_zone': row.availability_zone,
        'volume_id': row.volume_id,
        'volume_size': row.size,
        'snapshot_id': row.id,
        'display_name': row.display_name,
        'created_at': _write(row.created_at),
        'status': change.state or row.status,
        'deleted': str(True) if change.state == Snapshot.DELETED else '',
        'metadata': str(metadata) if metadata else '',
        'changed_at': _write(change.at),
        'error': change.error,
    }


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
