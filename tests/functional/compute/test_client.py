# SPDX-License-Identifier: Apache-2.0
"""The standard client with the clouds.yaml that multiattach-standalone writes, and no other option."""

import json
import os
import subprocess
import sys

import pytest

from multiattach.cmd import clouds
from multiattach.cmd.server import HttpServer


@pytest.fixture
def openstack(application, tmp_path):
    server = HttpServer(application, '127.0.0.1', 0, 8)
    server.start()
    path = tmp_path / 'clouds.yaml'
    path.write_text(clouds.render_clouds_yaml(f'http://127.0.0.1:{server.port}'))
    environ = {key: value for key, value in os.environ.items() if not key.startswith('OS_')}
    environ |= {'OS_CLIENT_CONFIG_FILE': str(path), 'PYTHONWARNINGS': 'ignore'}

    def run(*args, fails=False, shows=True):
        done = subprocess.run(
            [
                sys.executable,
                '-m',
                'openstackclient.shell',
                '--os-cloud',
                'multiattach',
                *args,
                *(['-f', 'json'] if shows and not fails else []),
            ],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode != 0) == fails, done.stderr
        if fails:
            return done.stderr
        return json.loads(done.stdout) if shows else done.stdout

    yield run
    server.stop()


def test_volumes_and_servers_with_one_cloud(openstack, call):
    servers = {row['Name']: row for row in openstack('server', 'list')}
    assert set(servers) == {'web', 'db', 'idle'}
    assert servers['idle']['Status'] == 'SHUTOFF'
    openstack('volume', 'type', 'create', '--property', 'multiattach=<is> True', 'multi')
    volume = openstack('volume', 'create', '--size', '1', '--type', 'multi', 'shared')['id']
    call.deployed.wait(lambda: call.deployed.status(volume) == 'available')

    refusal = openstack('--os-compute-api-version', '2.59', 'server', 'add', 'volume', 'web', 'shared', fails=True)
    assert 'only supported starting with compute API version 2.60' in refusal
    added = openstack('--os-compute-api-version', '2.60', 'server', 'add', 'volume', 'web', 'shared')
    assert added['Device'] == '/dev/vdb'
    added = openstack('server', 'add', 'volume', '--tag', 'data', 'db', 'shared')  # 2.89 of the cloud
    assert (added['Device'], added['Tag'], added['Delete On Termination']) == ('/dev/vdc', 'data', False)
    call.wait_for(volume, 'attached', 'attached')

    attachments = openstack('volume', 'show', '-c', 'attachments', 'shared')['attachments']
    assert {(row['server_id'], row['device']) for row in attachments} == {
        (servers['web']['ID'], '/dev/vdb'),
        (servers['db']['ID'], '/dev/vdc'),
    }
    shown = openstack('server', 'show', 'db')
    assert [row['id'] for row in shown['volumes_attached']] == [volume]
    (listed,) = openstack('server', 'volume', 'list', 'db')
    assert listed['Volume ID'] == volume
    assert listed['Attachment ID'] in {row['attachment_id'] for row in attachments}
    openstack('server', 'volume', 'update', '--delete-on-termination', 'db', 'shared', shows=False)
    (listed,) = openstack('server', 'volume', 'list', 'db')
    assert listed['Delete On Termination?'] is True

    for name in ('web', 'db'):
        openstack('server', 'remove', 'volume', name, 'shared', shows=False)
    call.wait_for(volume)
    (row,) = openstack('volume', 'list')
    assert (row['Status'], row['Attached to']) == ('available', [])


def test_an_attachment_by_the_names_of_volume_and_server(openstack, call):
    """Contract 10.1: the client asks the compute endpoint for the server's id."""
    volume = openstack('volume', 'create', '--size', '1', 'data')['id']
    call.deployed.wait(lambda: call.deployed.status(volume) == 'available')
    made = openstack('volume', 'attachment', 'create', 'data', 'web')
    assert (made['Volume ID'], made['Status']) == (volume, 'reserved')
    assert made['Instance ID'] == '11111111-1111-4111-8111-111111111111'
    assert [row['ID'] for row in openstack('volume', 'attachment', 'list')] == [made['ID']]
