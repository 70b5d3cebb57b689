# SPDX-License-Identifier: Apache-2.0
"""doc/source/install/install.rst, from an empty database to two servers that share a volume."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.devstack.guide import Guide, read_blocks
from tests.devstack.machine import Devstack

SERVERS = {'one': '22222222-2222-3333-4444-555555555551', 'two': '22222222-2222-3333-4444-555555555552'}


@pytest.fixture(scope='module')
def guide(devstack: Devstack) -> Iterator[Guide]:
    followed = Guide(devstack)
    try:
        for name, ident in SERVERS.items():
            devstack.define_server(name, ident)
        yield followed
    finally:
        followed.stop()
        devstack.remove_servers()


@pytest.mark.slow
def test_the_guide_leads_to_a_shared_volume(guide: Guide) -> None:
    guide.run(read_blocks('Database')[0])
    guide.run(read_blocks('Broker')[0])
    for block in read_blocks('Keystone'):
        guide.run(block)
    guide.write_configuration()
    samples = read_blocks('Configuration')[-1]
    assert 'oslopolicy-sample-generator' in samples
    guide.run(f'cd "$HOME"\n{samples}')
    assert 'multiattach' in (guide.home / 'multiattach.conf.sample').read_text()
    said = guide.run(read_blocks('Tables')[0])
    assert 'Success' in said
    guide.start()

    first, create, *rest = read_blocks('The first volume')[0].split('openstack volume create')
    assert not rest
    assert 'cinder-volume' in wait_for_worker(guide, first)
    # As a user of the project that the servers belong to; types are made by an admin.
    commands = f'openstack volume create{create}'.splitlines()
    guide.run(commands[0], OS_CLOUD='member')
    deadline = time.monotonic() + 60
    while 'available' not in guide.run(commands[1], OS_CLOUD='member'):
        assert time.monotonic() < deadline, 'the volume does not become available'
    guide.run('\n'.join(commands[2:4]), OS_CLOUD='member')
    shown = json.loads(guide.run(f'{commands[4]} -f json', OS_CLOUD='member'))
    assert shown['status'] == 'in-use'
    assert {row['server_id'] for row in shown['attachments']} == set(SERVERS.values())


def wait_for_worker(guide: Guide, commands: str) -> str:
    listing, *rest = commands.splitlines()
    deadline = time.monotonic() + 60
    while 'cinder-volume' not in (said := guide.run(listing)):
        assert time.monotonic() < deadline, guide.read_logs()
    guide.run('\n'.join(rest))
    return said
