# SPDX-License-Identifier: Apache-2.0
"""Sessions of python-openstackclient: what it asks and what it prints (contract 10.1)."""

import uuid

import pytest

from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host
from tests.testbed.polling import wait_until

DETAIL = 'GET /volumes/detail?name='


def find(name: str) -> list[str]:
    """What every command by name asks first."""
    return [f'GET /volumes/{name}', f'{DETAIL}{name}']


def test_discovery(cloud: Cloud) -> None:
    cloud.openstack('volume', 'list')
    asked = [(exchange.line, exchange.status) for exchange in cloud.recorder.exchanges]
    assert asked[-1] == ('GET /volumes/detail', 200)
    assert all(line in ('GET /v3', 'GET /') for line, _ in asked[:-1])
    assert {status for _, status in asked[:-1]} <= {200, 302, 401}


def test_create_list_show_delete(cloud: Cloud, shared: str) -> None:
    name = f'data-{uuid.uuid4()}'
    created = cloud.openstack(
        'volume', 'create', '--size', '1', '--type', shared, '--property', 'a=b', name, '-f', 'json'
    )
    assert created.lines == ['POST /volumes']
    [exchange] = created.exchanges
    assert (exchange.status, exchange.version) == (202, 'volume 3.71')
    nulls = {key for key, value in exchange.body['volume'].items() if value is None}
    assert nulls == {
        'imageRef',
        'availability_zone',
        'description',
        'source_volid',
        'snapshot_id',
        'consistencygroup_id',
        'backup_id',
    }
    printed = created.json
    assert (
        printed['name'],
        printed['size'],
        printed['status'],
        printed['type'],
        printed['multiattach'],
        printed['bootable'],
        printed['properties'],
        printed['attachments'],
    ) == (name, 1, 'creating', shared, True, False, {'a': 'b'}, [])
    cloud.wait(name, 'available')

    listed = cloud.openstack('volume', 'list', '--long', '-f', 'json')
    assert listed.lines == ['GET /volumes/detail']
    [row] = [row for row in listed.json if row['Name'] == name]
    assert row == {
        'ID': printed['id'],
        'Name': name,
        'Status': 'available',
        'Size': 1,
        'Type': shared,
        'Bootable': False,
        'Attached to': [],
        'Properties': {'a': 'b'},
    }

    shown = cloud.openstack('volume', 'show', name, '-f', 'json')
    assert shown.lines == find(name)
    assert [exchange.status for exchange in shown.exchanges] == [404, 200]
    assert set(shown.json) == set(printed)
    assert shown.json['os-vol-host-attr:host'] == 'testhost@file#file'
    assert shown.json['service_uuid']
    assert shown.json['shared_targets'] is False

    deleted = cloud.openstack('volume', 'delete', name)
    assert deleted.lines == [*find(name), f'DELETE /volumes/{printed["id"]}?cascade=False&force=False']
    assert deleted.exchanges[-1].status == 202
    assert deleted.printed == ''


def test_create_from_a_source(cloud: Cloud, volume: str) -> None:
    name = f'clone-{uuid.uuid4()}'
    source = cloud.show(volume)
    created = cloud.openstack('volume', 'create', '--source', volume, name, '-f', 'json')
    assert created.lines == [*find(volume), 'POST /volumes']
    body = created.exchanges[-1].body['volume']
    assert (body['source_volid'], body['size'], body['volume_type']) == (source['id'], source['size'], None)
    assert (created.json['source_volid'], created.json['type']) == (source['id'], source['type'])
    cloud.wait(name, 'available')
    assert cloud.show(name)['source_volid'] == source['id']


def test_set(cloud: Cloud, volume: str) -> None:
    ident = cloud.show(volume)['id']
    done = cloud.openstack(
        'volume', 'set', '--name', volume + 'x', '--description', 'new', '--property', 'color=red', volume
    )
    assert done.lines == [*find(volume), f'POST /volumes/{ident}/metadata', f'PUT /volumes/{ident}']
    assert done.exchanges[-2].body == {'metadata': {'color': 'red'}}
    assert done.exchanges[-1].body == {'volume': {'name': volume + 'x', 'description': 'new'}}
    shown = cloud.show(ident)
    assert (shown['name'], shown['description'], shown['properties']) == (volume + 'x', 'new', {'color': 'red'})
    cloud.openstack('volume', 'unset', '--property', 'color', ident)
    cloud.openstack('volume', 'set', '--name', volume, ident)
    assert cloud.show(volume)['properties'] == {}


@pytest.mark.parametrize(
    ('words', 'body', 'field', 'value'),
    [
        (('--size', '2'), {'os-extend': {'new_size': 2}}, 'size', 2),
        (('--bootable',), {'os-set_bootable': {'bootable': True}}, 'bootable', True),
        (('--read-only',), {'os-update_readonly_flag': {'readonly': True}}, 'properties', {'readonly': 'True'}),
        (('--read-write',), {'os-update_readonly_flag': {'readonly': False}}, 'properties', {'readonly': 'False'}),
        (
            ('--image-property', 'os=debian'),
            {'os-set_image_metadata': {'metadata': {'os': 'debian'}}},
            'volume_image_metadata',
            {'os': 'debian'},
        ),
    ],
)
def test_set_by_an_action(
    cloud: Cloud, volume: str, words: tuple[str, ...], body: object, field: str, value: object
) -> None:
    ident = cloud.show(volume)['id']
    done = cloud.openstack('volume', 'set', *words, volume)
    assert done.lines[-1] == f'POST /volumes/{ident}/action'
    assert done.exchanges[-1].body == body
    assert done.exchanges[-1].status in (200, 202)
    cloud.wait(volume, 'available')
    assert cloud.show(volume)[field] == value


def test_set_state(cloud: Cloud, volume: str) -> None:
    for state in ('error', 'available'):
        done = cloud.openstack('volume', 'set', '--state', state, volume)
        assert done.exchanges[-1].body == {'os-reset_status': {'status': state}}
        assert cloud.show(volume)['status'] == state


def test_retype(cloud: Cloud, volume: str) -> None:
    name = f'single-{uuid.uuid4()}'
    kind = cloud.openstack('volume', 'type', 'create', name, '-f', 'json').json['id']
    done = cloud.openstack('volume', 'set', '--type', name, volume)
    assert done.exchanges[-1].body == {'os-retype': {'new_type': kind, 'migration_policy': 'never'}}
    cloud.wait(volume, 'available')
    shown = cloud.show(volume)
    assert (shown['type'], shown['multiattach']) == (name, False)


def test_types(cloud: Cloud) -> None:
    name = f'type-{uuid.uuid4()}'
    created = cloud.openstack('volume', 'type', 'create', '--property', 'multiattach=<is> True', name, '-f', 'json')
    ident = created.json['id']
    assert created.lines == ['POST /types', f'POST /types/{ident}/extra_specs']
    assert created.exchanges[0].body == {'volume_type': {'name': name, 'description': None}}
    assert created.json == {
        'id': ident,
        'name': name,
        'description': None,
        'is_public': True,
        'properties': {'multiattach': '<is> True'},
    }

    listed = cloud.openstack('volume', 'type', 'list', '-f', 'json')
    assert [line.lower() for line in listed.lines] == ['get /types?is_public=none']
    assert {'ID': ident, 'Name': name, 'Is Public': True} in listed.json

    shown = cloud.openstack('volume', 'type', 'show', name, '-f', 'json')
    assert [exchange.path for exchange in shown.exchanges[:2]] == [f'/types/{name}', '/types']
    assert [exchange.status for exchange in shown.exchanges[:2]] == [404, 200]
    assert shown.json['properties'] == {'multiattach': '<is> True'}

    done = cloud.openstack('volume', 'type', 'set', '--property', 'color=red', name)
    assert done.lines[-1] == f'POST /types/{ident}/extra_specs'
    done = cloud.openstack('volume', 'type', 'unset', '--property', 'color', name)
    assert (done.lines[-1], done.exchanges[-1].status) == (f'DELETE /types/{ident}/extra_specs/color', 202)
    done = cloud.openstack('volume', 'type', 'delete', name)
    assert (done.lines[-1], done.exchanges[-1].status) == (f'DELETE /types/{ident}', 202)


def test_attachments(cloud: Cloud, volume: str) -> None:
    ident = cloud.show(volume)['id']
    created = cloud.openstack('volume', 'attachment', 'create', volume, compute_host.WEB, '-f', 'json')
    assert created.lines == [*find(volume), f'GET /compute/v2.1/servers/{compute_host.WEB}', 'POST /attachments']
    wanted = created.exchanges[-1].body['attachment']
    assert (wanted['connector'], wanted['volume_uuid'], wanted['instance_uuid']) == ({}, ident, compute_host.WEB)
    attachment = created.json['ID']
    assert created.json == {
        'ID': attachment,
        'Volume ID': ident,
        'Instance ID': compute_host.WEB,
        'Status': 'reserved',
        'Attach Mode': 'null',
        'Attached At': '',
        'Detached At': '',
        'Properties': {},
    }

    shown = cloud.openstack('volume', 'attachment', 'show', attachment, '-f', 'json')
    assert shown.lines == [f'GET /attachments/{attachment}']
    assert shown.json == created.json

    done = cloud.openstack(
        'volume',
        'attachment',
        'set',
        attachment,
        '--host',
        'one',
        '--initiator',
        'iqn.1994-05.com.example:one',
        '--ip',
        '192.0.2.1',
        '-f',
        'json',
    )
    assert done.lines == [f'PUT /attachments/{attachment}']
    assert (done.json['Status'], done.json['Attach Mode']) == ('attaching', 'rw')
    assert done.json['Properties']['driver_volume_type'] == 'iscsi'
    assert done.json['Properties']['access_mode'] == 'rw'

    done = cloud.openstack('volume', 'attachment', 'complete', attachment)
    assert done.lines == [f'POST /attachments/{attachment}/action']
    assert (done.exchanges[0].body, done.exchanges[0].status) == ({'os-complete': attachment}, 204)

    listed = cloud.openstack('volume', 'attachment', 'list', '-f', 'json')
    assert listed.lines == ['GET /attachments/detail?all_tenants=False']
    assert listed.json == [{'ID': attachment, 'Volume ID': ident, 'Server ID': compute_host.WEB, 'Status': 'attached'}]
    [row] = cloud.show(volume)['attachments']
    assert (row['server_id'], row['attachment_id'], row['host_name']) == (compute_host.WEB, attachment, 'one')

    second = cloud.openstack(
        'volume',
        'attachment',
        'create',
        volume,
        compute_host.DB,
        '--connect',
        '--host',
        'two',
        '--initiator',
        'iqn.1994-05.com.example:two',
        '--mode',
        'ro',
        '-f',
        'json',
    )
    assert (second.json['Status'], second.json['Attach Mode']) == ('attaching', 'ro')
    assert second.json['Properties']['access_mode'] == 'ro'
    assert cloud.show(volume)['status'] == 'in-use'

    for each in (attachment, second.json['ID']):
        done = cloud.openstack('volume', 'attachment', 'delete', each)
        assert (done.lines, done.exchanges[0].status) == ([f'DELETE /attachments/{each}'], 200)
    assert cloud.show(volume)['status'] == 'available'


@pytest.mark.parametrize('version', ['3.27', '3.44'])
def test_no_attachment_before_there_were_modes(cloud: Cloud, volume: str, version: str) -> None:
    """This client sends a mode of null below 3.54, where it is 400 (clients chapter 4)."""
    with pytest.raises(AssertionError, match='Invalid input for field/attribute attachment'):
        cloud.openstack('volume', 'attachment', 'create', volume, compute_host.WEB, version=version)
    exchange = cloud.recorder.exchanges[-1]
    assert (exchange.line, exchange.version, exchange.status) == ('POST /attachments', f'volume {version}', 400)
    assert exchange.body['attachment']['mode'] is None


def test_an_attachment_at_3_54(cloud: Cloud, volume: str) -> None:
    done = cloud.openstack('volume', 'attachment', 'create', volume, compute_host.WEB, '-f', 'json', version='3.54')
    exchange = done.find('POST /attachments')
    assert (exchange.version, exchange.status) == ('volume 3.54', 200)
    assert exchange.body['attachment'].get('mode') is None
    assert done.json['Attach Mode'] == 'null'


def test_servers_of_the_compute_endpoint(cloud: Cloud, volume: str) -> None:
    ident = cloud.show(volume)['id']
    done = cloud.openstack('server', 'add', 'volume', 'web', volume, '-f', 'json')
    assert f'POST /compute/v2.1/servers/{compute_host.WEB}/os-volume_attachments' in done.lines
    cloud.wait(volume, 'in-use')
    listed = cloud.openstack('server', 'volume', 'list', 'web', '-f', 'json').json
    assert [row['Volume ID'] for row in listed] == [ident]
    cloud.openstack('server', 'remove', 'volume', 'web', volume)
    cloud.wait(volume, 'available')


def test_services(cloud: Cloud) -> None:
    listed = cloud.openstack('volume', 'service', 'list', '-f', 'json')
    assert listed.lines[-1].startswith('GET /os-services')
    [row] = [row for row in listed.json if row['Binary'] == 'cinder-volume']
    assert (row['Host'], row['Zone'], row['Status'], row['State']) == ('testhost@file', 'nova', 'enabled', 'up')
    chosen = cloud.openstack(
        'volume', 'service', 'list', '--service', 'cinder-volume', '--host', 'testhost@file', '-f', 'json'
    )
    assert [row['Binary'] for row in chosen.json] == ['cinder-volume']
    done = cloud.openstack(
        'volume', 'service', 'set', '--disable', '--disable-reason', 'repair', 'testhost@file', 'cinder-volume'
    )
    assert done.exchanges[-1].path == '/os-services/disable-log-reason'
    listed = cloud.openstack('volume', 'service', 'list', '--long', '-f', 'json')
    [row] = [row for row in listed.json if row['Binary'] == 'cinder-volume']
    assert (row['Status'], row['Disabled Reason']) == ('disabled', 'repair')
    cloud.openstack('volume', 'service', 'set', '--enable', 'testhost@file', 'cinder-volume')


def test_limits_zones_summary_extensions(cloud: Cloud, volume: str) -> None:
    limits = cloud.openstack('availability', 'zone', 'list', '--volume', '-f', 'json')
    assert limits.lines == ['GET /os-availability-zone']
    assert limits.json == [{'Zone Name': 'nova', 'Zone Status': 'available'}]
    summary = cloud.openstack('volume', 'summary', '-f', 'json')
    assert {exchange.path for exchange in summary.exchanges} == {'/volumes/summary'}
    assert summary.json['Total Count'] >= 1
    assert summary.json['Total Size'] >= 1
    extensions = cloud.openstack('extension', 'list', '--volume', '-f', 'json')
    assert extensions.lines == ['GET /extensions']
    assert 'os-services' in {row['Alias'] for row in extensions.json}
    assert volume in {row['Name'] for row in cloud.openstack('volume', 'list', '-f', 'json').json}


def test_absolute_limits(cloud: Cloud, volume: str) -> None:
    done = cloud.openstack('limits', 'show', '--absolute', '-f', 'json')
    assert 'GET /limits' in done.lines
    shown = {row['Name']: row['Value'] for row in done.json}
    assert shown['max_total_volumes'] == -1
    assert shown['total_volumes_used'] == len(cloud.openstack('volume', 'list', '-f', 'json').json)
    assert volume


def test_transfers(cloud: Cloud, volume: str) -> None:
    ident = cloud.show(volume)['id']
    made = cloud.openstack(
        'volume', 'transfer', 'request', 'create', '--name', 'gift', '--no-snapshots', volume, '-f', 'json'
    )
    assert made.lines[-1] == 'POST /volume-transfers'
    assert made.exchanges[-1].body == {'transfer': {'volume_id': ident, 'name': 'gift', 'no_snapshots': True}}
    transfer, key = made.json['id'], made.json['auth_key']
    assert cloud.show(volume)['status'] == 'awaiting-transfer'
    listed = cloud.openstack('volume', 'transfer', 'request', 'list', '-f', 'json')
    assert listed.json == [{'ID': transfer, 'Name': 'gift', 'Volume': ident}]
    shown = cloud.openstack('volume', 'transfer', 'request', 'show', transfer, '-f', 'json').json
    assert (shown['name'], shown['volume_id']) == ('gift', ident)
    assert 'auth_key' not in shown
    done = cloud.openstack('volume', 'transfer', 'request', 'accept', '--auth-key', key, transfer, '-f', 'json')
    assert done.json['volume_id'] == ident
    cloud.wait(volume, 'available')
    again = cloud.openstack('volume', 'transfer', 'request', 'create', volume, '-f', 'json').json
    cloud.openstack('volume', 'transfer', 'request', 'delete', again['id'])
    cloud.wait(volume, 'available')
    assert cloud.openstack('volume', 'transfer', 'request', 'list', '-f', 'json').json == []


def test_manage_and_unmanage(cloud: Cloud, shared: str) -> None:
    name = f'there-{uuid.uuid4()}'
    ident = cloud.openstack('volume', 'create', '--size', '1', '--type', shared, name, '-f', 'json').json['id']
    cloud.wait(name, 'available')
    done = cloud.openstack('volume', 'delete', '--remote', name)
    assert done.exchanges[-1].body == {'os-unmanage': None}
    listed = cloud.openstack(
        'block', 'storage', 'volume', 'manageable', 'list', 'testhost@file', '--long', '-f', 'json', version='3.71'
    )
    assert f"{{'source-name': 'volume-{ident}'}}" in str(listed.json)
    again = cloud.openstack(
        'volume', 'create', '--remote-source', f'source-name=volume-{ident}', '--host', 'testhost@file',
        '--type', shared, name, '-f', 'json',
    )  # fmt: skip
    assert again.lines[-1] == 'POST /manageable_volumes'
    assert again.json['status'] == 'managing'
    cloud.wait(again.json['id'], 'available')
    cloud.openstack('volume', 'delete', name)


def test_manage_and_unmanage_snapshots(cloud: Cloud, shared: str) -> None:
    name = f'there-{uuid.uuid4()}'
    cloud.openstack('volume', 'create', '--size', '1', '--type', shared, name)
    cloud.wait(name, 'available')
    ident = cloud.openstack('volume', 'snapshot', 'create', '--volume', name, name, '-f', 'json').json['id']
    _await_snapshot(cloud, ident)
    done = cloud.openstack('volume', 'snapshot', 'delete', '--remote', name)
    assert done.exchanges[-1].body == {'os-unmanage': None}
    listed = cloud.openstack(
        'block', 'storage', 'snapshot', 'manageable', 'list', 'testhost@file', '--long', '-f', 'json', version='3.71'
    )
    assert f"{{'source-name': 'snapshot-{ident}'}}" in str(listed.json)
    again = cloud.openstack(
        'volume', 'snapshot', 'create', '--volume', name, '--remote-source', f'source-name=snapshot-{ident}', name,
        '-f', 'json',
    )  # fmt: skip
    assert again.lines[-1] == 'POST /manageable_snapshots'
    _await_snapshot(cloud, again.json['id'])
    cloud.openstack('volume', 'snapshot', 'delete', again.json['id'])


def _await_snapshot(cloud: Cloud, ident: str) -> None:
    def is_available() -> bool:
        shown = cloud.openstack('volume', 'snapshot', 'show', ident, '-f', 'json')
        return bool(shown.json['status'] == 'available')

    wait_until(is_available, 30, 'a snapshot')


def test_what_is_not_offered(cloud: Cloud, volume: str) -> None:
    assert cloud.openstack('volume', 'backup', 'list', '-f', 'json').json == []
    with pytest.raises(AssertionError, match='does not offer it'):
        cloud.openstack('volume', 'backup', 'create', volume)
