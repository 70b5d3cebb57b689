# SPDX-License-Identifier: Apache-2.0
"""QoS specs by the real clients: what they ask and what they print."""

import uuid
from collections.abc import Iterator

import pytest

from tests.functional.clients.cloud import Cloud
from tests.functional.clients.test_cinder import parse, parse_properties


@pytest.fixture
def gold(cloud: Cloud) -> Iterator[str]:
    """Name of QoS specs that hosts see to."""
    name = f'gold-{uuid.uuid4()}'
    done = cloud.openstack(
        'volume', 'qos', 'create', '--consumer', 'front-end', '--property', 'read_iops_sec=2000', name, '-f', 'json'
    )
    assert done.lines == ['POST /qos-specs']
    [exchange] = done.exchanges
    assert exchange.body == {'qos_specs': {'name': name, 'consumer': 'front-end', 'read_iops_sec': '2000'}}
    assert done.json == {
        'name': name,
        'consumer': 'front-end',
        'properties': {'read_iops_sec': '2000'},
        'id': exchange.reply['qos_specs']['id'],
    }
    yield name
    done = cloud.openstack('volume', 'qos', 'delete', '--force', name)
    assert done.lines[-1].endswith('?force=True')
    assert done.exchanges[-1].status == 202


def find(name: str) -> list[str]:
    """What every command by name asks first."""
    return [f'GET /qos-specs/{name}', 'GET /qos-specs']


def show(cloud: Cloud, name: str) -> dict[str, object]:
    shown: dict[str, object] = cloud.openstack('volume', 'qos', 'show', name, '-f', 'json').json
    return shown


def test_set_and_unset(cloud: Cloud, gold: str) -> None:
    ident = show(cloud, gold)['id']
    done = cloud.openstack('volume', 'qos', 'set', '--property', 'total_iops_sec=5', '--property', 'a=b', gold)
    assert done.lines == [*find(gold), f'PUT /qos-specs/{ident}']
    assert done.exchanges[-1].body == {'qos_specs': {'total_iops_sec': '5', 'a': 'b'}}
    assert show(cloud, gold)['properties'] == {'read_iops_sec': '2000', 'total_iops_sec': '5', 'a': 'b'}
    done = cloud.openstack('volume', 'qos', 'unset', '--property', 'a', gold)
    assert done.lines == [*find(gold), f'PUT /qos-specs/{ident}/delete_keys']
    assert done.exchanges[-1].body == {'keys': ['a']}
    assert show(cloud, gold)['properties'] == {'read_iops_sec': '2000', 'total_iops_sec': '5'}
    cloud.openstack('volume', 'qos', 'set', '--no-property', gold)
    assert show(cloud, gold)['properties'] == {}


def test_associate_list_show_disassociate(cloud: Cloud, gold: str, shared: str) -> None:
    ident = show(cloud, gold)['id']
    kind = cloud.openstack('volume', 'type', 'show', shared, '-f', 'json').json['id']
    done = cloud.openstack('volume', 'qos', 'associate', gold, shared)
    assert done.lines[-1] == f'GET /qos-specs/{ident}/associate?vol_type_id={kind}'
    assert done.exchanges[-1].status == 202
    shown = cloud.openstack('volume', 'qos', 'show', gold, '-f', 'json')
    assert shown.lines == [*find(gold), f'GET /qos-specs/{ident}/associations']
    assert shown.json == {
        'id': ident,
        'name': gold,
        'consumer': 'front-end',
        'associations': [shared],
        'properties': {'read_iops_sec': '2000'},
    }
    listed = cloud.openstack('volume', 'qos', 'list', '-f', 'json')
    [row] = [row for row in listed.json if row['Name'] == gold]
    assert row == {
        'ID': ident,
        'Name': gold,
        'Consumer': 'front-end',
        'Associations': [shared],
        'Properties': {'read_iops_sec': '2000'},
    }
    done = cloud.openstack('volume', 'qos', 'disassociate', '--volume-type', shared, gold)
    assert done.lines[-1] == f'GET /qos-specs/{ident}/disassociate?vol_type_id={kind}'
    assert 'associations' not in show(cloud, gold)
    cloud.openstack('volume', 'qos', 'associate', gold, shared)
    done = cloud.openstack('volume', 'qos', 'disassociate', '--all', gold)
    assert done.lines[-1] == f'GET /qos-specs/{ident}/disassociate_all'
    assert 'associations' not in show(cloud, gold)


def test_what_is_in_use_is_not_deleted(cloud: Cloud, gold: str, shared: str) -> None:
    cloud.openstack('volume', 'qos', 'associate', gold, shared)
    with pytest.raises(AssertionError, match='Qos specs still in use'):
        cloud.openstack('volume', 'qos', 'delete', gold)


def test_cinder(cloud: Cloud, shared: str) -> None:
    name = f'silver-{uuid.uuid4()}'
    created = cloud.cinder('qos-create', name, 'consumer=both', 'read_iops_sec=1')
    assert created.exchanges[-1].body == {'qos_specs': {'name': name, 'consumer': 'both', 'read_iops_sec': '1'}}
    properties = parse_properties(created.printed)
    assert (properties['name'], properties['consumer'], properties['specs']) == (name, 'both', 'read_iops_sec : 1')
    ident = properties['id']
    listed = cloud.cinder('qos-list')
    assert listed.lines == ['GET /qos-specs']
    assert {'ID': ident, 'Name': name, 'Consumer': 'both', 'specs': "{'read_iops_sec': '1'}"} in parse(listed.printed)
    done = cloud.cinder('qos-key', ident, 'set', 'color=red')
    assert (done.exchanges[-1].line, done.exchanges[-1].body) == (
        f'PUT /qos-specs/{ident}',
        {'qos_specs': {'color': 'red'}},
    )
    kind = cloud.openstack('volume', 'type', 'show', shared, '-f', 'json').json['id']
    assert cloud.cinder('qos-associate', ident, kind).lines == [f'GET /qos-specs/{ident}/associate?vol_type_id={kind}']
    associated = cloud.cinder('qos-get-association', ident)
    assert parse(associated.printed) == [{'Association_Type': 'volume_type', 'Name': shared, 'ID': kind}]
    assert 'color : red' in cloud.cinder('qos-show', ident).printed
    assert cloud.cinder('qos-key', ident, 'unset', 'color').exchanges[-1].body == {'keys': ['color']}
    assert 'color' not in cloud.cinder('qos-show', ident).printed
    assert cloud.cinder('qos-disassociate', ident, kind).exchanges[-1].status == 202
    assert cloud.cinder('qos-disassociate-all', ident).exchanges[-1].status == 202
    assert cloud.cinder('qos-delete', ident).lines[-1] == f'DELETE /qos-specs/{ident}?force=False'
    assert ident not in cloud.cinder('qos-list').printed
