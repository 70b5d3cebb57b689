# SPDX-License-Identifier: Apache-2.0
"""Fences that Ceph keeps: under write load, of one attachment, of a host, and of many at once."""

import datetime
import time

import pytest

from multiattach.db import models
from multiattach.domain import errors
from multiattach.drivers.ceph.blocklist import Blocklist
from multiattach.drivers.targets.rbd.cuts import Cuts

from .cloud import deploy_on, make_connector
from .writer import BLOCK


def fence(cloud, ident):
    (found,) = cloud.ask('post_json', f'/v3/multiattach/attachments/{ident}/fence', {'fence': {}})['fence'][
        'attachments'
    ]
    assert found['fenced']
    return found['proof']


def read_block(cloud, volume_id, offset):
    """Read the number that a writer wrote last."""
    with cloud.ceph.open_pool(cloud.pool) as io, cloud.rbd.Image(io, f'volume-{volume_id}', read_only=True) as image:
        return int(image.read(offset, BLOCK)[:16])


def test_nothing_of_the_fenced_one_lands_after_the_answer_and_the_other_one_writes_on(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    fenced, other = cloud.write(one['connection_info']), cloud.write(two['connection_info'], 1 << 20)
    before = time.monotonic()
    proof = fence(cloud, one['id'])
    answered = time.monotonic()
    last = read_block(cloud, volume_id, 0)
    other.go_on()
    cloud.deployed.wait(lambda: fenced.process.poll() is not None, 60)
    acknowledged = fenced.read()
    assert fenced.error
    assert acknowledged[-1][1] < answered
    assert read_block(cloud, volume_id, 0) == last  # one may have landed whose answer did not
    assert last in (acknowledged[-1][0], acknowledged[-1][0] + 1)
    other.go_on()
    print(f'fenced in {answered - before:.2f} s')

    name = one['connection_info']['auth_username']
    assert proof['initiator'] == name
    assert proof['scope'] == 'user'
    assert proof['cut']['account']
    assert [session['initiator'] for session in proof['cut']['sessions']] == [name]
    assert proof['left'] == {'acl': False, 'account': False, 'sessions': []}
    ceph = proof['ceph']
    assert (ceph['user'], ceph['key'], ceph['osds'], ceph['osds_down']) == (f'client.{name}', 'removed', [0], [])
    address = proof['cut']['sessions'][0]['address']
    assert list(ceph['blocklist']) == [address]
    (entry,) = cloud.deployed.worker._blocklist._rows.list_entries()
    assert (entry.address, entry.reason.owner, entry.reason.volume_id) == (address, name, volume_id)
    assert entry.is_needed
    until = datetime.datetime.fromisoformat(ceph['blocklist'][address])
    assert until > models.now() + datetime.timedelta(minutes=30)
    assert address not in ceph['watchers_left']
    assert len(ceph['watchers_left']) == 1  # the other one's
    # It cannot come back with what it has.
    with pytest.raises(cloud.rados.Error), cloud.connect(one['connection_info']):
        pass
    shown = cloud.ask('get', f'/v3/multiattach/targets/{volume_id}')['target']
    assert shown['initiators'] == [two['connection_info']['auth_username']]


def test_a_client_that_died_is_cut_off_too(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    dead, other = cloud.write(one['connection_info']), cloud.write(two['connection_info'], 1 << 20)
    cloud.deployed.target.list_exports()  # as a round of the worker does
    dead.stop()  # Ceph calls it a watcher for 30 s
    proof = fence(cloud, one['id'])
    assert [each['initiator'] for each in proof['cut']['sessions']] == [one['connection_info']['auth_username']]
    other.go_on()


def test_a_reader_is_cut_off_though_it_is_no_watcher(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    info = cloud.attach(volume_id, make_connector('a'), 'ro')
    name = f'volume-{volume_id}'
    with cloud.connect(info['connection_info']) as io, cloud.rbd.Image(io, name, read_only=True) as image:
        image.read(0, BLOCK)
        proof = fence(cloud, info['id'])
        assert len(proof['cut']['sessions']) == 1
        with pytest.raises(cloud.rbd.Error):
            image.read(0, BLOCK)


def test_a_second_fence_looks_again(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one = cloud.attach(volume_id, make_connector('a'))
    writer = cloud.write(one['connection_info'])
    first = fence(cloud, one['id'])
    again = fence(cloud, one['id'])
    assert again['cut'] == first['cut']
    assert again['verified_at'] > first['verified_at']
    writer.stop()
    cloud.detach(one['id'])
    assert cloud.deployed.status(volume_id) == 'available'


def test_of_the_operator_s_user_watchers_at_the_host_s_address_are_cut_and_the_key_stays(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    mine = cloud.attach(volume_id, make_connector('agent'))
    nova = cloud.attach(volume_id, {'host': 'n', 'ip': '127.0.0.1', 'initiator': 'iqn.1994-05.com.redhat:n'})
    keyring = (cloud.ceph.folder / f'client.{cloud.pool}.keyring').read_text()
    writer = cloud.write(nova['connection_info'], keyring=keyring)
    other = cloud.write(mine['connection_info'], 1 << 20)  # of the same address
    proof = fence(cloud, nova['id'])
    assert proof['scope'] == 'initiator'
    assert len(proof['cut']['sessions']) == 1
    assert (proof['ceph']['user'], proof['ceph']['key']) == (f'client.{cloud.pool}', 'kept')
    cloud.deployed.wait(lambda: writer.process.poll() is not None, 60)
    other.go_on()
    # Which is what it does not promise.
    cloud.write(nova['connection_info'], keyring=keyring)


@pytest.mark.parametrize('each', [5, pytest.param(50, marks=pytest.mark.slow)])
def test_many_fences_wait_for_one_map(ceph, tmp_path, monkeypatch, each):
    waits, looks = [], []
    settle, read = Blocklist.settle, Cuts.read_sessions
    monkeypatch.setattr(Blocklist, 'settle', lambda *args: waits.append(1) or settle(*args))
    monkeypatch.setattr(Cuts, 'read_sessions', lambda *args: looks.append(1) or read(*args))
    with deploy_on(ceph, tmp_path, report_interval=3600) as cloud:  # the worker's own round would help
        volumes = [cloud.deployed.make_volume('multi') for _ in range(4)]
        rows = [cloud.attach(volume_id, make_connector('a')) for volume_id in volumes for _ in range(each)]
        writers = [cloud.write(rows[number]['connection_info'], 1 << 20) for number in (0, -1)]
        looks.clear()
        answer = cloud.ask('post_json', '/v3/multiattach/hosts/a/fence', {'fence': {}})
        assert [one['error'] for one in answer['fence']['attachments']] == [None] * len(rows)
        assert answer['fence']['complete']
        assert (len(waits), len(looks)) == (1, 3)
        assert cloud.list_users() == {}
        for one in writers:
            cloud.deployed.wait(lambda one=one: one.process.poll() is not None, 60)


def test_a_key_that_comes_back_while_it_is_cut_off_is_no_success(cloud, monkeypatch):
    volume_id = cloud.deployed.make_volume('multi')
    one = cloud.attach(volume_id, make_connector('a'))
    users = cloud.deployed.target._users
    remove = users.remove

    def put_back(*attachment_ids):
        remove(*attachment_ids)
        users.make(attachment_ids[0], f'volume-{volume_id}', read_only=False)

    monkeypatch.setattr(users, 'remove', put_back)
    with pytest.raises(errors.MultiattachError, match='still has an account'):
        cloud.deployed.fencer.fence(volume_id, one['id']) if _begin(cloud, one['id']) else None
    monkeypatch.undo()
    cloud.deployed.exporter.resume()
    assert cloud.list_users() == {}


def _begin(cloud, ident):
    cloud.deployed.engine.fences._begin(cloud.deployed.ctx, ident, force=False)
    return True


def test_a_host_that_was_never_in_is_cut_off_as_well(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one = cloud.attach(volume_id, make_connector('a'))
    proof = fence(cloud, one['id'])
    assert proof['cut']['sessions'] == []
    assert proof['ceph']['blocklist'] == {}
