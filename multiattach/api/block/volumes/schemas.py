# SPDX-License-Identifier: Apache-2.0
"""Bodies, queries and replies of volumes (contract 10.2)."""

from collections.abc import Mapping

from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import (
    COUNT,
    FLAG,
    LINKS,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    UUID,
    UUID_OR_NULL,
    Schema,
    many,
    one,
    page,
    strict,
)
from multiattach.api.validation import Versioned

WITH_COUNT = 45
SUMMARY_METADATA = 36

_UPDATE = {
    'name': requests.TEXT_OR_NULL,
    'display_name': requests.TEXT_OR_NULL,
    'description': requests.TEXT_OR_NULL,
    'display_description': requests.TEXT_OR_NULL,
    'metadata': {'anyOf': [requests.METADATA, {'type': 'null'}]},
}
_CREATE = {
    'name': requests.TEXT_OR_NULL,
    'display_name': requests.TEXT_OR_NULL,
    'description': requests.TEXT_OR_NULL,
    'display_description': requests.TEXT_OR_NULL,
    'size': {'anyOf': [requests.SIZE, {'type': 'null'}]},
    'volume_type': requests.TEXT_OR_NULL,
    'metadata': {'anyOf': [requests.METADATA, {'type': 'null'}]},
    'availability_zone': requests.TEXT_OR_NULL,
    'snapshot_id': requests.TEXT_OR_NULL,
    'source_volid': requests.TEXT_OR_NULL,
    'consistencygroup_id': requests.TEXT_OR_NULL,
    'imageRef': requests.TEXT_OR_NULL,
    'image_id': requests.TEXT_OR_NULL,
    # true is refused by its meaning, with the text that says what to use instead.
    'multiattach': requests.BOOLEAN,
}
_GROUP = {'group_id': requests.TEXT_OR_NULL}
_BACKUP = {'backup_id': requests.TEXT_OR_NULL}
_HINTS = {'OS-SCH-HNT:scheduler_hints': {'type': ['object', 'null']}}

# Up to 3.52 what is not known is ignored.
CREATE = Versioned(
    {
        0: requests.wrap('volume', requests.fields(_CREATE, strict=False), strict=False),
        13: requests.wrap('volume', requests.fields(_CREATE | _GROUP, strict=False), strict=False),
        47: requests.wrap('volume', requests.fields(_CREATE | _GROUP | _BACKUP, strict=False), strict=False),
        53: requests.wrap('volume', requests.fields(_CREATE | _GROUP | _BACKUP), others=_HINTS),
    }
)
UPDATE = Versioned(
    {
        0: requests.wrap('volume', requests.fields(_UPDATE, strict=False), strict=False),
        53: requests.wrap('volume', requests.fields(_UPDATE, minProperties=1)),
    }
)
INDEX = requests.query({'all_tenants': requests.BOOLEAN_QUERY, 'with_count': requests.BOOLEAN_QUERY})
SUMMARY = requests.fields({'all_tenants': requests.BOOLEAN_QUERY}, strict=False)
DELETE = Versioned(
    {
        0: requests.fields({'cascade': requests.BOOLEAN_QUERY}, strict=False),
        23: requests.fields({'cascade': requests.BOOLEAN_QUERY, 'force': requests.BOOLEAN_QUERY}, strict=False),
    }
)
SET_METADATA = requests.wrap('metadata', requests.METADATA)
SET_METADATA_ITEM = requests.wrap('meta', {**requests.METADATA, 'minProperties': 1, 'maxProperties': 1})

UPLOAD_PARAMETERS = 1
_UPLOAD = {
    'image_name': requests.NAME,
    'disk_format': {'enum': ['raw', 'vmdk', 'vdi', 'qcow2', 'vhd', 'vhdx', 'ploop']},
    'container_format': {'enum': ['ami', 'ari', 'aki', 'bare', 'ovf', 'ova', 'docker', 'compressed', None]},
    'force': requests.BOOLEAN,
}
_UPLOAD_MORE = {'visibility': {'enum': ['community', 'public', 'private', 'shared']}, 'protected': requests.BOOLEAN}
UPLOAD = Versioned(
    {
        0: requests.fields(_UPLOAD, 'image_name'),
        UPLOAD_PARAMETERS: requests.fields(_UPLOAD | _UPLOAD_MORE, 'image_name'),
    }
)
REIMAGE = requests.fields({'image_id': requests.UUID, 'reimage_reserved': requests.BOOLEAN}, 'image_id')

METADATA = one('metadata', TEXTS)
METADATA_ITEM = one('meta', {**TEXTS, 'minProperties': 1, 'maxProperties': 1})
_ATTACHMENT = strict(
    {
        'id': UUID,
        'attachment_id': UUID,
        'volume_id': UUID,
        'server_id': TEXT_OR_NULL,
        'host_name': TEXT_OR_NULL,
        'device': TEXT,
        'attached_at': TIME_OR_NULL,
    }
)
_LISTED = strict({'id': UUID, 'name': TEXT_OR_NULL, 'links': LINKS})
_FIELDS: Schema = {
    'id': UUID,
    'status': TEXT,
    'size': {'type': 'integer', 'minimum': 1},
    'availability_zone': TEXT_OR_NULL,
    'created_at': TIME,
    'updated_at': TIME_OR_NULL,
    'name': TEXT_OR_NULL,
    'description': TEXT_OR_NULL,
    'volume_type': TEXT,
    'snapshot_id': UUID_OR_NULL,
    'source_volid': UUID_OR_NULL,
    'metadata': TEXTS,
    'links': LINKS,
    'user_id': TEXT,
    'bootable': {'enum': ['true', 'false']},
    'encrypted': {'const': False},
    'replication_status': NULL,
    'consistencygroup_id': NULL,
    'multiattach': FLAG,
    'attachments': many(_ATTACHMENT),
}
# What each microversion brought, and the same for admins only.
_LATER: Mapping[int, Schema] = {
    13: {'group_id': NULL},
    48: {'shared_targets': {'const': False}, 'service_uuid': UUID_OR_NULL},
    63: {'volume_type_id': UUID},
    65: {'consumes_quota': {'const': True}},
}
_ADMIN: Mapping[int, Schema] = {
    0: {'migration_status': TEXT_OR_NULL},
    21: {'provider_id': NULL},
    61: {'cluster_name': NULL},
}
_EXTENDED: Schema = {
    'volume_image_metadata': TEXTS,
    'os-vol-tenant-attr:tenant_id': TEXT,
    'os-vol-host-attr:host': TEXT_OR_NULL,
    'os-vol-mig-status-attr:migstat': TEXT_OR_NULL,
    'os-vol-mig-status-attr:name_id': UUID_OR_NULL,
}


def _collect(pieces: Mapping[int, Schema], minor: int) -> Schema:
    return {key: schema for since, piece in pieces.items() if since <= minor for key, schema in piece.items()}


def _describe(minor: int, *, extended: bool) -> Schema:
    return strict(
        {**_FIELDS, **_collect(_LATER, minor)}, {**_collect(_ADMIN, minor), **(_EXTENDED if extended else {})}
    )


def _page(minor: int, item: Schema) -> Schema:
    return page('volumes', item, optional={'count': COUNT} if minor >= WITH_COUNT else {})


def listed(minor: int) -> Schema:
    return _page(minor, _LISTED)


def detailed(minor: int) -> Schema:
    return _page(minor, _describe(minor, extended=True))


def shown(minor: int) -> Schema:
    return one('volume', _describe(minor, extended=True))


def changed(minor: int) -> Schema:
    return one('volume', _describe(minor, extended=False))


def uploaded(minor: int) -> Schema:
    later = {'visibility': TEXT, 'protected': FLAG} if minor >= UPLOAD_PARAMETERS else {}
    return one(
        'os-volume_upload_image',
        strict(
            {
                'id': UUID,
                'updated_at': TIME_OR_NULL,
                'status': {'const': 'uploading'},
                'display_description': TEXT_OR_NULL,
                'size': COUNT,
                'volume_type': strict({'id': UUID, 'name': TEXT}),
                'image_id': UUID,
                'container_format': TEXT,
                'disk_format': TEXT,
                'image_name': TEXT,
                **later,
            }
        ),
    )


def summarised(minor: int) -> Schema:
    metadata = {'metadata': {'type': 'object', 'additionalProperties': many(TEXT)}}
    sums = {'total_count': COUNT, 'total_size': COUNT, **(metadata if minor >= SUMMARY_METADATA else {})}
    return one('volume-summary', strict(sums))
