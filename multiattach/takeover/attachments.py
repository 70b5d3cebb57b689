# SPDX-License-Identifier: Apache-2.0
"""Attachments of Cinder: which can be taken over while their hosts stay logged in, and as what."""

import json
from collections.abc import Iterable
from typing import Any

from multiattach.domain import connection, errors, sharing, states
from multiattach.domain.imports import Item, Kind

A = states.Attachment
# Statuses of Cinder in which nobody has a step in hand; "detached" ones are history.
_STATES = {'attached': A.ATTACHED, 'reserved': A.RESERVED, 'error_attaching': A.ERROR_ATTACHING}
_ERROR_DETACHING = 'error_detaching'
_REFRESH = (
    'Have Nova store the connection anew: stop the server, "nova-manage volume_attachment refresh SERVER VOLUME '
    'CONNECTOR_FILE"; or detach the volume and attach it again.'
)


class Refusal(Exception):
    """It cannot be imported.

    :param reason: what is in the way.
    :param remedy: what an operator can do about it.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def is_gone(status: str | None) -> bool:
    """Tell whether an attachment is history, although its row is not deleted."""
    return status == A.DETACHED or status == 'deleted'


def translate(row: Any, storage_name: str) -> Item | None:
    """Make an item of an attachment; None if there is nothing to import.

    :param storage_name: name of the volume on its storage.
    :raises Refusal: it cannot be imported, and so cannot its volume.
    """
    status = row.attach_status
    if is_gone(status):
        return None
    connector, info = _load(row.connector), _load(row.connection_info)
    state = A.ERROR_DETACHING if status == _ERROR_DETACHING and connector else _STATES.get(status)
    if status == _ERROR_DETACHING and not connector:
        state = A.ERROR_ATTACHING  # nothing of it was ever on a target
    if state is None:
        raise Refusal(
            f'Its attachment {row.id} is {status}.',
            'Wait until nothing is on its way; if nobody is at it any more: openstack volume attachment delete.',
        )
    if state in states.ADMITTED and not connector:
        raise Refusal(f'Its attachment {row.id} has no connector: Cinder does not know who uses it.', _REFRESH)
    own = _describe(row, state)
    if state in states.ADMITTED:
        own |= _connect(row, connector, info, storage_name)
    return Item(Kind.ATTACHMENT, row.id, {'attachments': [own]})


def count_accounts(rows: Iterable[Any]) -> dict[str, int]:
    """Count the volumes at which hosts use a CHAP account, by its name."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if name := _load(row.connection_info).get('auth_username'):
            found.setdefault(str(name), set()).add(row.volume_id)
    return {name: len(volumes) for name, volumes in found.items()}


def _describe(row: Any, state: str) -> dict[str, Any]:
    return {
        'id': row.id,
        'volume_id': row.volume_id,
        'instance_uuid': row.instance_uuid,
        'state': str(state),
        'attach_mode': row.attach_mode if row.attach_mode in (sharing.READ_ONLY, sharing.READ_WRITE) else None,
        'mountpoint': row.mountpoint,
        'attached_host': None,
        'initiator': None,
        'connector': None,
        'connection_info': None,
        'shared_account': None,
        'attached_at': row.attach_time,
        'detached_at': None,
        'deleted_at': None,
        'created_at': row.created_at,
        'updated_at': row.updated_at,
    }


def _connect(row: Any, connector: dict[str, Any], info: dict[str, Any], storage_name: str) -> dict[str, Any]:
    """Tell who uses the volume, from where, and by what account."""
    protocol = info.get('driver_volume_type')
    if protocol not in (connection.ISCSI, connection.RBD):
        raise Refusal(
            f'Its attachment {row.id} is connected by {protocol or "nothing that Cinder stored"}.',
            _REFRESH if protocol is None else 'No driver here serves that: leave the volume in Cinder, or detach it.',
        )
    try:
        wanted = connection.parse_connector(connector)
        initiator = connection.name_initiator(protocol, row.id, wanted)
    except errors.InvalidConnector as exc:
        raise Refusal(f'Its attachment {row.id}: {exc.message}', _REFRESH) from None
    account = None
    if protocol == connection.ISCSI:
        _check_target(row, info, storage_name)
        account = info['auth_username']
    return {
        'attached_host': wanted.host,
        'initiator': initiator,
        'connector': connector,
        # What Nova stored, word for word: with it the host logs in again.
        'connection_info': {'attachment_id': row.id, **info},
        'shared_account': account,
    }


def _check_target(row: Any, info: dict[str, Any], storage_name: str) -> None:
    if not str(info.get('target_iqn', '')).endswith(f':{storage_name}'):
        raise Refusal(
            f'Its attachment {row.id} is connected to target {info.get("target_iqn")}, not to …:{storage_name}.',
            _REFRESH,
        )
    if not info.get('auth_username') or not info.get('auth_password'):
        raise Refusal(
            f'Its attachment {row.id} has no CHAP account: its target lets anybody in.',
            'Detach it and attach it again with use_chap_auth = true in cinder.conf.',
        )


def _load(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
