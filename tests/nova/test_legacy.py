# SPDX-License-Identifier: Apache-2.0
"""Volumes that were attached before Nova knew attachments: the actions that it still calls for those."""

import uuid
from typing import Any

import pytest

from tests.nova.client import Nova, NovaError
from tests.nova.clouds import Cloud, opens
from tests.nova.conftest import initiator, make_connector

Mapping = dict[str, Any]


def attach(nova: Nova, volume_id: str, server: str, host: str = 'one') -> Mapping:
    """Reserve as the Compute API did, then run Nova's code of the compute host.

    It never shared volumes so: for a volume in use it leaves os-attach out.
    """
    nova.call('reserve_volume', volume_id)
    done = nova.order(
        'attach',
        mapping={'volume': volume_id, 'instance': server, 'device': '/dev/vdb'},
        connector=make_connector(host),
    )
    mapping: Mapping = done['mapping']
    assert mapping['attachment'] is None
    return mapping


def share(nova: Nova, volume_id: str, server: str, host: str) -> Mapping:
    """Attach one more server to a volume by the calls themselves."""
    nova.call('reserve_volume', volume_id)
    info = nova.call('initialize_connection', volume_id, make_connector(host))
    nova.call('attach', volume_id, server, '/dev/vdb')
    return {'volume': volume_id, 'instance': server, 'connection_info': info}


def detach(nova: Nova, mapping: Mapping, host: str = 'one', **words: Any) -> None:
    """Detach as Nova does; its API looks the attachment's id up in the volume."""
    volume = nova.call('get', mapping['volume'])
    nova.call('begin_detaching', mapping['volume'])
    nova.order(
        'detach',
        mapping=mapping,
        connector=make_connector(host),
        attachment_id=volume['attachments'][mapping['instance']]['attachment_id'],
        **words,
    )


def test_reserve_and_unreserve(nova: Nova, single: str) -> None:
    nova.call('reserve_volume', single)
    assert nova.call('get', single)['status'] == 'attaching'
    nova.call('unreserve_volume', single)
    assert nova.call('get', single)['status'] == 'available'
    nova.call('unreserve_volume', single)


def test_attach_and_detach(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    mapping = attach(nova, single, server)
    assert opens(mapping['connection_info'], initiator('one'))
    volume = nova.call('get', single)
    assert volume['status'] == 'in-use'
    assert volume['attachments'][server]['mountpoint'] == '/dev/vdb'
    detach(nova, mapping)
    assert nova.call('get', single)['status'] == 'available'
    assert not opens(mapping['connection_info'], initiator('one'))
    assert cloud.list_attachments(single) == []


def test_connection_info_is_nested(nova: Nova, single: str) -> None:
    connector = make_connector('one')
    info = nova.call('initialize_connection', single, connector)
    assert (info['driver_volume_type'], info['connector']) == ('iscsi', connector)
    assert info['data']['volume_id'] == single
    again = nova.call('initialize_connection', single, connector)
    assert again['data']['target_iqn'] == info['data']['target_iqn']
    assert opens(info, initiator('one'))
    nova.call('terminate_connection', single, connector)
    assert not opens(info, initiator('one'))
    assert nova.call('get', single)['status'] == 'available'


@pytest.mark.parametrize('hosts', [('one', 'two'), ('one', 'one')])
def test_one_of_two_servers_leaves(nova: Nova, shared: str, hosts: tuple[str, str]) -> None:
    """The other one keeps the volume, and its host the target."""
    first, second = (share(nova, shared, str(uuid.uuid4()), host) for host in hosts)
    assert set(nova.call('get', shared)['attachments']) == {first['instance'], second['instance']}
    detach(nova, first, hosts[0])
    volume = nova.call('get', shared)
    assert volume['status'] == 'in-use'
    assert set(volume['attachments']) == {second['instance']}
    assert opens(second['connection_info'], initiator(hosts[1]))
    detach(nova, second, hosts[1])
    assert nova.call('get', shared)['status'] == 'available'


def test_detach_of_a_shared_volume_by_its_server_alone(nova: Nova, shared: str) -> None:
    """Nova looks the attachment up in the volume: its own, never another server's."""
    first, second = (share(nova, shared, str(uuid.uuid4()), host) for host in ('one', 'two'))
    nova.call('begin_detaching', shared)
    nova.call('detach', shared, instance_uuid=first['instance'])
    assert set(nova.call('get', shared)['attachments']) == {second['instance']}
    nova.call('detach', shared, instance_uuid=second['instance'])
    assert nova.call('get', shared)['status'] == 'available'


def test_detach_that_does_not_say_from_whom(nova: Nova, shared: str) -> None:
    servers = [str(uuid.uuid4()) for _ in range(2)]
    mappings = [share(nova, shared, server, host) for server, host in zip(servers, ('one', 'two'), strict=True)]
    with pytest.raises(NovaError) as caught:
        nova.call('detach', shared)
    assert (caught.value.name, caught.value.code) in (('ClientException', 409), ('InvalidInput', 400))
    assert set(nova.call('get', shared)['attachments']) == set(servers)
    for mapping, host in zip(mappings, ('one', 'two'), strict=True):
        detach(nova, mapping, host)


def test_a_host_that_cannot_attach(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    nova.call('reserve_volume', single)
    with pytest.raises(NovaError) as caught:
        nova.order(
            'attach', mapping={'volume': single, 'instance': server}, connector=make_connector('one'), fails=True
        )
    assert caught.value.name == 'DeviceNotFound'
    nova.call('unreserve_volume', single)
    assert nova.call('get', single)['status'] == 'available'
    assert cloud.list_attachments(single) == []


def test_live_migration(nova: Nova, single: str, server: str) -> None:
    """The destination connects while the source is connected; then the source lets go."""
    mapping = attach(nova, single, server, 'one')
    info = nova.call('initialize_connection', single, make_connector('two'))
    assert opens(info, initiator('two'))
    assert opens(mapping['connection_info'], initiator('one'))
    nova.call('terminate_connection', single, make_connector('one'))
    assert not opens(mapping['connection_info'], initiator('one'))
    assert opens(info, initiator('two'))
    volume = nova.call('get', single)
    assert volume['status'] == 'in-use'
    assert set(volume['attachments']) == {server}
    detach(nova, {**mapping, 'connection_info': info}, 'two')
    assert nova.call('get', single)['status'] == 'available'
