# SPDX-License-Identifier: Apache-2.0
"""Types, QoS specs, default types and quotas of Cinder as items of this service."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from multiattach.domain import qos, quotas
from multiattach.domain.imports import Item, Kind, Obstacle
from multiattach.takeover.source import Contents

_QOS_NAME = 'QoSSpec_Name'  # Cinder keeps the name in a row beside those of the keys
_CONSUMER = 'consumer'
_PROJECT, _CLASS = 'project', 'class'


def group(rows: Iterable[Any], column: str) -> dict[str, list[Any]]:
    """Group rows by a column."""
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[getattr(row, column)].append(row)
    return found


def list_qos(contents: Contents, obstacles: list[Obstacle]) -> Iterator[Item]:
    keys = group((row for row in contents.qos_specs if row.specs_id), 'specs_id')
    for row in contents.qos_specs:
        if row.specs_id or row.key != _QOS_NAME:
            continue
        specs = {each.key: each.value for each in keys.get(row.id, ())}
        consumer = specs.pop(_CONSUMER, None) or qos.DEFAULT_CONSUMER
        if consumer not in qos.CONSUMERS:
            obstacles.append(
                Obstacle(
                    Kind.QOS,
                    row.id,
                    None,
                    row.value,
                    f'Its consumer is {consumer!r}.',
                    f'Set one of {", ".join(qos.CONSUMERS)}: openstack volume qos set --property consumer=…',
                )
            )
            continue
        own = {
            'id': row.id,
            'name': row.value,
            'consumer': consumer,
            'created_at': row.created_at,
            'updated_at': row.updated_at,
        }
        items = [{'qos_specs_id': row.id, 'key': key, 'value': value} for key, value in specs.items()]
        yield Item(Kind.QOS, row.id, {'qos_specs': [own], 'qos_specs_items': items})


def list_types(contents: Contents, qos_ids: set[str]) -> Iterator[Item]:
    specs, access = group(contents.extra_specs, 'volume_type_id'), group(contents.type_access, 'volume_type_id')
    encryptions = group(contents.encryptions, 'volume_type_id')
    for row in contents.types:
        yield Item(
            Kind.TYPE,
            row.id,
            {
                'volume_types': [
                    {
                        'id': row.id,
                        'name': row.name,
                        'live_name': row.name,
                        'description': row.description,
                        'is_public': bool(row.is_public),
                        'created_at': row.created_at,
                        'updated_at': row.updated_at,
                        'deleted_at': None,
                    }
                ],
                'volume_type_extra_specs': [
                    {'volume_type_id': row.id, 'key': key, 'value': value}
                    for key, value in {each.key: each.value for each in specs.get(row.id, ())}.items()
                ],
                'volume_type_projects': [
                    {'volume_type_id': row.id, 'project_id': project}
                    for project in sorted({each.project_id for each in access.get(row.id, ())})
                ],
                'volume_type_encryptions': [_encrypt(each) for each in encryptions.get(row.id, ())[:1]],
                'volume_type_qos_specs': [{'volume_type_id': row.id, 'qos_specs_id': row.qos_specs_id}]
                if row.qos_specs_id in qos_ids
                else [],
            },
        )


def _encrypt(row: Any) -> dict[str, Any]:
    names = ('volume_type_id', 'encryption_id', 'provider', 'control_location', 'cipher', 'key_size')
    return {name: getattr(row, name) for name in (*names, 'created_at', 'updated_at')}


def list_default_types(contents: Contents) -> Iterator[Item]:
    known = {row.id for row in contents.types}
    for row in contents.default_types:
        if row.volume_type_id in known:
            values = {'project_id': row.project_id, 'volume_type_id': row.volume_type_id}
            yield Item(Kind.DEFAULT_TYPE, row.project_id, {'default_volume_types': [values]})


def list_quotas(contents: Contents) -> Iterator[Item]:
    """List the limits of each project and quota class; one without a number is unlimited."""
    known = set(quotas.list_resources(row.name for row in contents.types))
    limits: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for scope, rows, column in (
        (_PROJECT, contents.quotas, 'project_id'),
        (_CLASS, contents.quota_classes, 'class_name'),
    ):
        for row in rows:
            if row.resource in known and getattr(row, column):
                limit = quotas.UNLIMITED if row.hard_limit is None else row.hard_limit
                limits[scope, getattr(row, column)][row.resource] = limit
    for (scope, name), its in limits.items():
        own = [{'scope': scope, 'name': name, 'resource': key, 'hard_limit': value} for key, value in its.items()]
        yield Item(Kind.QUOTA, f'{scope}/{name}', {'quota_limits': own})
