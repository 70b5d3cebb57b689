# SPDX-License-Identifier: Apache-2.0
"""Replies about services, pools, zones, quotas, limits and messages (contract 10.4, 10.5)."""

from typing import Any

from multiattach.api.schemas.replies.elements import (
    COUNT,
    FLAG,
    LIMIT,
    LINKS,
    NEXT,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    UUID,
    always,
    many,
    one,
    strict,
)

_STATE = {'enum': ['up', 'down']}
_STATUS = {'enum': ['enabled', 'disabled']}
_CLUSTERS = 7
_BACKEND_STATE = 49


def services(minor: int) -> dict[str, Any]:
    """Describe the list of services."""
    required: dict[str, Any] = {
        'binary': TEXT,
        'host': TEXT,
        'zone': TEXT_OR_NULL,
        'status': _STATUS,
        'state': _STATE,
        'updated_at': TIME_OR_NULL,
        'disabled_reason': TEXT_OR_NULL,
    }
    if minor >= _CLUSTERS:
        required['cluster'] = TEXT_OR_NULL
    backend: dict[str, Any] = {'replication_status': TEXT, 'active_backend_id': NULL, 'frozen': {'const': False}}
    if minor >= _BACKEND_STATE:
        backend['backend_state'] = _STATE
    return strict({'services': many(strict(required, backend))})


_CHANGED = {'host': TEXT, 'service': TEXT, 'binary': TEXT, 'status': _STATUS, 'disabled': FLAG}
CHANGED = always(strict(_CHANGED))
CHANGED_WITH_REASON = always(strict({**_CHANGED, 'disabled_reason': TEXT}))

_GIGABYTES = {'anyOf': [{'type': 'number', 'minimum': 0}, {'enum': ['unknown', 'infinite']}]}
# A backend reports more, as its configuration says.
_CAPABILITIES = {
    'type': 'object',
    'required': ['pool_name', 'total_capacity_gb', 'free_capacity_gb'],
    'properties': {
        'pool_name': TEXT,
        'total_capacity_gb': _GIGABYTES,
        'free_capacity_gb': _GIGABYTES,
        'allocated_capacity_gb': {'type': 'number'},
        'max_over_subscription_ratio': TEXT,
        'multiattach': FLAG,
        'storage_protocol': TEXT,
    },
}
POOLS = one('pools', many(strict({'name': TEXT}, {'capabilities': _CAPABILITIES})))
ZONES = one('availabilityZoneInfo', many(strict({'zoneName': TEXT, 'zoneState': strict({'available': FLAG})})))

_USE = strict({'limit': LIMIT, 'in_use': COUNT, 'reserved': COUNT})
# One key per resource, and per resource and volume type.
_LIMITS = {'type': 'object', 'additionalProperties': LIMIT}
_SHOWN = {'type': 'object', 'required': ['id'], 'properties': {'id': TEXT}}
QUOTA = one('quota_set', {**_SHOWN, 'additionalProperties': {'anyOf': [LIMIT, _USE]}})
QUOTA_DEFAULTS = one('quota_set', {**_SHOWN, 'additionalProperties': LIMIT})
QUOTA_CHANGED = one('quota_set', _LIMITS)
QUOTA_CLASS = one('quota_class_set', {**_SHOWN, 'additionalProperties': LIMIT})
QUOTA_CLASS_CHANGED = one('quota_class_set', _LIMITS)

_NOUNS = ('Volumes', 'VolumeGigabytes', 'Snapshots', 'Backups', 'BackupGigabytes')
_USED = ('totalVolumesUsed', 'totalGigabytesUsed', 'totalSnapshotsUsed', 'totalBackupsUsed', 'totalBackupGigabytesUsed')
LIMITS = one(
    'limits',
    strict(
        {
            'rate': {'type': 'array', 'maxItems': 0},
            'absolute': strict({f'maxTotal{noun}': LIMIT for noun in _NOUNS}, dict.fromkeys(_USED, COUNT)),
        }
    ),
)

_MESSAGE = strict(
    {
        'id': UUID,
        'event_id': TEXT,
        'user_message': TEXT,
        'message_level': TEXT,
        'request_id': TEXT_OR_NULL,
        'resource_type': TEXT_OR_NULL,
        'resource_uuid': TEXT_OR_NULL,
        'created_at': TIME,
        'guaranteed_until': TIME_OR_NULL,
        'links': LINKS,
    }
)
MESSAGES = always(strict({'messages': many(_MESSAGE)}, {'messages_links': NEXT}))
MESSAGE = one('message', _MESSAGE)

_EXTENSION = strict(
    {'alias': TEXT, 'name': TEXT, 'description': TEXT, 'updated': TEXT, 'links': {'type': 'array', 'maxItems': 0}}
)
EXTENSIONS = one('extensions', many(_EXTENSION))
EXTENSION = one('extension', _EXTENSION)
FILTERS = one('resource_filters', many(strict({'resource': TEXT, 'filters': many(TEXT)})))
CAPABILITIES = always(
    strict(
        {
            'namespace': TEXT,
            'vendor_name': TEXT,
            'volume_backend_name': TEXT,
            'driver_version': TEXT,
            'storage_protocol': TEXT,
            'pool_name': TEXT_OR_NULL,
            'display_name': TEXT_OR_NULL,
            'description': TEXT_OR_NULL,
            'visibility': TEXT_OR_NULL,
            'replication_targets': many(TEXT),
            'properties': {
                'type': 'object',
                'additionalProperties': strict({'title': TEXT, 'description': TEXT, 'type': TEXT}),
            },
        }
    )
)
