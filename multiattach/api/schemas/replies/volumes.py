# SPDX-License-Identifier: Apache-2.0
"""Replies about volumes (contract 10.2)."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.schemas.replies.elements import (
    COUNT,
    FLAG,
    LINKS,
    NEXT,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    UUID,
    UUID_OR_NULL,
    many,
    strict,
)

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
_SUMMARY = strict({'id': UUID, 'name': TEXT_OR_NULL, 'links': LINKS})
_DETAIL: Mapping[str, Any] = {
    'id': UUID,
    'status': TEXT,
    'size': {'type': 'integer', 'minimum': 1},
    'availability_zone': TEXT_OR_NULL,
    'created_at': TIME,
    'updated_at': TIME_OR_NULL,
    'name': TEXT_OR_NULL,
    'description': TEXT_OR_NULL,
    'volume_type': TEXT,
    'snapshot_id': NULL,
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
_LATER: Mapping[int, Mapping[str, Any]] = {
    13: {'group_id': NULL},
    48: {'shared_targets': {'const': False}, 'service_uuid': UUID_OR_NULL},
    63: {'volume_type_id': UUID},
    65: {'consumes_quota': {'const': True}},
}
_ADMIN: Mapping[int, Mapping[str, Any]] = {
    0: {'migration_status': NULL},
    21: {'provider_id': NULL},
    61: {'cluster_name': NULL},
}
_EXTENDED: Mapping[str, Any] = {
    'os-vol-tenant-attr:tenant_id': TEXT,
    'os-vol-host-attr:host': TEXT_OR_NULL,
    'os-vol-mig-status-attr:migstat': NULL,
    'os-vol-mig-status-attr:name_id': NULL,
}
_IMAGE = {'volume_image_metadata': TEXTS}
_WITH_COUNT = 45
_SUMMARY_METADATA = 36


def _collect(pieces: Mapping[int, Mapping[str, Any]], minor: int) -> dict[str, Any]:
    return {key: schema for since, piece in pieces.items() if since <= minor for key, schema in piece.items()}


def _detail(minor: int, *, extended: bool) -> dict[str, Any]:
    return strict(
        {**_DETAIL, **_collect(_LATER, minor)}, {**_collect(_ADMIN, minor), **_IMAGE, **(_EXTENDED if extended else {})}
    )


def _page(minor: int, item: Mapping[str, Any]) -> dict[str, Any]:
    count = {'count': COUNT} if minor >= _WITH_COUNT else {}
    return strict({'volumes': many(item)}, {'volumes_links': NEXT, **count})


def index(minor: int) -> dict[str, Any]:
    """Describe the list of names."""
    return _page(minor, _SUMMARY)


def detail(minor: int) -> dict[str, Any]:
    """Describe the list of details; argument and result as :func:`index`."""
    return _page(minor, _detail(minor, extended=True))


def show(minor: int) -> dict[str, Any]:
    """Describe one volume; argument and result as :func:`index`."""
    return strict({'volume': _detail(minor, extended=True)})


def changed(minor: int) -> dict[str, Any]:
    """Describe a volume after create or update; argument and result as :func:`index`."""
    return strict({'volume': _detail(minor, extended=False)})


def summary(minor: int) -> dict[str, Any]:
    """Describe the sums over volumes; argument and result as :func:`index`."""
    metadata = {'metadata': {'type': 'object', 'additionalProperties': many(TEXT)}}
    return strict(
        {
            'volume-summary': strict(
                {'total_count': COUNT, 'total_size': COUNT, **(metadata if minor >= _SUMMARY_METADATA else {})}
            )
        }
    )
