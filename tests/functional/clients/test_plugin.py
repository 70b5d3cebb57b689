# SPDX-License-Identifier: Apache-2.0
"""The plugin's commands as people run them, with and without Keystone, before a compute host."""

import csv
import io
import json
import re
import uuid

import pytest
import yaml

from tests.functional import plugin
from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host
from tests.functional.plugin import Openstack


@pytest.fixture(scope='session')
def openstack(cloud: Cloud) -> Openstack:
    """The command itself, in processes of its own."""
    return cloud.make_command()


# What the other tests ask does not depend on how callers are identified, and each command takes seconds.
without_keystone = pytest.mark.parametrize('cloud', ['noauth'], indirect=True, scope='session')


@pytest.mark.slow  # the standalone program's and devstack's tests play the same
def test_two_servers_share_a_volume(openstack: Openstack) -> None:
    plugin.play(openstack, 'web', compute_host.DB)


@without_keystone
def test_formats(openstack: Openstack, cloud: Cloud, volume: str) -> None:
    cloud.openstack(
        'volume',
        'attachment',
        'create',
        volume,
        compute_host.WEB,
        '--connect',
        '--host',
        'one',
        '--initiator',
        'iqn.1994-05.com.example:one',
    )
    listed = openstack.plugin('host list', '-f', 'json').json
    [one] = [row for row in listed if row['Host'] == 'one']
    assert (one['Driven By'], one['State'], one['Attachments']) == ('client', None, {'exported': 1})
    rows = yaml.safe_load(openstack.plugin('host list', '-f', 'yaml').out)
    assert one in rows
    parsed = list(csv.DictReader(io.StringIO(openstack.plugin('target list', '-f', 'csv').out)))
    assert [row['Host'] for row in parsed] == ['testhost@file']
    assert openstack.plugin('host show', 'one', '-f', 'value', '-c', 'initiators').out.strip() == (
        "['iqn.1994-05.com.example:one']"
    )
    table = openstack.plugin('volume explain', volume).out
    assert re.search(r'\| reason +\| One attachment is in state exported\. +\|', table)
    assert re.search(r'exported server \S+ on one rw, next: user', table)


@without_keystone
def test_errors_say_what_to_do(openstack: Openstack) -> None:
    nothing = str(uuid.uuid4())
    for words, text in (
        (('attachment explain', nothing), f'attachment_id = {nothing}'),
        (('volume explain', 'nothing'), 'No Volume found for nothing'),
        (('host show', 'nowhere'), 'no agent and no attachment names it'),
        (('server volume attach', 'nobody', 'nothing'), 'No Server found for nobody'),
        (('target list', '--host', 'a@b'), 'Backend a@b could not be found'),
    ):
        done = openstack.plugin(*words)
        assert (done.code, done.out) == (1, '')
        assert text in done.err
        assert 'Traceback' not in done.err
        assert 'HttpException' not in done.err


@without_keystone
def test_a_failed_attach_says_why(openstack: Openstack, cloud: Cloud, volume: str) -> None:
    with cloud.failing('the device did not appear'):
        done = openstack.plugin('server volume attach', compute_host.WEB, volume, '--wait')
    assert done.code == 1
    assert 'The attach failed: ' in done.err
    assert 'the device did not appear' in done.err
    assert 'openstack --os-volume-api-version 3.27 volume attachment delete' in done.err
    [row] = openstack.plugin('server volume list', compute_host.WEB, '-f', 'json').json
    assert row['Status'] == 'error_attaching'


@without_keystone
def test_an_attach_that_takes_long(openstack: Openstack, cloud: Cloud, volume: str) -> None:
    with cloud.waiting():
        done = openstack.plugin('server volume attach', 'web', volume, '--wait', '--timeout', '0.5')
        assert done.code == 1
        assert 'did not end in 0.5 s; it goes on' in done.err
        assert 'waiting for host agent' in done.err
    cloud.wait(volume, 'in-use')
    assert openstack.plugin('server volume detach', 'web', volume, '--wait').code == 0


@without_keystone
def test_twice_is_refused_with_the_reason(openstack: Openstack, volume: str) -> None:
    assert openstack.plugin('server volume attach', 'web', volume, '--wait').code == 0
    done = openstack.plugin('server volume attach', 'web', volume)
    assert (done.code, 'is already attached to instance' in done.err) == (1, True)
    assert openstack.plugin('server volume detach', 'web', volume, '--wait').code == 0
    done = openstack.plugin('server volume detach', 'web', volume)
    assert done.code == 1
    assert 'not attached' in done.err


@without_keystone
def test_completion_and_help(openstack: Openstack) -> None:
    words = openstack.do('complete').out
    assert re.search(r"cmds_multiattach='.*attachment.*host.*server.*target.*volume'", words)
    assert '--device' in words
    done = openstack.do('help', 'multiattach', 'attachment', 'explain')
    assert 'examples:' in done.out
    commands = openstack.ask('command', 'list', '--group', 'openstack.multiattach.v1')
    [group] = [row['Commands'] for row in commands]
    listed = group if isinstance(group, list) else json.loads(json.dumps(group)).split('\n')
    assert len(listed) == 15


@without_keystone
def test_fences(openstack: Openstack, cloud: Cloud, volume: str) -> None:
    host = f'dead-{uuid.uuid4()}'
    idents = [
        cloud.openstack(
            'volume',
            'attachment',
            'create',
            volume,
            server,
            '--connect',
            '--host',
            host,
            '--initiator',
            f'iqn.1994-05.com.example:{host}',
            '-f',
            'json',
        ).json['ID']
        for server in (compute_host.WEB, compute_host.DB)
    ]
    refused = openstack.plugin('attachment fence', idents[0])
    assert refused.code == 1
    assert idents[1] in refused.err
    done = openstack.plugin('host fence', host, '--reason', 'no heartbeat', '-f', 'json')
    assert {row['Attachment ID'] for row in done.json} == set(idents)
    for row in done.json:
        assert row['Fenced']
        assert row['Left'] == {'acl': False, 'account': False, 'sessions': [], 'registration': False}
    table = openstack.plugin('attachment fence', idents[0], '-f', 'value', '-c', 'Cut', '-c', 'Left').out
    assert table.strip()
    assert openstack.plugin('host show', host, '-f', 'json').json['fence_reason'] == 'no heartbeat'
    assert openstack.plugin('host unfence', host).code == 0
    again = openstack.plugin('host unfence', host)
    assert (again.code, f'{host} was not fenced' in ' '.join(again.err.split())) == (0, True)


@without_keystone
def test_a_misspelt_host_is_no_success(openstack: Openstack, cloud: Cloud, volume: str) -> None:
    host = f'compute-{uuid.uuid4().hex[:8]}'
    cloud.openstack(
        'volume',
        'attachment',
        'create',
        volume,
        compute_host.WEB,
        '--connect',
        '--host',
        host,
        '--initiator',
        f'iqn.1994-05.com.example:{host}',
    )
    wrong = host.upper()
    failed = openstack.plugin('host fence', wrong)
    assert openstack.plugin('host unfence', wrong).code == 0  # takes the mark away that the fence has left
    again = openstack.plugin('host unfence', wrong)
    for done, advice in ((failed, f'host unfence {wrong}. If you mean it, say --expected'), (again, '')):
        said = ' '.join(done.err.split())
        assert done.code == 1
        assert f'Nobody knows a host "{wrong}"' in said
        assert f'Did you mean {host}?' in said
        assert advice in said
    assert openstack.plugin('host fence', f'{wrong} ').code == 1
    assert openstack.plugin('host fence', f'later-{host}', '--expected').code == 0
    assert openstack.plugin('host fence', host, '-f', 'json').json[0]['Fenced']


@without_keystone
def test_what_is_recorded_and_what_is_true(openstack: Openstack, cloud: Cloud, volume: str) -> None:
    cloud.openstack('server', 'add', 'volume', 'web', volume)
    cloud.wait(volume, 'in-use')
    shown = openstack.plugin('volume explain', volume, '-f', 'json').json
    assert shown['on_target']['exists']
    assert shown['findings'] == []
    assert [one['host'] for one in shown['on_hosts']] == [compute_host.HOST]
    table = openstack.plugin('host explain', compute_host.HOST).out
    assert 'Its actual state matches the records.' in table
    assert re.search(r'attached since \S+Z volume', table)
    well = openstack.plugin('doctor', '-f', 'json')
    assert (well.code, well.json) == (0, [])
    assert 'Nothing differs' in well.err
    recorded = openstack.plugin('volume explain', volume, '--no-live', '-f', 'json').json
    assert 'on_target' not in recorded
    cloud.openstack('server', 'remove', 'volume', 'web', volume)
    cloud.wait(volume, 'available')
