# SPDX-License-Identifier: Apache-2.0
"""Each call of Nova's client of the Block Storage service, and what Nova reads from its reply."""

import uuid

import pytest

from tests.nova.client import Nova
from tests.nova.clouds import Cloud, opens
from tests.nova.conftest import initiator, make_connector

_KEYS = {
    'id',
    'status',
    'size',
    'availability_zone',
    'created_at',
    'attach_time',
    'mountpoint',
    'multiattach',
    'attach_status',
    'display_name',
    'display_description',
    'volume_type_id',
    'snapshot_id',
    'bootable',
    'volume_metadata',
}
_DATA = {
    'target_discovered',
    'target_iqn',
    'target_portal',
    'target_lun',
    'volume_id',
    'auth_method',
    'auth_username',
    'auth_password',
    'access_mode',
    'encrypted',
    'cacheable',
    'enforce_multipath',
    'qos_specs',
}


@pytest.mark.parametrize(('kind', 'multiattach'), [('single', False), ('shared', True)])
def test_get(nova: Nova, request: pytest.FixtureRequest, kind: str, multiattach: bool) -> None:
    volume_id = request.getfixturevalue(kind)
    volume = nova.call('get', volume_id)
    assert set(volume) >= _KEYS
    assert (volume['id'], volume['status'], volume['size']) == (volume_id, 'available', 1)
    assert volume['multiattach'] is multiattach
    assert (volume['attach_status'], volume['bootable']) == ('detached', False)
    assert (volume['volume_metadata'], volume['snapshot_id']) == ({}, None)
    assert volume['availability_zone'] == 'nova'
    assert 'attachments' not in volume
    assert 'shared_targets' not in volume


@pytest.mark.parametrize('microversion', ['3.48', '3.69'])
def test_get_tells_whether_os_brick_is_to_lock(nova: Nova, single: str, microversion: str) -> None:
    volume = nova.call('get', single, microversion=microversion)
    assert volume['shared_targets'] is False
    uuid.UUID(volume['service_uuid'])


def test_get_of_a_shared_volume_names_each_server(nova: Nova, shared: str) -> None:
    servers = [str(uuid.uuid4()) for _ in range(2)]
    attachments = {}
    for number, server in enumerate(servers):
        attachments[server] = nova.call(
            'attachment_create', shared, server, connector=make_connector(f'host{number}'), mountpoint='/dev/vdc'
        )['id']
        nova.call('attachment_complete', attachments[server])
    volume = nova.call('get', shared)
    assert (volume['status'], volume['attach_status']) == ('in-use', 'attached')
    assert volume['attachments'] == {
        server: {'attachment_id': ident, 'mountpoint': '/dev/vdc'} for server, ident in attachments.items()
    }
    for ident in attachments.values():
        nova.call('attachment_delete', ident)


def test_get_all(nova: Nova, single: str, shared: str) -> None:
    volumes = {volume['id']: volume for volume in nova.call('get_all')}
    assert set(volumes) >= {single, shared}
    assert set(volumes[shared]) >= _KEYS
    assert nova.call('get_all', search_opts={'status': 'deleting'}) == []


def test_create_and_delete(cloud: Cloud, nova: Nova) -> None:
    type_id = cloud.get_type(True)
    made = nova.call(
        'create', 1, 'root', 'of a server', volume_type=type_id, metadata={'a': 'b'}, availability_zone='nova'
    )
    assert set(made) >= _KEYS
    assert (made['display_name'], made['display_description']) == ('root', 'of a server')
    assert (made['volume_metadata'], made['multiattach']) == ({'a': 'b'}, True)
    cloud.service.wait(lambda: nova.call('get', made['id'])['status'] == 'available')
    nova.call('delete', made['id'])
    cloud.service.wait(lambda: made['id'] not in {volume['id'] for volume in nova.call('get_all')})


def test_create_with_what_nova_leaves_out(cloud: Cloud, nova: Nova) -> None:
    made = nova.call('create', 1, '', '')
    assert (made['display_name'], made['display_description']) == ('', '')
    assert made['volume_type_id']
    cloud.service.wait(lambda: nova.call('get', made['id'])['status'] == 'available')
    cloud.delete_volume(made['id'])


def test_an_attachment_is_reserved_without_a_connector(nova: Nova, single: str, server: str) -> None:
    made = nova.call('attachment_create', single, server)
    assert made == {
        'id': made['id'],
        'status': 'reserved',
        'instance': server,
        'volume_id': single,
        'attached_at': '',
        'detached_at': '',
        'attach_mode': made['attach_mode'],
        'connection_info': {},
    }
    assert nova.call('get', single)['status'] == 'reserved'
    nova.call('attachment_delete', made['id'])


def test_connection_info_is_nested_again(nova: Nova, shared: str, server: str) -> None:
    ident = nova.call('attachment_create', shared, server)['id']
    updated = nova.call('attachment_update', ident, make_connector('one'), '/dev/vdb')
    info = updated['connection_info']
    assert (updated['id'], info['driver_volume_type']) == (ident, 'iscsi')
    assert set(info['data']) == _DATA
    assert info['data']['volume_id'] == shared
    assert isinstance(info['data']['target_lun'], int)
    assert (info['data']['access_mode'], info['data']['encrypted']) == ('rw', False)
    assert info['data']['target_discovered'] is False
    assert (info['instance'], info['volume_id'], info['detached_at']) == (server, shared, '')
    assert opens(info, initiator('one'))
    assert not opens(info, initiator('two'))
    shown = nova.call('attachment_get', ident)['connection_info']
    assert shown['data'] == info['data']
    nova.call('attachment_delete', ident)
    assert not opens(info, initiator('one'))


def test_multipath_gets_lists(nova: Nova, shared: str, server: str) -> None:
    ident = nova.call('attachment_create', shared, server)['id']
    wanted = {**make_connector('one'), 'multipath': True}
    data = nova.call('attachment_update', ident, wanted, '/dev/vdb')['connection_info']['data']
    assert data['target_portals'] == [data['target_portal']]
    assert data['target_iqns'] == [data['target_iqn']]
    assert data['target_luns'] == [data['target_lun']]
    nova.call('attachment_delete', ident)


def test_attachment_get_all(nova: Nova, single: str, shared: str, server: str) -> None:
    idents = {volume: nova.call('attachment_create', volume, server)['id'] for volume in (single, shared)}
    other = nova.call('attachment_create', shared, str(uuid.uuid4()))['id']
    mine = nova.call('attachment_get_all', instance_id=server)
    assert {found['id'] for found in mine} == set(idents.values())
    assert {found['volume_id'] for found in mine} == {single, shared}
    both = nova.call('attachment_get_all', volume_id=shared)
    assert {found['id'] for found in both} == {idents[shared], other}
    one = nova.call('attachment_get_all', instance_id=server, volume_id=shared)
    assert [found['id'] for found in one] == [idents[shared]]
    for ident in (*idents.values(), other):
        nova.call('attachment_delete', ident)
    assert nova.call('attachment_get_all', instance_id=server) == []


def test_begin_and_roll_detaching(nova: Nova, single: str, server: str) -> None:
    ident = nova.call('attachment_create', single, server, connector=make_connector('one'))['id']
    nova.call('attachment_complete', ident)
    nova.call('begin_detaching', single)
    assert nova.call('get', single)['status'] == 'detaching'
    nova.call('roll_detaching', single)
    assert nova.call('get', single)['status'] == 'in-use'
    nova.call('attachment_delete', ident)


def test_absolute_limits(nova: Nova, single: str) -> None:
    limits = nova.call('get_absolute_limits')
    # what Nova's own /limits and quota checks of snapshots read
    assert {
        'maxTotalSnapshots',
        'totalSnapshotsUsed',
        'maxTotalVolumeGigabytes',
        'totalGigabytesUsed',
        'maxTotalVolumes',
        'totalVolumesUsed',
    } <= set(limits)
    assert limits['totalVolumesUsed'] >= 1
    assert limits['totalSnapshotsUsed'] == 0


def test_volume_types(cloud: Cloud, nova: Nova) -> None:
    type_id = cloud.get_type(True)
    assert {'id': type_id, 'name': 'shared'} in nova.call('get_all_volume_types')


def test_no_snapshots(nova: Nova) -> None:
    assert nova.call('get_all_snapshots') == []


def test_no_encryption(nova: Nova, single: str) -> None:
    assert not nova.call('get_volume_encryption_metadata', single).get('encryption_key_id')


def test_nova_asks_for_itself_without_a_users_token(nova: Nova, single: str, server: str) -> None:
    """Periodic tasks have no user: Nova's own account is taken."""
    ident = nova.call('attachment_create', single, server)['id']
    assert nova.call('get', single, who=None)['status'] == 'reserved'
    assert nova.call('attachment_get', ident, who=None)['id'] == ident
    nova.call('attachment_delete', ident, who=None)
    assert nova.call('get', single)['status'] == 'available'
