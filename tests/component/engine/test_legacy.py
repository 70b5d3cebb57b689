# SPDX-License-Identifier: Apache-2.0
"""The legacy actions, told in attachments."""

import uuid

import pytest

from multiattach.domain import errors
from multiattach.drivers.errors import TargetError, TargetFull, TargetUnavailable
from multiattach.engine.guard import Guard
from multiattach.engine.legacy import LegacyActions, LegacyAttach
from tests.contexts import make_context
from tests.deployments.noauth import make_connector

SERVER = str(uuid.uuid4())


def attachments(d, volume_id):
    return d.engine.volumes.show(d.ctx, volume_id).attachments


def test_the_whole_way_of_an_old_nova(deployed):
    legacy, actions, ctx = deployed.engine.legacy, deployed.engine.actions, deployed.ctx
    volume_id = deployed.make_volume()
    actions.reserve(ctx, volume_id)
    info = legacy.initialize_connection(ctx, volume_id, make_connector('h'))
    assert legacy.initialize_connection(ctx, volume_id, make_connector('h')) == info
    assert info['target_iqn'].endswith(volume_id)
    assert deployed.status(volume_id) == 'attaching'
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', SERVER))
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', SERVER))
    [row] = attachments(deployed, volume_id)
    assert (row.state, row.instance_uuid, row.mountpoint) == ('attached', SERVER, '/dev/vdb')
    assert deployed.status(volume_id) == 'in-use'
    actions.begin_detaching(ctx, volume_id)
    legacy.terminate_connection(ctx, volume_id, make_connector('h'))
    assert deployed.target.list_exports() == {}
    [row] = attachments(deployed, volume_id)
    assert (row.state, row.instance_uuid, row.attached_host) == ('attached', SERVER, None)
    assert deployed.status(volume_id) == 'detaching'
    legacy.terminate_connection(ctx, volume_id, make_connector('h'))
    legacy.detach(ctx, volume_id, row.id)
    assert deployed.status(volume_id) == 'available'
    assert attachments(deployed, volume_id) == []


def test_detach_that_names_nobody_takes_nothing_from_others(deployed):
    """Nova disconnects first; what is left then is not "the only one"."""
    deployed.make_type()
    legacy, ctx, volume_id = deployed.engine.legacy, deployed.ctx, deployed.make_volume('multi')
    servers = {host: str(uuid.uuid4()) for host in ('a', 'b')}
    for host, server in servers.items():
        legacy.initialize_connection(ctx, volume_id, make_connector(host))
        legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', server))
    legacy.terminate_connection(ctx, volume_id, make_connector('a'))
    with pytest.raises(errors.Conflict):
        legacy.detach(ctx, volume_id, None)
    assert {row.instance_uuid for row in attachments(deployed, volume_id)} == set(servers.values())
    assert deployed.target.list_exports()[volume_id].initiators == (make_connector('b')['initiator'],)


def test_two_servers_of_one_host(deployed):
    """The host keeps its connection until the last of them leaves."""
    deployed.make_type()
    legacy, ctx, volume_id = deployed.engine.legacy, deployed.ctx, deployed.make_volume('multi')
    servers = [str(uuid.uuid4()) for _ in range(2)]
    for server in servers:
        deployed.engine.actions.reserve(ctx, volume_id)
        legacy.initialize_connection(ctx, volume_id, make_connector('h'))
        legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', server))
    legacy.initialize_connection(ctx, volume_id, make_connector('h'))  # only reads it again
    rows = attachments(deployed, volume_id)
    assert {row.instance_uuid for row in rows} == set(servers)
    for number, row in enumerate(rows):
        legacy.terminate_connection(ctx, volume_id, make_connector('h'))
        assert (volume_id in deployed.target.list_exports()) == (not number)
        legacy.detach(ctx, volume_id, row.id)
    assert deployed.status(volume_id) == 'available'


def test_a_second_host_connects_for_a_server_that_migrates(deployed):
    legacy, ctx, volume_id = deployed.engine.legacy, deployed.ctx, deployed.make_volume()
    legacy.initialize_connection(ctx, volume_id, make_connector('a'))
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', SERVER))
    legacy.initialize_connection(ctx, volume_id, make_connector('b'))
    legacy.terminate_connection(ctx, volume_id, make_connector('a'))
    assert deployed.target.list_exports()[volume_id].initiators == (make_connector('b')['initiator'],)
    assert deployed.status(volume_id) == 'in-use'
    legacy.terminate_connection(ctx, volume_id, make_connector('b'))
    [row] = attachments(deployed, volume_id)
    legacy.detach(ctx, volume_id, row.id)
    assert deployed.status(volume_id) == 'available'


def mix(d, hosts):
    """Have several hosts connect before any server is attached; a volume and a server for each."""
    d.make_type()
    volume_id = d.make_volume('multi')
    for host in hosts:
        d.engine.actions.reserve(d.ctx, volume_id)
        d.engine.legacy.initialize_connection(d.ctx, volume_id, make_connector(host))
    return volume_id, {host: str(uuid.uuid4()) for host in sorted(hosts)}


def test_hosts_mixed_find_their_rows_by_name(deployed):
    legacy, ctx = deployed.engine.legacy, deployed.ctx
    volume_id, servers = mix(deployed, ['b', 'a'])
    for host, server in servers.items():
        legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', server, host))
    rows = {row.attached_host: row for row in attachments(deployed, volume_id)}
    assert {host: row.instance_uuid for host, row in rows.items()} == servers
    legacy.terminate_connection(ctx, volume_id, make_connector('a'))
    legacy.detach(ctx, volume_id, rows['a'].id)
    assert deployed.target.list_exports()[volume_id].initiators == (make_connector('b')['initiator'],)
    assert [row.instance_uuid for row in attachments(deployed, volume_id)] == [servers['b']]


def test_hosts_mixed_without_their_names_are_refused_and_go_on_one_by_one(deployed):
    """Nova names no host: it takes its connection back, and tries anew."""
    legacy, ctx = deployed.engine.legacy, deployed.ctx
    volume_id, servers = mix(deployed, ['b', 'a'])
    for server in servers.values():
        with pytest.raises(errors.InvalidVolume, match='hosts: a, b'):
            legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', server))
    assert {row.state for row in attachments(deployed, volume_id)} == {'exported'}
    legacy.terminate_connection(ctx, volume_id, make_connector('a'))
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', servers['b']))
    legacy.initialize_connection(ctx, volume_id, make_connector('a'))
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', servers['a']))
    rows = {row.attached_host: row for row in attachments(deployed, volume_id)}
    assert {host: row.instance_uuid for host, row in rows.items()} == servers


def test_a_host_that_waits_is_given_to_no_other_host(deployed):
    volume_id, servers = mix(deployed, ['b'])
    with pytest.raises(errors.InvalidVolume, match='no connection waits'):
        deployed.engine.legacy.attach(deployed.ctx, volume_id, LegacyAttach('/dev/vdb', servers['b'], 'a'))
    with pytest.raises(errors.InvalidVolume, match='no connection waits'):
        deployed.engine.legacy.attach(deployed.ctx, volume_id, LegacyAttach('/dev/vdb', None, 'a'))


def test_two_servers_of_one_host_at_once_share_no_connection_that_goes_with_one(deployed):
    legacy, ctx = deployed.engine.legacy, deployed.ctx
    volume_id, servers = mix(deployed, ['h', 'h'])
    first, second = servers['h'], str(uuid.uuid4())
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', first))
    with pytest.raises(errors.InvalidVolume, match='no connection waits'):
        legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', second))
    deployed.engine.actions.reserve(ctx, volume_id)
    legacy.initialize_connection(ctx, volume_id, make_connector('h'))
    legacy.attach(ctx, volume_id, LegacyAttach('/dev/vdb', second))
    one = next(row for row in attachments(deployed, volume_id) if row.instance_uuid == first)
    legacy.terminate_connection(ctx, volume_id, make_connector('h'))
    legacy.detach(ctx, volume_id, one.id)
    assert deployed.target.list_exports()[volume_id].initiators == (make_connector('h')['initiator'],)


def test_attach_without_a_driver_call_and_detach_by_id(deployed):
    volume_id = deployed.make_volume()
    deployed.engine.legacy.attach(deployed.ctx, volume_id, LegacyAttach('/dev/vdc', host_name='metal'))
    [row] = attachments(deployed, volume_id)
    assert (row.state, row.attached_host) == ('attached', 'metal')
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.legacy.attach(deployed.ctx, volume_id, LegacyAttach('/dev/vdc', SERVER))
    deployed.engine.legacy.detach(deployed.ctx, volume_id, row.id)
    assert deployed.status(volume_id) == 'available'


def test_detach_leaves_the_others_alone(deployed):
    """Contract 11.4 number 6."""
    deployed.make_type()
    volume_id = deployed.make_volume('multi')
    rows = []
    for host in ('a', 'b'):
        row = deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), make_connector(host), None)
        deployed.engine.attachments.complete(deployed.ctx, row.id)
        rows.append(row)
    with pytest.raises(errors.Conflict):
        deployed.engine.legacy.detach(deployed.ctx, volume_id, None)
    deployed.engine.legacy.detach(deployed.ctx, volume_id, rows[0].id)
    assert deployed.target.list_exports()[volume_id].initiators == (rows[1].initiator,)
    assert deployed.status(volume_id) == 'in-use'


def test_ids_of_nobody_and_of_another_volume(deployed):
    volume_id, other = deployed.make_volume(), deployed.make_volume()
    row = deployed.engine.attachments.create(deployed.ctx, other, None, None, None)
    deployed.engine.legacy.detach(deployed.ctx, volume_id, None)
    with pytest.raises(errors.Conflict):
        deployed.engine.legacy.detach(deployed.ctx, volume_id, str(uuid.uuid4()))
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.legacy.detach(deployed.ctx, volume_id, row.id)


def test_reset_status_with_a_real_clean_up(deployed):
    """Contract 11.4 number 21."""
    volume_id = deployed.make_volume()
    row = deployed.engine.attachments.create(deployed.ctx, volume_id, SERVER, make_connector('h'), None)
    deployed.engine.attachments.complete(deployed.ctx, row.id)
    deployed.engine.settings.reset_status(deployed.ctx, volume_id, 'error', None)
    assert deployed.status(volume_id) == 'error'
    deployed.engine.settings.reset_status(deployed.ctx, volume_id, 'available', None)
    assert deployed.status(volume_id) == 'in-use', 'attachments decide'
    deployed.engine.settings.reset_status(deployed.ctx, volume_id, 'error', 'detached')
    assert deployed.target.list_exports() == {}
    assert deployed.status(volume_id) == 'error'
    deployed.engine.settings.reset_status(deployed.ctx, volume_id, 'available', None)
    assert deployed.status(volume_id) == 'available'
    for status in ('in-use', 'deleting'):
        with pytest.raises(errors.InvalidInput):
            deployed.engine.settings.reset_status(deployed.ctx, volume_id, status, None)


def test_readonly_is_a_boolean_and_can_be_unset(deployed):
    """Contract 11.4 number 11."""
    volume_id = deployed.make_volume()
    for flag, mode in ((True, 'ro'), (False, 'rw')):
        deployed.engine.settings.set_readonly(deployed.ctx, volume_id, flag)
        row = deployed.engine.attachments.create(deployed.ctx, volume_id, SERVER, make_connector('h'), None)
        assert (row.attach_mode, row.connection_info['access_mode']) == (mode, mode)
        deployed.engine.attachments.delete(deployed.ctx, row.id)


def test_encrypted_types_are_refused(deployed):
    engine, ctx = deployed.engine, deployed.ctx
    plain = engine.types.create(ctx, 'plain', None, True, {}).id
    engine.encryptions.create(
        ctx, plain, {'provider': 'luks', 'control_location': 'front-end', 'cipher': None, 'key_size': None}
    )
    with pytest.raises(errors.InvalidInput):
        engine.encryptions.create(
            ctx,
            deployed.make_type(),
            {'provider': 'luks', 'control_location': 'front-end', 'cipher': None, 'key_size': None},
        )
    volume_id = deployed.make_volume()
    with pytest.raises(errors.InvalidVolume, match='encrypted'):
        engine.actions.retype(ctx, volume_id, 'plain')


class Slow:
    """A compute service that knows of no use, and while it is first asked another server gets the volume."""

    def __init__(self, take_over):
        self.asked = []
        self._take_over = take_over

    def find_attachment(self, token, catalog, server_id, volume_id):
        self.asked.append(server_id)
        if len(self.asked) == 1:
            self._take_over()


def test_who_is_meant_by_then_is_asked_about_too(deployed):
    legacy, engine, volume_id = deployed.engine.legacy, deployed.engine, deployed.make_volume()
    first, second = SERVER, str(uuid.uuid4())

    def attach(server):
        legacy.initialize_connection(deployed.ctx, volume_id, make_connector('h'))
        legacy.attach(deployed.ctx, volume_id, LegacyAttach('/dev/vdb', server))

    def take_over():
        legacy.detach(deployed.ctx, volume_id, None)
        attach(second)

    attach(first)
    compute = Slow(take_over)
    asking = LegacyActions(deployed.db, engine.policy, engine.attachments, Guard(compute), engine.orders)
    asking.detach(make_context(), volume_id, None)
    assert compute.asked == [first, second]
    assert attachments(deployed, volume_id) == []


@pytest.mark.parametrize('refusal', [TargetError('no'), TargetFull('no room')])
def test_a_connection_that_the_target_refuses_leaves_no_reservation(deployed, monkeypatch, refusal):
    def refuse(*_args):
        raise refusal

    volume_id = deployed.make_volume()
    monkeypatch.setattr(deployed.target, 'grant', refuse)
    for _ in range(2):
        with pytest.raises((errors.BackendError, errors.Unavailable)):
            deployed.engine.legacy.initialize_connection(deployed.ctx, volume_id, make_connector('h'))
    assert (attachments(deployed, volume_id), deployed.status(volume_id)) == ([], 'available')


def test_a_connection_whose_outcome_is_unknown_goes_on(deployed, monkeypatch):
    volume_id = deployed.make_volume()
    real = deployed.target.grant

    def be_silent(*_args):
        raise TargetUnavailable('no answer')

    monkeypatch.setattr(deployed.target, 'grant', be_silent)
    with pytest.raises(errors.OutcomeUnknown):
        deployed.engine.legacy.initialize_connection(deployed.ctx, volume_id, make_connector('h'))
    monkeypatch.setattr(deployed.target, 'grant', real)
    info = deployed.engine.legacy.initialize_connection(deployed.ctx, volume_id, make_connector('h'))
    assert info['target_iqn'].endswith(volume_id)
    assert len(attachments(deployed, volume_id)) == 1
