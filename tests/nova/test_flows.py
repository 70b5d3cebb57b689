# SPDX-License-Identifier: Apache-2.0
"""What Nova does with volumes, in the order in which it does it.

Attach, detach, resize, unshelve and reboot run Nova's own code (``nova.virt.block_device``,
``nova.compute.manager``); the rest repeats the calls that it makes.
"""

import uuid
from typing import Any

import pytest

from tests.nova.client import Nova, NovaError
from tests.nova.clouds import Cloud, opens
from tests.nova.conftest import initiator, make_connector

Mapping = dict[str, Any]


def reserve(nova: Nova, volume_id: str, server: str) -> Mapping:
    """What the Compute API does when a volume is attached, or a server boots from it."""
    return {
        'volume': volume_id,
        'instance': server,
        'device': '/dev/vdb',
        'attachment': nova.call('attachment_create', volume_id, server)['id'],
    }


def attach(nova: Nova, volume_id: str, server: str, host: str = 'one') -> Mapping:
    """Attach a volume; the mapping that Nova keeps."""
    done = nova.order('attach', mapping=reserve(nova, volume_id, server), connector=make_connector(host))
    mapping: Mapping = done['mapping']
    return mapping


def prepare_destination(nova: Nova, mapping: Mapping) -> dict[str, Any]:
    """What the destination of a live migration does: an attachment, connected from the start."""
    made: dict[str, Any] = nova.call(
        'attachment_create',
        mapping['volume'],
        mapping['instance'],
        connector=make_connector('two'),
        mountpoint=mapping['device'],
    )
    return made


def detach(nova: Nova, mapping: Mapping) -> None:
    """Detach it as a user asks for it: first the API, then the compute host."""
    nova.call('begin_detaching', mapping['volume'])
    nova.order('detach', mapping=mapping, connector=make_connector('one'))


def manage(nova: Nova, name: str, mapping: Mapping, host: str = 'one') -> Mapping:
    """Run a method of the compute manager on a host."""
    done = nova.order('manage', name=name, mapping=mapping, connector=make_connector(host))
    kept: Mapping = done['mapping']
    return kept


def test_attach_and_detach(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    done = nova.order('attach', mapping=reserve(nova, single, server), connector=make_connector('one'))
    mapping, [(verb, given, device)] = done['mapping'], done['told']
    assert (verb, device) == ('attach', '/dev/vdb')
    assert given == mapping['connection_info']
    assert (given['serial'], given['driver_volume_type']) == (single, 'iscsi')
    assert 'multiattach' not in given
    assert opens(given, initiator('one'))
    [attachment] = cloud.list_attachments(single)
    assert (attachment['status'], attachment['instance']) == ('attached', server)
    assert nova.call('get', single)['attachments'] == {
        server: {'attachment_id': mapping['attachment'], 'mountpoint': '/dev/vdb'}
    }
    nova.call('begin_detaching', single)
    told = nova.order('detach', mapping=mapping, connector=make_connector('one'))['told']
    assert [(verb, info) for verb, info, _ in told] == [('detach', given)]
    assert nova.call('get', single)['status'] == 'available'
    assert cloud.list_attachments(single) == []
    assert not opens(given, initiator('one'))


def test_a_host_that_cannot_attach(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    """Nova takes its attachment back."""
    with pytest.raises(NovaError) as caught:
        nova.order('attach', mapping=reserve(nova, single, server), connector=make_connector('one'), fails=True)
    assert caught.value.name == 'DeviceNotFound'
    assert cloud.list_attachments(single) == []
    assert nova.call('get', single)['status'] == 'available'


def test_a_guest_that_keeps_the_device(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    """Nova rolls back: the server keeps the volume, which may be detached later."""
    mapping = attach(nova, single, server)
    nova.call('begin_detaching', single)
    with pytest.raises(NovaError) as caught:
        nova.order('detach', mapping=mapping, connector=make_connector('one'), fails=True)
    assert caught.value.name == 'DeviceDetachFailed'
    assert nova.call('get', single)['status'] == 'in-use'
    assert opens(mapping['connection_info'], initiator('one'))
    detach(nova, mapping)
    assert nova.call('get', single)['status'] == 'available'


def test_two_servers_share_a_volume(cloud: Cloud, nova: Nova, shared: str) -> None:
    first, second = (attach(nova, shared, str(uuid.uuid4()), host) for host in ('one', 'two'))
    assert first['connection_info']['multiattach'] is True
    assert set(nova.call('get', shared)['attachments']) == {first['instance'], second['instance']}
    secrets = {mapping['connection_info']['data']['auth_password'] for mapping in (first, second)}
    assert len(secrets) == 2
    detach(nova, first)
    assert nova.call('get', shared)['status'] == 'in-use'
    assert not opens(first['connection_info'], initiator('one'))
    assert opens(second['connection_info'], initiator('two'))
    nova.call('begin_detaching', shared)
    nova.order('detach', mapping=second, connector=make_connector('two'))
    assert nova.call('get', shared)['status'] == 'available'


def test_two_servers_of_one_host_share_a_volume(nova: Nova, shared: str) -> None:
    first, second = (attach(nova, shared, str(uuid.uuid4()), 'one') for _ in range(2))
    detach(nova, first)
    assert opens(second['connection_info'], initiator('one'))
    detach(nova, second)
    assert not opens(second['connection_info'], initiator('one'))


def test_two_servers_boot_from_one_volume_at_once(nova: Nova, shared: str) -> None:
    """Both are reserved before either is connected (real Cinder refuses the second)."""
    reserved = [reserve(nova, shared, str(uuid.uuid4())) for _ in range(2)]
    done = [
        nova.order('attach', mapping=mapping, connector=make_connector(host))['mapping']
        for mapping, host in zip(reserved, ('one', 'two'), strict=True)
    ]
    assert nova.call('get', shared)['status'] == 'in-use'
    for mapping in done:
        detach(nova, mapping)


def test_boot_from_a_new_volume(cloud: Cloud, nova: Nova, server: str) -> None:
    made = nova.call('create', 1, '', '', volume_type=cloud.get_type(False))['id']
    cloud.service.wait(lambda: nova.call('get', made)['status'] == 'available')
    mapping = attach(nova, made, server)
    assert nova.call('get', made)['status'] == 'in-use'
    # the server is deleted, and its volume with it
    nova.call('attachment_delete', mapping['attachment'])
    nova.call('attachment_delete', mapping['attachment'])
    nova.call('delete', made)
    cloud.service.wait(lambda: made not in {volume['id'] for volume in nova.call('get_all')})


def test_live_migration(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    """Two attachments of one server are connected at once, though the volume is not multiattach."""
    old = attach(nova, single, server, 'one')
    new = prepare_destination(nova, old)
    shown = nova.call('attachment_get', new['id'])['connection_info']
    assert shown['data'] == new['connection_info']['data']
    assert opens(old['connection_info'], initiator('one'))
    assert opens(shown, initiator('two'))
    nova.call('attachment_complete', new['id'])
    assert nova.call('get', single)['status'] == 'in-use'
    nova.call('attachment_delete', old['attachment'])
    assert not opens(old['connection_info'], initiator('one'))
    assert opens(shown, initiator('two'))
    [left] = cloud.list_attachments(single)
    assert (left['id'], left['status']) == (new['id'], 'attached')
    assert nova.call('get', single)['status'] == 'in-use'
    nova.call('attachment_delete', new['id'])
    assert nova.call('get', single)['status'] == 'available'


@pytest.mark.parametrize('completed', [False, True])
def test_live_migration_that_goes_back(nova: Nova, single: str, server: str, completed: bool) -> None:
    old = attach(nova, single, server, 'one')
    new = prepare_destination(nova, old)
    if completed:
        nova.call('attachment_complete', new['id'])
    nova.call('attachment_delete', new['id'])
    assert nova.call('get', single)['status'] == 'in-use'
    assert not opens(new['connection_info'], initiator('two'))
    assert opens(old['connection_info'], initiator('one'))
    detach(nova, old)


def test_live_migration_of_a_server_that_shares(cloud: Cloud, nova: Nova, shared: str, server: str) -> None:
    """The destination has another server of the volume already."""
    other = attach(nova, shared, str(uuid.uuid4()), 'two')
    old = attach(nova, shared, server, 'one')
    new = prepare_destination(nova, old)
    nova.call('attachment_complete', new['id'])
    nova.call('attachment_delete', old['attachment'])
    assert len(cloud.list_attachments(shared)) == 2
    detach(nova, other)
    assert opens(new['connection_info'], initiator('two'))
    nova.call('attachment_delete', new['id'])
    assert not opens(new['connection_info'], initiator('two'))


@pytest.mark.parametrize('kind', ['single', 'shared'])
@pytest.mark.parametrize('destination', ['one', 'two'])
def test_cold_migration_and_resize(
    cloud: Cloud, nova: Nova, request: pytest.FixtureRequest, server: str, kind: str, destination: str
) -> None:
    """The source reserves for the same server and lets go; the destination connects and completes."""
    volume_id = request.getfixturevalue(kind)
    old = attach(nova, volume_id, server, 'one')
    moving = manage(nova, '_terminate_volume_connections', old, 'one')
    assert moving['attachment'] != old['attachment']
    [between] = cloud.list_attachments(volume_id)
    assert (between['id'], between['status']) == (moving['attachment'], 'reserved')
    assert nova.call('get', volume_id)['status'] == 'reserved'
    assert not opens(old['connection_info'], initiator('one'))
    if kind == 'single':
        with pytest.raises(NovaError, match='InvalidInput'):
            nova.call('attachment_create', volume_id, str(uuid.uuid4()))
    manage(nova, '_update_volume_attachments', moving, destination)
    manage(nova, '_complete_volume_attachments', moving, destination)
    info = nova.call('attachment_get', moving['attachment'])['connection_info']
    assert opens(info, initiator(destination))
    assert nova.call('get', volume_id)['status'] == 'in-use'
    nova.call('attachment_delete', moving['attachment'])
    assert nova.call('get', volume_id)['status'] == 'available'


def test_resize_that_is_reverted(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    there = manage(nova, '_terminate_volume_connections', attach(nova, single, server, 'one'), 'one')
    manage(nova, '_update_volume_attachments', there, 'two')
    manage(nova, '_complete_volume_attachments', there, 'two')
    back = manage(nova, '_terminate_volume_connections', there, 'two')
    manage(nova, '_update_volume_attachments', back, 'one')
    manage(nova, '_complete_volume_attachments', back, 'one')
    [left] = cloud.list_attachments(single)
    assert (left['id'], left['status']) == (back['attachment'], 'attached')
    nova.call('attachment_delete', back['attachment'])


def test_rebuild_on_the_same_host(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    old = attach(nova, single, server, 'one')
    new = nova.call('attachment_create', single, server)['id']
    assert nova.call('get', single)['status'] == 'in-use'
    nova.order('detach', mapping=old, connector=make_connector('one'))
    assert nova.call('get', single)['status'] == 'reserved'
    mapping = nova.order(
        'attach', mapping={**old, 'attachment': new, 'connection_info': {}}, connector=make_connector('one')
    )['mapping']
    assert opens(mapping['connection_info'], initiator('one'))
    [left] = cloud.list_attachments(single)
    assert (left['id'], left['status']) == (new, 'attached')
    detach(nova, mapping)


def test_evacuation(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    """The old host is dead: nobody disconnects there, the attachment goes all the same."""
    old = attach(nova, single, server, 'dead')
    new = nova.call('attachment_create', single, server)['id']
    done = nova.order('detach', mapping=old, connector=make_connector('one'), instance_host='dead')
    assert done['told'] == []
    assert not opens(old['connection_info'], initiator('dead'))
    mapping = nova.order(
        'attach', mapping={**old, 'attachment': new, 'connection_info': {}}, connector=make_connector('one')
    )['mapping']
    assert opens(mapping['connection_info'], initiator('one'))
    detach(nova, mapping)


def test_shelve_offload_and_unshelve(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    shelved = manage(nova, '_terminate_volume_connections', attach(nova, single, server, 'one'), 'one')
    assert nova.call('get', single)['status'] == 'reserved'
    mapping = nova.order('attach', mapping={**shelved, 'connection_info': {}}, connector=make_connector('two'))[
        'mapping'
    ]
    assert opens(mapping['connection_info'], initiator('two'))
    assert nova.call('get', single)['status'] == 'in-use'
    detach(nova, mapping)


@pytest.mark.parametrize('kind', ['single', 'shared'])
def test_attach_to_a_shelved_server_and_unshelve(
    cloud: Cloud, nova: Nova, request: pytest.FixtureRequest, server: str, kind: str
) -> None:
    """Completed without a connector, and connected when the server has a host again."""
    volume_id = request.getfixturevalue(kind)
    mapping = reserve(nova, volume_id, server)
    nova.call('attachment_complete', mapping['attachment'])
    [attachment] = cloud.list_attachments(volume_id)
    assert (attachment['status'], attachment['connection_info']) == ('attached', {})
    assert nova.call('get', volume_id)['status'] == 'in-use'
    mapping = nova.order('attach', mapping=mapping, connector=make_connector('two'))['mapping']
    assert opens(mapping['connection_info'], initiator('two'))
    assert nova.call('get', volume_id)['status'] == 'in-use'
    detach(nova, mapping)
    assert nova.call('get', volume_id)['status'] == 'available'


def test_detach_from_a_shelved_server(nova: Nova, single: str, server: str) -> None:
    ident = reserve(nova, single, server)['attachment']
    nova.call('attachment_complete', ident)
    nova.call('begin_detaching', single)
    nova.call('attachment_delete', ident)
    assert nova.call('get', single)['status'] == 'available'


def test_hard_reboot_reads_connection_info_again(nova: Nova, shared: str, server: str) -> None:
    """With what opens the target: the host logs in again with it."""
    old = attach(nova, shared, server)
    new = nova.order('refresh', mapping=old, connector=make_connector('one'))['mapping']
    assert new['connection_info']['data'] == old['connection_info']['data']
    assert new['connection_info']['multiattach'] is True
    assert opens(new['connection_info'], initiator('one'))
    detach(nova, new)


def test_reboot_removes_attachments_that_nova_does_not_know(
    cloud: Cloud, nova: Nova, single: str, shared: str, server: str
) -> None:
    known = attach(nova, single, server)
    stray = nova.call('attachment_create', shared, server)['id']
    assert not manage(nova, '_delete_dangling_bdms', known)['destroyed']
    assert {found['id'] for found in cloud.list_attachments(shared)} == set()
    assert nova.call('get', shared)['status'] == 'available'
    assert stray
    nova.call('attachment_delete', known['attachment'])
    assert manage(nova, '_delete_dangling_bdms', known)['destroyed']


def test_swap_of_a_volume(nova: Nova, single: str, shared: str, server: str) -> None:
    """A user's swap needs only attachments; migration between backends is outside of this service."""
    old = attach(nova, single, server)
    nova.call('begin_detaching', single)
    new = nova.call('attachment_create', shared, server)['id']
    info = nova.call('attachment_update', new, make_connector('one'), '/dev/vdb')['connection_info']
    assert opens(info, initiator('one'))
    nova.call('attachment_complete', new)
    nova.call('attachment_delete', old['attachment'])
    assert nova.call('get', single)['status'] == 'available'
    nova.call('attachment_delete', new)
    assert nova.call('get', shared)['status'] == 'available'
