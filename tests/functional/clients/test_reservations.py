# SPDX-License-Identifier: Apache-2.0
"""Reservations as people see and end them, by the real ``openstack``."""

import re
import uuid

import pytest

from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host

# What is asked does not depend on how callers are identified.
without_keystone = pytest.mark.parametrize('cloud', ['noauth'], indirect=True, scope='session')
CLUSTER = ('--property', 'multiattach=<is> True', '--property', 'multiattach:reservations=<is> True')


@without_keystone
def test_list_and_clear(cloud: Cloud) -> None:
    kind, name, target = f'cluster-{uuid.uuid4()}', f'quorum-{uuid.uuid4()}', cloud.recorder.target
    cloud.openstack('volume', 'type', 'create', *CLUSTER, kind)
    cloud.openstack('volume', 'create', '--size', '1', '--type', kind, name)
    cloud.wait(name, 'available')
    volume_id = cloud.show(name)['id']
    for server, host in ((compute_host.WEB, 'one'), (compute_host.DB, 'two')):
        iqn = f'iqn.1994-05.com.example:{host}'
        words = ('volume', 'attachment', 'create', name, server, '--connect', '--host', host, '--initiator', iqn)
        cloud.openstack(*words)
        target.register(volume_id, iqn, kind=5 if host == 'one' else None)
    target.register(volume_id, 'iqn.1994-05.com.example:three')

    def run(*words: str) -> list[dict[str, object]]:
        listed: list[dict[str, object]] = cloud.openstack(
            'multiattach', 'volume', 'reservations', name, *words, '-f', 'json'
        ).json
        return listed

    first, second, third = run()
    assert {key: first[key] for key in ('Server', 'Server ID', 'Attach Status', 'Holds', 'Key', 'Initiator')} == {
        'Server': 'web',
        'Server ID': compute_host.WEB,
        'Attach Status': 'attaching',
        'Holds': 5,
        'Key': '00000000000000ab',
        'Initiator': 'iqn.1994-05.com.example:one',
    }
    assert (second['Server'], second['Holds'], third['Server']) == ('db', None, None)
    table = cloud.openstack('multiattach', 'volume', 'reservations', name).printed
    assert re.search(r'\| web .*\| 5: write exclusive, registrants only \|', table)
    assert [row['Server'] for row in run('--clear', 'web')] == ['db', None]
    assert [row['Server'] for row in run('--clear', str(third['Initiator']))] == ['db']
    assert [row['Server'] for row in run('--clear', str(second['Attachment ID']))] == []
    target.register(volume_id, 'iqn.1994-05.com.example:three')
    assert run('--clear') == []
    for row in cloud.openstack('volume', 'attachment', 'list', '-f', 'json').json:
        cloud.openstack('volume', 'attachment', 'delete', row['ID'])
    cloud.openstack('volume', 'delete', name)
