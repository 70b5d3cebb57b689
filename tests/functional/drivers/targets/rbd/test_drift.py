# SPDX-License-Identifier: Apache-2.0
"""Users of a pool compared with the rows, and put right."""

import uuid

from tests.deployments.noauth import HEADERS

from .cloud import make_connector


def reconcile(cloud, fix):
    return sorted({one['kind'] for one in cloud.deployed.reconciler.reconcile(fix)['findings']})


def test_a_user_that_is_gone_comes_back_with_the_key_that_its_host_has(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    name = one['connection_info']['auth_username']
    cloud.ceph.ask('auth rm', entity=f'client.{name}')
    assert reconcile(cloud, False) == ['no_account', 'shut_out']
    reconcile(cloud, True)
    assert reconcile(cloud, False) == []
    with cloud.connect(one['connection_info']) as io, cloud.rbd.Image(io, f'volume-{volume_id}') as image:
        image.write(b'x', 0)
    # Also if somebody made it anew, with another key.
    cloud.ceph.ask('auth rm', entity=f'client.{name}')
    caps = [word for pair in cloud.list_users()[two['connection_info']['auth_username']].items() for word in pair]
    cloud.ceph.ask('auth get-or-create', entity=f'client.{name}', caps=caps)
    cloud.deployed.exporter.restore()
    with cloud.connect(one['connection_info']):
        pass


def test_a_user_that_no_attachment_has_is_removed_and_what_it_runs_is_cut_off(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one = cloud.attach(volume_id, make_connector('a'))
    stray = cloud.deployed.target._users.make(str(uuid.uuid4()), f'volume-{volume_id}', read_only=False)
    mine = cloud.write(one['connection_info'])
    info = one['connection_info'] | {'auth_username': stray.name, 'keyring': stray.keyring}
    theirs = cloud.write(info, 1 << 20)
    assert reconcile(cloud, False) == ['account', 'admitted', 'session']
    reconcile(cloud, True)
    assert reconcile(cloud, False) == []
    cloud.deployed.wait(lambda: theirs.process.poll() is not None, 60)
    assert theirs.error
    mine.go_on()


def test_users_of_a_volume_that_is_deleted_go_with_it(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    cloud.deployed.target._users.make(str(uuid.uuid4()), f'volume-{volume_id}', read_only=False)
    cloud.app.delete(f'/v3/volumes/{volume_id}', headers=HEADERS)
    cloud.deployed.wait(lambda: cloud.deployed.status(volume_id) is None)
    assert cloud.list_users() == {}
