# SPDX-License-Identifier: Apache-2.0
"""Attaching and detaching through the compute endpoint, many at once and when things go wrong."""

import concurrent.futures
import threading

import pytest
import sqlalchemy as sa
import webob

from multiattach.db import models, services as db_services
from multiattach.domain.services import HOST_BINARY
from tests.functional.compute import compute_host
from tests.functional.compute.compute_host import DB, HOST, IDLE, WEB


def at_once(number, run):
    barrier = threading.Barrier(number)

    def start(index):
        barrier.wait()
        return run(index)

    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        return list(pool.map(start, range(number)))


def live_rows(deployed, volume_id):
    with deployed.db.reader() as session:
        return list(
            session.scalars(
                sa.select(models.Attachment).where(
                    models.Attachment.volume_id == volume_id, models.Attachment.deleted_at.is_(None)
                )
            )
        )


@pytest.mark.parametrize('multiattach', [True, False])
def test_16_requests_of_one_server_leave_one_attachment(call, deployed, multiattach):
    volume_id = call.make_volume(multiattach=multiattach)
    replies = at_once(16, lambda index: call.attach(WEB, volume_id))
    assert sorted(reply.status_int for reply in replies) == [200] + [400] * 15
    call.wait_for(volume_id, 'attached')
    assert len(live_rows(deployed, volume_id)) == 1
    assert call.volumes_of(WEB) == [volume_id]


def test_three_servers_share_while_one_wins_what_cannot_be_shared(call, deployed):
    shared, single = call.make_volume(), call.make_volume(multiattach=False)
    servers = (WEB, DB, IDLE)
    replies = at_once(6, lambda index: call.attach(servers[index % 3], single if index > 2 else shared))
    assert [reply.status_int for reply in replies[:3]] == [200] * 3
    assert sorted(reply.status_int for reply in replies[3:]) == [200, 400, 400]
    call.wait_for(shared, *['attached'] * 3)
    call.wait_for(single, 'attached')
    # Three servers of one host: one initiator on the target.
    assert len(deployed.target.list_exports()[shared].initiators) == 1

    replies = at_once(3, lambda index: call.detach(servers[index], shared))
    assert [reply.status_int for reply in replies] == [202] * 3
    call.wait_for(shared)
    assert shared not in deployed.target.list_exports()
    assert deployed.status(shared) == 'available'


def test_requests_for_many_volumes_of_one_server_get_a_device_each(call):
    volumes = [call.make_volume(multiattach=False) for _ in range(6)]
    replies = at_once(6, lambda index: call.attach(DB, volumes[index]))
    devices = {reply.json['volumeAttachment']['device'] for reply in replies}
    assert devices == {f'/dev/vd{letter}' for letter in 'cdefgh'}


def test_a_device_in_use_is_refused_and_nothing_is_left(call, deployed):
    volume_id = call.make_volume()
    reply = call.attach(DB, volume_id, device='/dev/vdb')
    assert reply.status_int == 409
    assert '/dev/vdb' in reply.json['conflictingRequest']['message']
    assert deployed.status(volume_id) == 'available'
    assert live_rows(deployed, volume_id) == []


@pytest.mark.parametrize('device', ['/dev/vdb1', '/dev/vd', '/dev/sdc', '/dev/vdabc'])
def test_a_name_that_no_virtio_disk_has_is_replaced(call, device):
    reply = call.attach(WEB, call.make_volume(), device=device)
    assert reply.json['volumeAttachment']['device'] == '/dev/vdb'


def test_a_detach_during_the_attach_is_refused(call, host):
    volume_id = call.make_volume()
    host.may_go_on.clear()
    assert call.attach(WEB, volume_id).status_int == 200
    reply = call.detach(WEB, volume_id)
    assert reply.status_int == 409
    assert reply.json['conflictingRequest']['code'] == 409
    assert call.volumes_of(WEB) == [volume_id]
    host.may_go_on.set()
    call.wait_for(volume_id, 'attached')
    assert call.detach(WEB, volume_id).status_int == 202
    call.wait_for(volume_id)


def test_a_detach_may_be_repeated_while_it_is_on_its_way(call, host):
    volume_id = call.make_volume()
    call.attach(WEB, volume_id)
    call.wait_for(volume_id, 'attached')
    host.may_go_on.clear()
    assert [call.detach(WEB, volume_id).status_int for _ in range(2)] == [202, 202]
    assert call.states(volume_id) == ['detaching']
    assert call.attach(WEB, volume_id).status_int == 400
    host.may_go_on.set()
    call.wait_for(volume_id)


def test_a_failed_attach_can_be_seen_and_tried_again(call, host, deployed):
    volume_id = call.make_volume()
    host.failure = 'the guest said no'
    assert call.attach(WEB, volume_id).status_int == 200
    call.wait_for(volume_id, 'error_attaching')
    assert deployed.status(volume_id) == 'available'
    assert call.volumes_of(WEB) == []
    path = f'/servers/{WEB}/os-volume_attachments/{volume_id}'
    assert call('GET', path).status_int == 404
    assert call('GET', f'/servers/{WEB}').json['server']['os-extended-volumes:volumes_attached'] == []
    host.failure = None
    assert call.attach(WEB, volume_id).status_int == 200
    call.wait_for(volume_id, 'attached')


def test_a_detach_clears_a_failed_attach(call, host):
    volume_id = call.make_volume()
    host.failure = 'the guest said no'
    call.attach(WEB, volume_id)
    call.wait_for(volume_id, 'error_attaching')
    assert call.detach(WEB, volume_id).status_int == 202
    call.wait_for(volume_id)


def test_a_host_that_is_down_is_asked_for_nothing(call, deployed):
    volume_id = call.make_volume()
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.Service)
            .where(models.Service.binary == HOST_BINARY)
            .values(heartbeat_at=models.datetime.datetime(2020, 1, 1))
        )
    reply = call.attach(WEB, volume_id)
    assert reply.status_int == 409
    assert HOST in reply.json['conflictingRequest']['message']
    assert deployed.status(volume_id) == 'available'
    assert call('GET', f'/servers/{WEB}').json['server']['host_status'] == 'DOWN'


def test_a_host_that_never_reported_is_down(call, deployed):
    stranger = compute_host.ComputeHost(deployed, 'compute-9')
    server = '77777777-7777-4777-8777-777777777777'
    stranger.engine.register_servers(
        {server: {'name': 'lost', 'project_id': compute_host.PROJECT, 'power_state': 'running', 'devices': []}}
    )
    assert call.attach(server, call.make_volume()).status_int == 409
    assert call('GET', f'/servers/{server}').json['server']['host_status'] == 'UNKNOWN'


def test_a_host_that_cannot_share_says_so(call, host, deployed):
    """Requirement row 18."""
    host.beat('libvirt 3.9 with qemu 2.10 locks the image')
    shared, single = call.make_volume(), call.make_volume(multiattach=False)
    reply = call.attach(WEB, shared)
    assert reply.status_int == 409
    assert 'libvirt 3.9' in reply.json['conflictingRequest']['message']
    assert deployed.status(shared) == 'available'
    assert call.attach(WEB, single).status_int == 200


def test_block_storage_leaves_the_attachment_to_the_compute_endpoint(call, application):
    """Contract 7.3."""
    volume_id = call.make_volume()
    call.attach(WEB, volume_id)
    call.wait_for(volume_id, 'attached')
    ident = call('GET', f'/servers/{WEB}/os-volume_attachments').json['volumeAttachments'][0]['attachment_id']
    request = webob.Request.blank(
        f'/v3/attachments/{ident}', method='DELETE', headers={'OpenStack-API-Version': 'volume 3.71'}
    )
    assert request.get_response(application).status_int == 409
    assert call.volumes_of(WEB) == [volume_id]


def test_a_volume_of_another_project_is_not_there(call, deployed):
    volume_id = call.make_volume()
    reply = call(
        'POST',
        f'/servers/{compute_host.FOREIGN}/os-volume_attachments',
        {'volumeAttachment': {'volumeId': volume_id}},
        X_Roles='member',
        X_Project_Id=compute_host.OTHER_PROJECT,
    )
    assert reply.status_int == 404
    assert deployed.status(volume_id) == 'available'


def test_people_without_the_admin_role_see_no_host(call):
    reply = call('GET', f'/servers/{compute_host.FOREIGN}', X_Roles='reader', X_Project_Id=compute_host.OTHER_PROJECT)
    server = reply.json['server']
    assert server['name'] == 'foreign'
    assert server['status'] == 'PAUSED'
    assert 'host_status' not in server
    assert not [key for key in server if key.startswith('OS-EXT-SRV-ATTR')]
    assert HOST not in reply.text


def test_a_server_that_is_gone_is_gone(call, host):
    host.engine.register_servers({})
    assert call('GET', '/servers').json == {'servers': []}
    assert call('GET', f'/servers/{WEB}').status_int == 404


def test_a_list_of_details_costs_the_same_for_every_length(call, host, deployed):
    me = threading.get_ident()
    seen = []

    def listen(*args):
        if threading.get_ident() == me:  # heartbeats are others' work
            seen.append(args[2])

    def count():
        seen.clear()
        assert call('GET', '/servers/detail').status_int == 200
        return len(seen)

    sa.event.listen(deployed.db.engine, 'before_cursor_execute', listen)
    before = count()
    many = {
        f'{number:08}-1111-4111-8111-111111111111': {
            'name': f's{number}',
            'project_id': compute_host.PROJECT,
            'power_state': 'running',
            'devices': [],
        }
        for number in range(40)
    }
    host.engine.register_servers(many)
    assert len(call('GET', '/servers/detail').json['servers']) == 40
    assert count() == before <= 8


def test_a_disabled_host_is_in_maintenance(call, deployed):
    db_services.beat(deployed.db, HOST_BINARY, HOST, 'nova', {})
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Service).where(models.Service.binary == HOST_BINARY).values(disabled=True))
    servers = call('GET', '/servers/detail').json['servers']
    assert {server['host_status'] for server in servers} == {'MAINTENANCE'}
    assert 'host_status' not in call('GET', '/servers/detail', minor=15).json['servers'][0]


@pytest.mark.parametrize('path', ['/servers/%ff', '/servers/%ff/os-volume_attachments', '/%ff/servers'])
def test_what_is_no_utf8_is_refused(call, path):
    assert call('GET', path).status_int in (400, 404)


def test_a_megabyte_is_refused(call):
    reply = call('POST', f'/servers/{WEB}/os-volume_attachments', {'volumeAttachment': {'volumeId': 'x' * (1 << 20)}})
    assert reply.status_int == 413


@pytest.mark.parametrize('spell', [str.upper, lambda ident: ident.replace('-', '')])
def test_ids_in_other_spellings(call, host, spell):
    volume, server = call.make_volume(), WEB
    made = call.attach(spell(server), spell(volume)).json['volumeAttachment']
    assert (made['serverId'], made['volumeId']) == (server, volume)
    call.wait_for(volume, 'attached')
    assert call.attach(server.upper(), volume.upper()).status_int == 400
    assert call.volumes_of(spell(server)) == [volume]
    found = call('GET', f'/servers?all_tenants=1&uuid={spell(server)}').json['servers']
    assert [row['id'] for row in found] == [server]
    path = f'/servers/{spell(server)}/os-volume_attachments/{spell(volume)}'
    body = {'volumeAttachment': {'volumeId': spell(volume), 'serverId': spell(server), 'delete_on_termination': True}}
    assert call('PUT', path, body).status_int == 202
    assert call('GET', path).json['volumeAttachment']['delete_on_termination'] is True
    assert call.detach(spell(server), spell(volume)).status_int == 202
    call.wait_for(volume)
