# SPDX-License-Identifier: Apache-2.0
"""The native way against callers who may not, and a Ceph that does not answer."""

import contextlib
import logging
import os
import pathlib
import subprocess
import sys
import uuid

import pytest
import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.ceph.pool import MONITORS
from tests.deployments.noauth import PROJECT
from tests.functional.personas import Personas
from tests.testbed import constraints
from tests.testbed.polling import wait_until

from .cloud import deploy_on, make_connector, make_options

SHORT = 3


@pytest.fixture
def hasty(ceph, tmp_path):
    """A cloud that soon takes Ceph for silent."""
    rules = LeaseRules(duration=5.0, pause=1.0)
    with deploy_on(ceph, tmp_path, rados_connect_timeout=SHORT, lease_rules=rules) as made:
        yield made


def ask_as(cloud, roles, method, path, body=None, project=PROJECT):
    app = webtest.TestApp(deploy.make_application(cloud.deployed.engine, ApiSettings(), authenticate=Personas))
    headers = {'X-Roles': roles, 'X-Project-Id': project, 'OpenStack-API-Version': 'volume 3.71'}
    more = {} if body is None else {'params': body}
    call = app.get if method == 'GET' else app.post_json
    return call(f'/v3{path}', headers=headers, expect_errors=True, **more)


def test_a_key_is_told_to_who_connects_and_nobody_else(cloud, caplog):
    caplog.set_level(logging.DEBUG)
    volume_id = cloud.deployed.make_volume('multi')
    wish = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': make_connector('a')}
    reply = ask_as(cloud, 'member', 'POST', '/attachments', {'attachment': wish})
    assert reply.status_code == 200
    made = reply.json['attachment']
    key = made['connection_info']['keyring'].split('key = ')[1].strip()
    ask_as(cloud, 'member', 'POST', f'/attachments/{made["id"]}/action', {'os-complete': None})
    for roles in ('reader', 'member,reader'):
        for path in (
            f'/attachments/{made["id"]}',
            '/attachments/detail',
            f'/volumes/{volume_id}',
            f'/multiattach/attachments/{made["id"]}/explain',
            f'/multiattach/volumes/{volume_id}/explain',
        ):
            found = ask_as(cloud, roles, 'GET', path)
            assert found.status_code == 200, (path, found.text)
            assert key not in found.text, path
            assert 'keyring' not in found.text, path
    assert ask_as(cloud, 'reader', 'POST', '/attachments', {'attachment': wish}).status_code == 403
    stranger = ask_as(cloud, 'member', 'POST', '/attachments', {'attachment': wish}, 'f' * 32)
    assert stranger.status_code == 404
    assert set(cloud.list_users()) == {made['connection_info']['auth_username']}
    cloud.ask('post_json', f'/v3/multiattach/attachments/{made["id"]}/fence', {'fence': {}})
    assert key not in caplog.text


def test_a_reader_and_a_writer_of_one_host_have_each_what_they_were_given(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    writes, reads = (cloud.attach(volume_id, make_connector('a'), mode) for mode in ('rw', 'ro'))
    name = f'volume-{volume_id}'
    with cloud.connect(writes['connection_info']) as mine, cloud.connect(reads['connection_info']) as theirs:
        with cloud.rbd.Image(mine, name) as image:
            image.write(b'once' * 1024, 0)
        with cloud.rbd.Image(theirs, name, read_only=True) as image:
            assert image.read(0, 4) == b'once'
        with pytest.raises(cloud.rbd.Error), cloud.rbd.Image(theirs, name) as image:
            image.write(b'more' * 1024, 0)
        for forbidden in (
            lambda: cloud.rbd.RBD().remove(theirs, name),
            lambda: cloud.rbd.RBD().create(mine, 'another', 1 << 20, old_format=False),
            lambda: cloud.rbd.RBD().rename(mine, name, 'mine'),
            lambda: mine.write_full('rbd_directory', b''),
        ):
            with pytest.raises((cloud.rbd.Error, cloud.rados.Error)):
                forbidden()
    with cloud.ceph.open_pool(cloud.pool) as io, cloud.rbd.Image(io, name) as image:
        assert image.read(0, 4) == b'once'


def test_a_key_opens_no_door_of_the_monitors(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    info = cloud.attach(volume_id, make_connector('a'))['connection_info']
    with cloud.connect(info):
        pass
    keyring = cloud.folder / 'stolen'
    keyring.write_text(info['keyring'])
    for command in (
        'auth ls',
        f'auth get client.{cloud.pool}',
        'osd blocklist add 192.0.2.1:0/0',
        'osd blocklist clear',
        f'osd pool set {cloud.pool} size 1',
        f'auth get-or-create client.multiattach-{uuid.uuid4()} mon "allow r"',
    ):
        argv = (
            f'ceph -c {cloud.ceph.conf} -n client.{info["auth_username"]} -k {keyring} --connect-timeout 20 {command}'
        )
        done = subprocess.run(['sh', '-c', argv], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode, (command, done.stdout)


@pytest.mark.parametrize('daemon', ['osd.0', pytest.param('mon.a', marks=pytest.mark.slow)])
def test_an_attach_that_ceph_does_not_answer_is_made_when_it_does(hasty, daemon):
    volume_id = hasty.deployed.make_volume('multi')
    wish = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': make_connector('a')}
    with hasty.ceph.frozen(daemon):
        reply = hasty.ask('post_json', '/v3/attachments', {'attachment': wish}, status=504)
        assert 'Ceph' in str(reply)
    [found] = hasty.ask('get', f'/v3/attachments/detail?volume_id={volume_id}')['attachments']

    def show():
        return hasty.ask('get', f'/v3/attachments/{found["id"]}')['attachment']['connection_info']

    wait_until(lambda: show().get('keyring'), 90, 'the attachment that was asked for', 0.2)
    assert set(hasty.list_users()) == {show()['auth_username']}
    hasty.write(show()).go_on()
    assert hasty.deployed.reconciler.reconcile(False)['findings'] == []


@pytest.mark.parametrize('daemon', ['mon.a', pytest.param('osd.0', marks=pytest.mark.slow)])
def test_a_fence_that_ceph_does_not_answer_is_unknown_and_carried_on(hasty, daemon):
    volume_id = hasty.deployed.make_volume('multi')
    one, two = (hasty.attach(volume_id, make_connector('a')) for _ in range(2))
    fenced, other = hasty.write(one['connection_info']), hasty.write(two['connection_info'], 1 << 20)
    path = f'/v3/multiattach/attachments/{one["id"]}/fence'
    with hasty.ceph.frozen(daemon):
        answer = hasty.ask('post_json', path, {'fence': {}}, status='*')
        assert 'proof' not in str(answer) or answer['fence']['attachments'][0]['proof'] is None
        assert fenced.process.poll() is None
    wait_until(lambda: fenced.process.poll() is not None, 90, 'the end of the fenced one', 0.2)
    [done] = hasty.ask('post_json', path, {'fence': {}})['fence']['attachments']
    assert done['fenced']
    other.go_on()
    assert set(hasty.list_users()) == {two['connection_info']['auth_username']}


def run_check(config, metadata):
    path = os.pathsep.join([str(metadata), os.environ.get('PYTHONPATH', '')])
    argv = [str(pathlib.Path(sys.executable).parent / 'multiattach-manage'), '--config-file', str(config)]
    done = subprocess.run(
        [*argv, 'config', 'check', '--connect'],
        env={**os.environ, 'PYTHONPATH': path, 'PYTHONWARNINGS': 'ignore'},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ' '.join((done.stdout + done.stderr).split())


@pytest.mark.parametrize('missing', ['sessions', 'auth get-or-create', 'osd blocklist'])
def test_a_capability_that_is_missing_is_found_before_programs_start(ceph, tmp_path, missing):
    name = f'c{uuid.uuid4().hex[:8]}'
    with contextlib.ExitStack() as stack:
        options = make_options(ceph, name)
        stack.callback(ceph.remove_pool, name)
        config, metadata = tmp_path / 'multiattach.conf', tmp_path / 'metadata'
        constraints.write_metadata(metadata)
        config.write_text(
            f'[DEFAULT]\ntransport_url = inproc://\nstate_path = {tmp_path}\n'
            f'[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n[volume]\nenabled_backends = fast\n'
            f'[fast]\ndriver = rbd\ntarget_driver = rbd\nrbd_pool = {name}\nrbd_user = {name}\n'
            f'rbd_ceph_conf = {options.rbd_ceph_conf}\nrados_connect_timeout = 10\n'
        )
        assert '[fast]' not in run_check(config, metadata)
        parts = [part for part in MONITORS.split(', ') if missing not in part]
        assert len(parts) < len(MONITORS.split(', '))
        ceph.ask(
            'auth caps', entity=f'client.{name}', caps=['mon', ', '.join(parts), 'osd', f'profile rbd pool={name}']
        )
        said = run_check(config, metadata)
        assert f'[fast] client.{name} has no capability for "{missing}' in said
        assert f'ceph auth caps client.{name}' in said
