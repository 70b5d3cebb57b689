# SPDX-License-Identifier: Apache-2.0
"""stack.sh, unstack.sh, stack.sh again, clean.sh: each test takes up where the last one ended."""

import json
import re
from typing import Any

import pytest

from tests.devstack.machine import BIN, SERVICE_PASSWORD, TOP, Devstack
from tests.functional import plugin
from tests.testbed import processes
from tests.testbed.polling import wait_until

SERVER = '11111111-2222-3333-4444-555555555555'
OTHER = '11111111-2222-3333-4444-666666666666'
PROGRAMS = {'multiattach-api', 'multiattach-vol', 'multiattach-host'}


@pytest.fixture(scope='module')
def stacked(devstack: Devstack) -> Devstack:
    """stack.sh has run."""
    done = devstack.run('stack')
    assert done.returncode == 0, done.stdout[-5000:]
    return devstack


def test_the_programs_run(stacked: Devstack) -> None:
    assert set(stacked.find_programs()) == PROGRAMS


def test_the_catalogue_has_the_endpoints(stacked: Devstack) -> None:
    rows = json.loads(stacked.openstack('devstack-admin', 'endpoint', 'list', '-f', 'json'))
    base = f'http://127.0.0.1:{stacked.port}/multiattach'
    found = {(row['Service Type'], row['Interface'], row['URL']) for row in rows if row['Service Type'] != 'identity'}
    assert found == {
        (kind, interface, base + path)
        for kind, path in (('block-storage', '/v3'), ('volumev3', '/v3'), ('compute', '/compute/v2.1'))
        for interface in ('public', 'internal', 'admin')
    }


def test_the_service_user_has_one_role(stacked: Devstack) -> None:
    rows = json.loads(
        stacked.openstack(
            'devstack-admin', 'role', 'assignment', 'list', '--names', '--user', 'multiattach', '-f', 'json'
        )
    )
    assert [(row['Role'], row['Project']) for row in rows] == [('service', 'service@Default')]


def test_the_configuration_is_private_and_has_known_options_only(stacked: Devstack) -> None:
    assert stacked.conf.stat().st_mode & 0o007 == 0
    assert SERVICE_PASSWORD in stacked.conf.read_text()
    said = processes.run(
        [
            BIN / 'oslo-config-validator',
            '--config-file',
            TOP / 'etc/multiattach/config-generator.conf',
            '--input-file',
            stacked.conf,
            '--fatal-warnings',
        ],
        env=stacked.env,
    )
    assert 'not found' not in said


def test_workers_and_agent_are_up(stacked: Devstack) -> None:
    def list_services() -> set[tuple[str, str]]:
        rows = json.loads(stacked.openstack('devstack-admin', 'volume', 'service', 'list', '-f', 'json'))
        return {(row['Binary'], row['State']) for row in rows}

    wait_until(lambda: ('cinder-volume', 'up') in list_services(), 60, 'the worker')
    assert ('multiattach-host', 'up') in list_services()
    assert stacked.openstack('member', 'server', 'list', '-f', 'json').strip() == '[]'


def read_commands() -> list[list[str]]:
    """What the README has a user type after stack.sh."""
    text = (TOP / 'devstack/README.rst').read_text()
    found = re.search(r'^    \. openrc demo demo\n((?:    .*\n)+)', text, re.MULTILINE)
    assert found
    return [line.split() for line in found[1].splitlines()]


def test_the_commands_of_the_readme(stacked: Devstack) -> None:
    stacked.define_server('one', SERVER)
    stacked.define_server('two', OTHER)
    # The agent reports its servers with its next heartbeat.
    wait_until(
        lambda: len(json.loads(stacked.openstack('member', 'server', 'list', '-f', 'json'))) == 2, 60, 'the servers'
    )
    create, show, *attach = read_commands()
    stacked.openstack('member', *create[1:])
    wait_until(lambda: 'available' in stacked.openstack('member', *show[1:]), 60, 'the volume')
    for words in attach:
        stacked.openstack('member', *words[1:])
    found: dict[str, Any] = json.loads(stacked.openstack('member', 'volume', 'show', 'shared', '-f', 'json'))
    assert found['status'] == 'in-use'
    assert found['multiattach'] is True
    assert {row['server_id'] for row in found['attachments']} == {SERVER, OTHER}
    assert list((stacked.folder / 'data/multiattach/targets').iterdir())


def test_the_commands_of_the_plugin(stacked: Devstack) -> None:
    """Keystone, MariaDB and RabbitMQ in front of two servers."""
    cloud = plugin.Openstack(['--os-cloud', 'devstack-admin'], stacked.env)
    plugin.play(cloud, SERVER, OTHER)


def test_tempest_is_told(stacked: Devstack) -> None:
    text = stacked.tempest_conf.read_text()
    assert 'volume_type_multiattach = multiattach' in text
    assert 'catalog_type = block-storage' in text


def test_unstack_stops_everything(stacked: Devstack) -> None:
    assert stacked.find_leftovers()
    done = stacked.run('unstack')
    assert done.returncode == 0, done.stdout[-5000:]
    assert stacked.find_programs() == {}
    wait_until(lambda: not stacked.find_leftovers(), 30, f'the end of {stacked.find_leftovers()}')
    assert stacked.conf.exists()


@pytest.mark.slow
def test_stack_again_starts_from_an_empty_database(stacked: Devstack) -> None:
    done = stacked.run('stack')
    assert done.returncode == 0, done.stdout[-5000:]
    assert set(stacked.find_programs()) == PROGRAMS
    listed = stacked.openstack('devstack-admin', 'volume', 'list', '--all-projects', '-f', 'json')
    assert json.loads(listed) == []
    rows = json.loads(stacked.openstack('devstack-admin', 'endpoint', 'list', '-f', 'json'))
    assert len([row for row in rows if row['Service Type'] == 'block-storage']) == 3


def test_clean_leaves_nothing(stacked: Devstack) -> None:
    done = stacked.run('clean')
    assert done.returncode == 0, done.stdout[-5000:]
    wait_until(lambda: not stacked.find_leftovers(), 30, f'the end of {stacked.find_leftovers()}')
    assert not stacked.conf.parent.exists()
    assert not (stacked.folder / 'data/multiattach').exists()
    assert stacked.run('clean').returncode == 0
