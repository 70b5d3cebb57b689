# SPDX-License-Identifier: Apache-2.0
"""List filters and pages as the API hands them on, without SQL on its side.

Who may filter by what, and from which microversion: contract 2.6, 10.2 and 10.3.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from multiattach.db import filters
from multiattach.db.filters import Condition, parse_boolean
from multiattach.domain import errors, extra_specs
from multiattach.engine.context import RequestContext

__all__ = [
    'attachment_conditions',
    'message_conditions',
    'parse_boolean',
    'qos_conditions',
    'snapshot_conditions',
    'transfer_conditions',
    'type_conditions',
    'volume_conditions',
]

_STRICT = 31
_LIKE = 34
_SPECS = 52
# Filters of snapshots with the microversion that brought each.
_SNAPSHOT_FILTERS: Mapping[str, int] = {'metadata': 22, 'consumes_quota': 65}
# Callers without the admin role see their own project whatever they name here.
_OWN_PROJECT = 'project_id'
# What the lists can be sorted by, with the column of each.
VOLUME_SORT_KEYS: Mapping[str, str] = {
    'id': 'id',
    'name': 'display_name',
    'display_name': 'display_name',
    'status': 'status',
    'size': 'size',
    'created_at': 'created_at',
    'updated_at': 'updated_at',
    'availability_zone': 'availability_zone',
    'bootable': 'bootable',
    'host': 'host',
    'project_id': 'project_id',
    'user_id': 'user_id',
    'volume_type_id': 'volume_type_id',
    'multiattach': 'multiattach',
}
ATTACHMENT_SORT_KEYS: Mapping[str, str] = {
    'id': 'id',
    'volume_id': 'volume_id',
    'instance_id': 'instance_uuid',
    'instance_uuid': 'instance_uuid',
    'status': 'state',
    'attach_status': 'state',
    'attach_mode': 'attach_mode',
    'attached_host': 'attached_host',
    'created_at': 'created_at',
    'updated_at': 'updated_at',
    'attached_at': 'attached_at',
    'mountpoint': 'mountpoint',
}
# ``name`` from 3.30.
SNAPSHOT_SORT_KEYS: Mapping[str, str] = {
    'id': 'id',
    'display_name': 'display_name',
    'status': 'status',
    'volume_id': 'volume_id',
    'volume_size': 'size',
    'created_at': 'created_at',
    'updated_at': 'updated_at',
    'project_id': 'project_id',
    'user_id': 'user_id',
    'progress': 'progress',
}
TYPE_SORT_KEYS: Mapping[str, str] = {
    'id': 'id',
    'name': 'name',
    'created_at': 'created_at',
    'updated_at': 'updated_at',
    'is_public': 'is_public',
    'description': 'description',
}

MESSAGE_SORT_KEYS: Mapping[str, str] = {
    'id': 'id',
    'event_id': 'event_id',
    'resource_uuid': 'resource_uuid',
    'resource_type': 'resource_type',
    'request_id': 'request_id',
    'message_level': 'message_level',
    'created_at': 'created_at',
    'guaranteed_until': 'guaranteed_until',
}
TRANSFER_SORT_KEYS: Mapping[str, str] = {
    'id': 'id',
    'name': 'display_name',
    'display_name': 'display_name',
    'volume_id': 'volume_id',
    'created_at': 'created_at',
    'updated_at': 'updated_at',
}
QOS_SORT_KEYS: Mapping[str, str] = {key: key for key in ('id', 'name', 'consumer', 'created_at', 'updated_at')}
# The filters that everybody may use (3.33).
RESOURCE_FILTERS: Mapping[str, tuple[str, ...]] = {
    'volume': tuple(key for key in filters.VOLUMES if key not in ('display_name', 'encrypted')),
    'snapshot': tuple(filters.SNAPSHOTS),
    'attachment': ('volume_id', 'status', 'instance_id', 'attach_status'),
    'message': tuple(filters.MESSAGES),
    'volume_type': ('is_public', 'extra_specs'),
}


def volume_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    """Build the conditions of a volume list.

    :raises InvalidInput: a value that cannot be read; from 3.31 a key that people without the
        admin role may not use.
    """
    return _build(ctx, wanted, minor, filters.VOLUMES, filters.VOLUMES_ADMIN, filters.VOLUMES_LIKE)


def attachment_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    return _build(ctx, wanted, minor, filters.ATTACHMENTS, filters.ATTACHMENTS_ADMIN, filters.ATTACHMENTS_LIKE)


def snapshot_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    """Build the conditions of a snapshot list; what a microversion has not says nothing."""
    new = {key for key, since in _SNAPSHOT_FILTERS.items() if minor < since}
    known = {key: value for key, value in wanted.items() if key not in new}
    return _build(ctx, known, minor, filters.SNAPSHOTS, filters.SNAPSHOTS_ADMIN, filters.SNAPSHOTS_LIKE)


def _build(
    ctx: RequestContext,
    wanted: Mapping[str, str],
    minor: int,
    everybody: Mapping[str, filters.Filter],
    admins: Mapping[str, filters.Filter],
    like: Mapping[str, Any],
) -> list[Condition]:
    conditions = []
    for key, value in wanted.items():
        known = everybody.get(key) or (admins.get(key) if ctx.is_admin else None)
        base = key.removesuffix('~')
        may_like = base in like and (base in everybody or ctx.is_admin)
        if known is not None:
            conditions.append(known(value))
        elif key != base and minor >= _LIKE and may_like:
            conditions.append(filters.is_like(like[base], value))
        elif ctx.is_admin:
            conditions.append(filters.nothing())
        elif minor >= _STRICT and key != _OWN_PROJECT:
            raise errors.InvalidInput(f'Invalid filters {key[:64]} are found in query options.')
    return conditions


def message_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    return _build(ctx, wanted, minor, filters.MESSAGES, {}, {})


def transfer_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    return _build(ctx, wanted, minor, filters.TRANSFERS, filters.TRANSFERS_ADMIN, {})


def qos_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    return _build(ctx, wanted, minor, filters.QOS_SPECS, {}, {})


def check_absent(ctx: RequestContext, wanted: Mapping[str, str], minor: int, names: Iterable[str]) -> None:
    """Check the filters, of which everybody may use *names*, of a list that is always empty."""
    _build(ctx, wanted, minor, {name: lambda _value: filters.nothing() for name in names}, {}, {})


def type_conditions(ctx: RequestContext, wanted: Mapping[str, str], minor: int) -> list[Condition]:
    """Build the conditions of a type list from ``is_public`` and ``extra_specs``; everything else says nothing.

    :raises InvalidInput: a value that cannot be read.
    """
    conditions = []
    public = wanted.get('is_public', 'true')
    if ctx.is_admin and public.lower() != 'none':
        conditions.append(filters.type_is_public(parse_boolean(public)))
    if 'extra_specs' in wanted and (minor >= _SPECS or ctx.is_admin):
        for key, value in filters.parse_mapping(wanted['extra_specs']).items():
            visible = ctx.is_admin or key in extra_specs.PUBLIC_SPECS
            conditions.append(filters.type_has_spec(key, value) if visible else filters.nothing())
    return conditions
