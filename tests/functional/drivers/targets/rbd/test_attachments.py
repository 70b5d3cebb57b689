# SPDX-License-Identifier: Apache-2.0
"""The native way over REST, with a worker and a real Ceph."""

import pytest

from .cloud import SECRET_UUID, make_connector


def test_each_attachment_has_a_user_of_its_own_that_reaches_its_image(cloud):
    volume_id, other = (cloud.deployed.make_volume('multi') for _ in range(2))
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))  # two servers of one host
    info = one['connection_info']
    assert {key: info[key] for key in info if key not in ('keyring', 'attachment_id')} == {
        'driver_volume_type': 'rbd',
        'name': f'{cloud.pool}/volume-{volume_id}',
        'cluster_name': 'ceph',
        'hosts': ['127.0.0.1'],
        'ports': info['ports'],
        'auth_enabled': True,
        'auth_username': f'multiattach-{one["id"]}',
        'secret_type': 'ceph',
        'secret_uuid': one['id'],
        'discard': True,
        'access_mode': 'rw',
        'volume_id': volume_id,
        'encrypted': False,
        'cacheable': False,
        'qos_specs': None,
    }
    assert info['ports'][0] in cloud.ceph.conf.read_text()
    assert set(cloud.list_users()) == {f'multiattach-{ident}' for ident in (one['id'], two['id'])}
    with cloud.connect(info) as mine, cloud.connect(two['connection_info']) as theirs:
        with cloud.rbd.Image(mine, f'volume-{volume_id}') as image:
            image.write(b'shared' * 512, 0)
        with cloud.rbd.Image(theirs, f'volume-{volume_id}') as image:
            assert image.read(0, 6) == b'shared'
        with pytest.raises(cloud.rbd.PermissionError):
            cloud.rbd.Image(mine, f'volume-{other}')
    cloud.detach(one['id'])
    assert set(cloud.list_users()) == {f'multiattach-{two["id"]}'}
    with pytest.raises(cloud.rados.Error), cloud.connect(info):
        pass
    cloud.detach(two['id'])
    assert cloud.list_users() == {}
    assert cloud.deployed.status(volume_id) == 'available'


def test_who_may_only_read_cannot_write(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    info = cloud.attach(volume_id, make_connector('a'), 'ro')['connection_info']
    assert info['access_mode'] == 'ro'
    with cloud.connect(info) as io:
        with cloud.rbd.Image(io, f'volume-{volume_id}', read_only=True) as image:
            assert image.read(0, 4) == bytes(4)
            ident = image.id()
        with pytest.raises(cloud.rados.Error):
            io.write_full(f'rbd_data.{ident}.{0:016x}', b'x')
        # Into the header it may: QEMU watches it (users.describe_capabilities).
        for other in (f'rbd_id.volume-{volume_id}', 'rbd_directory'):
            with pytest.raises(cloud.rados.Error):
                io.write_full(other, b'x')


def test_nova_is_told_of_the_operator_s_user_and_of_no_key(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    connector = {'host': 'n', 'ip': '192.0.2.7', 'initiator': 'iqn.1994-05.com.redhat:n', 'multipath': False}
    found = cloud.attach(volume_id, connector)
    info = found['connection_info']
    assert (info['auth_username'], info['secret_uuid']) == (cloud.pool, SECRET_UUID)
    assert 'keyring' not in info
    assert cloud.list_users() == {}
    assert cloud.deployed.reconciler.reconcile(False)['findings'] == []
    cloud.detach(found['id'])
    assert cloud.deployed.status(volume_id) == 'available'


@pytest.mark.parametrize('connector', [{'host': 'a'}, {'host': 'a', 'ip': 'here'}])
def test_a_host_without_an_address_is_refused(cloud, connector):
    volume_id = cloud.deployed.make_volume('multi')
    fault = cloud.attach(volume_id, connector, status=400)
    assert '"ip" (the address from which the host reaches Ceph) is required' in fault['badRequest']['message']
    assert cloud.deployed.status(volume_id) == 'available'


def test_what_is_shown_is_what_ceph_has(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one = cloud.attach(volume_id, make_connector('a'))
    name = one['connection_info']['auth_username']
    with cloud.connect(one['connection_info']) as io, cloud.rbd.Image(io, f'volume-{volume_id}'):
        shown = cloud.ask('get', f'/v3/multiattach/targets/{volume_id}')['target']
        assert [each['initiator'] for each in shown['sessions']] == [name]
    print(shown)
    assert cloud.deployed.reconciler.reconcile(False)['findings'] == []
