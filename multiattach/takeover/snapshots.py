# SPDX-License-Identifier: Apache-2.0
"""Snapshots of Cinder: which can be taken over where they are, and as what."""

from typing import Any

from multiattach.domain import snapshots
from multiattach.domain.imports import Item, Kind
from multiattach.takeover.attachments import Refusal

S = snapshots.Snapshot
_STATUSES = frozenset({S.AVAILABLE, S.ERROR, S.ERROR_DELETING})
_DELETE = 'Delete it, or make a volume of it and delete it then.'


def translate(row: Any, metadata: list[Any]) -> Item:
    """Make an item of a snapshot: LVM and Ceph call it the same in both services.

    :param metadata: its rows.
    :raises Refusal: it cannot be imported, and so cannot its volume: who deletes that would delete it, too.
    """
    if row.status not in _STATUSES:
        raise Refusal(f'It is {row.status}.', 'Wait until it is done.')
    if row.encryption_key_id:
        raise Refusal('It is encrypted.', _DELETE)
    if row.group_snapshot_id or row.cgsnapshot_id:
        raise Refusal('It is of the snapshot of a group.', 'Delete the snapshot of the group.')
    names = ('id', 'volume_id', 'project_id', 'user_id', 'display_name', 'display_description', 'status')
    own = {
        **{name: getattr(row, name) for name in (*names, 'created_at', 'updated_at')},
        'size': row.volume_size,
        'progress': snapshots.DONE,
        'deleted_at': None,
    }
    items = {each.key: each.value or '' for each in metadata}
    return Item(
        Kind.SNAPSHOT,
        row.id,
        {
            'snapshots': [own],
            'snapshot_metadata': [{'snapshot_id': row.id, 'key': key, 'value': value} for key, value in items.items()],
        },
    )
