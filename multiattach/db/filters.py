# SPDX-License-Identifier: Apache-2.0
"""What lists can be filtered by: for each noun a table from a key to a condition."""

import ast
import datetime
import operator
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from oslo_utils import strutils, timeutils

from multiattach.db import models, snapshots, volumes
from multiattach.domain import bounds, errors, idents, pools, states

Condition = sa.ColumnElement[bool]
Filter = Callable[[str], Condition]
_MAX_INT = 2**63 - 1
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    'gt': operator.gt,
    'gte': operator.ge,
    'lt': operator.lt,
    'lte': operator.le,
    'eq': operator.eq,
    'neq': operator.ne,
}


def nothing() -> Condition:
    return sa.false()


def _text(column: Any) -> Filter:
    return lambda value: column == value


def _ident(column: Any) -> Filter:
    return lambda value: column == idents.normalise(value)


def _boolean(column: Any) -> Filter:
    return lambda value: column.is_(parse_boolean(value))


def _host(value: str) -> Condition:
    return V.host == pools.strip_pool(value)


def _number(column: Any) -> Filter:
    return lambda value: column == parse_number(value)


def _never(_value: str) -> Condition:
    """Filter on what no row has here, a snapshot's or a group's id for example."""
    return nothing()


def _time(column: Any) -> Filter:
    def build(value: str) -> Condition:
        pieces = value.split(',')
        bounds.check_conditions(pieces, 'comparisons')
        return sa.and_(*(_compare(column, piece) for piece in pieces))

    return build


def _compare(column: Any, piece: str) -> Condition:
    word, colon, rest = piece.partition(':')
    compare = _OPERATORS.get(word) if colon else None
    condition: Condition = (
        operator.eq(column, parse_time(piece)) if compare is None else compare(column, parse_time(rest))
    )
    return condition


def parse_boolean(value: str) -> bool:
    """Parse a boolean of a query, ``true``, ``1``, ``no`` and so on.

    :raises InvalidInput: another word.
    """
    try:
        return bool(strutils.bool_from_string(value, strict=True))
    except ValueError as exc:
        raise errors.InvalidInput(f'Invalid boolean value {value[:64]!r} in the query.') from exc


def parse_number(value: str) -> int:
    """Parse a whole number of a query.

    :raises InvalidInput: anything else, or more than a column holds.
    """
    if not (value.isascii() and value.isdigit()) or len(value) > 19 or int(value) > _MAX_INT:
        raise errors.InvalidInput(f'Invalid number {value[:64]!r} in the query.')
    return int(value)


def parse_time(value: str) -> datetime.datetime:
    """Parse a time of a query, ISO 8601; return it in UTC without zone.

    :raises InvalidInput: no time.
    """
    try:
        parsed: datetime.datetime = timeutils.normalize_time(timeutils.parse_isotime(value))
    except (ValueError, OverflowError) as exc:
        raise errors.InvalidInput(f'Invalid time {value[:64]!r} in the query; use ISO 8601.') from exc
    return parsed


def _attach_status(value: str) -> Condition:
    return models.Attachment.state.in_(states.states_of(value))


def _metadata(value: str) -> Condition:
    return sa.and_(sa.true(), *volumes.metadata_filter(parse_mapping(value)))


def parse_mapping(value: str) -> dict[str, str]:
    """Parse a dict of a query as Python clients write it, ``{'key': 'value'}``.

    :raises InvalidInput: anything else, or too many keys.
    """
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as exc:
        raise errors.InvalidInput('A filter of keys and values must look like {"key": "value"}.') from exc
    if not isinstance(parsed, dict):
        raise errors.InvalidInput('A filter of keys and values must look like {"key": "value"}.')
    bounds.check_conditions(parsed, 'keys')
    return {str(key): str(item) for key, item in parsed.items()}


def _image_metadata(value: str) -> Condition:
    return sa.and_(sa.true(), *volumes.image_metadata_filter(parse_mapping(value)))


V = models.Volume
A = models.Attachment
M = models.Message
S = models.Snapshot

# Filters of Block Storage's resource_filters.json, for everybody (contract 10.2).
VOLUMES: Mapping[str, Filter] = {
    'name': _text(V.display_name),
    'display_name': _text(V.display_name),
    'status': _text(V.status),
    'metadata': _metadata,
    'bootable': _boolean(V.bootable),
    'migration_status': _text(V.migration_status),
    'availability_zone': _text(V.availability_zone),
    'group_id': _never,
    'size': _number(V.size),
    'created_at': _time(V.created_at),
    'updated_at': _time(V.updated_at),
    'consumes_quota': lambda value: sa.true() if parse_boolean(value) else nothing(),
    # Not in that file, which Horizon does not know: it offers this filter to everybody.
    'encrypted': lambda value: nothing() if parse_boolean(value) else sa.true(),
}
VOLUMES_ADMIN: Mapping[str, Filter] = {
    'id': _ident(V.id),
    'project_id': _text(V.project_id),
    'user_id': _text(V.user_id),
    'host': _host,
    'description': _text(V.display_description),
    'display_description': _text(V.display_description),
    'multiattach': _boolean(V.multiattach),
    'volume_type_id': _ident(V.volume_type_id),
    'service_uuid': _ident(V.service_uuid),
    'glance_metadata': _image_metadata,
    'snapshot_id': _ident(V.snapshot_id),
    'source_volid': _ident(V.source_volid),
    'cluster_name': _never,
    'encryption_key_id': _never,
    'replication_status': _never,
}
VOLUMES_LIKE: Mapping[str, Any] = {
    'name': V.display_name,
    'display_name': V.display_name,
    'status': V.status,
    'availability_zone': V.availability_zone,
    'description': V.display_description,
    'host': V.host,
}
SNAPSHOTS: Mapping[str, Filter] = {
    'name': _text(S.display_name),
    'status': _text(S.status),
    'volume_id': _ident(S.volume_id),
    'metadata': lambda value: sa.and_(sa.true(), *snapshots.metadata_filter(parse_mapping(value))),
    'availability_zone': snapshots.in_zone,
    'consumes_quota': lambda value: sa.true() if parse_boolean(value) else nothing(),
}
SNAPSHOTS_ADMIN: Mapping[str, Filter] = {
    'id': _ident(S.id),
    'project_id': _text(S.project_id),
    'user_id': _text(S.user_id),
    'display_name': _text(S.display_name),
    'volume_size': _number(S.size),
}
SNAPSHOTS_LIKE: Mapping[str, Any] = {'name': S.display_name, 'status': S.status, 'volume_id': S.volume_id}
ATTACHMENTS: Mapping[str, Filter] = {
    'volume_id': _ident(A.volume_id),
    'instance_id': _ident(A.instance_uuid),
    'instance_uuid': _ident(A.instance_uuid),
    'attach_status': _attach_status,
    'status': _attach_status,
}
ATTACHMENTS_ADMIN: Mapping[str, Filter] = {
    'id': _ident(A.id),
    'attached_host': _text(A.attached_host),
    'attach_mode': _text(A.attach_mode),
    'mountpoint': _text(A.mountpoint),
    'project_id': _text(V.project_id),
}
ATTACHMENTS_LIKE: Mapping[str, Any] = {
    'volume_id': A.volume_id,
    'instance_id': A.instance_uuid,
    'instance_uuid': A.instance_uuid,
    'attached_host': A.attached_host,
    'mountpoint': A.mountpoint,
}
_IDENTS = frozenset({'volume_id', 'instance_uuid'})

MESSAGES: Mapping[str, Filter] = {
    'resource_uuid': _ident(M.resource_uuid),
    'resource_type': _text(M.resource_type),
    'event_id': _text(M.event_id),
    'request_id': _text(M.request_id),
    'message_level': _text(M.message_level),
}

TRANSFERS: Mapping[str, Filter] = {
    'id': _ident(models.Transfer.id),
    'name': _text(models.Transfer.display_name),
    'display_name': _text(models.Transfer.display_name),
    'volume_id': _ident(models.Transfer.volume_id),
    'no_snapshots': _boolean(models.Transfer.no_snapshots),
    'created_at': _time(models.Transfer.created_at),
    'status': _never,
}
TRANSFERS_ADMIN: Mapping[str, Filter] = {'project_id': _text(models.Transfer.source_project_id)}

QOS_SPECS: Mapping[str, Filter] = {
    'id': _ident(models.QosSpecs.id),
    'name': _text(models.QosSpecs.name),
    'consumer': _text(models.QosSpecs.consumer),
}


def is_like(column: Any, value: str) -> Condition:
    """Return the condition that a column contains a text."""
    if column.key in _IDENTS:
        value = value.lower()
    condition: Condition = column.contains(value, autoescape=True)
    return condition


def type_is_public(value: bool) -> Condition:
    return models.VolumeType.is_public.is_(value)


def type_has_spec(key: str, value: str) -> Condition:
    table = models.ExtraSpec
    return sa.exists().where(table.volume_type_id == models.VolumeType.id, table.key == key, table.value == value)
