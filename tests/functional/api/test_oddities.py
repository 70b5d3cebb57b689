# SPDX-License-Identifier: Apache-2.0
"""Odd behaviour that clients rely on (contract 11.5); one test for each."""

import uuid

import sqlalchemy as sa
import webob

from multiattach.db import models
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import Caller


def test_create_is_200_and_not_202(call: Caller) -> None:
    assert call.reserve(call.make_volume()).status == '200 OK'


def test_delete_returns_what_remains(call: Caller) -> None:
    volume = call.make_volume()
    first, second = call.attach(volume, 'one'), call.attach(volume, 'two')
    reply = call.delete(first)
    assert reply.status_int == 200
    assert [(row['id'], row['status'], row['volume_id'], set(row)) for row in reply.json['attachments']] == [
        (second, 'attached', volume, {'id', 'status', 'instance', 'volume_id'})
    ]
    assert call.delete(second).json == {'attachments': []}


def test_complete_is_204_with_any_value(call: Caller) -> None:
    volume = call.make_volume()
    for value in (None, {}, [], 0, 'text', False, {'a': [1]}, str(uuid.uuid4())):
        ident = call.reserve(volume, connector=make_connector(str(uuid.uuid4()))).json['attachment']['id']
        reply = call('POST', f'/attachments/{ident}/action', {'os-complete': value})
        assert (reply.status_int, reply.body) == (204, b'')


def test_no_mode_is_the_text_null_and_no_date_is_empty(call: Caller) -> None:
    shown = call.reserve(call.make_volume()).json['attachment']
    assert (shown['attach_mode'], shown['attached_at'], shown['detached_at']) == ('null', '', '')


def test_the_id_of_an_attachment_in_a_volume_is_the_volumes(call: Caller) -> None:
    volume = call.make_volume()
    ident = call.attach(volume, 'one')
    (row,) = call.show(volume)['attachments']
    assert (row['id'], row['volume_id'], row['attachment_id']) == (volume, volume, ident)


def test_bootable_is_a_text(call: Caller) -> None:
    assert call.show(call.make_volume())['bootable'] == 'false'


def test_the_root_is_300_and_v3_is_a_list(call: Caller) -> None:
    root = webob.Request.blank('/').get_response(call.application)
    assert root.status_int == 300
    assert call('GET', '/').json == root.json
    assert list(root.json) == ['versions']


def test_a_later_method_is_404(call: Caller) -> None:
    volume = call.make_volume()
    assert call('GET', '/attachments', version='3.26').status_int == 404
    assert call('GET', '/messages', version='3.2').json['itemNotFound']['code'] == 404
    assert call('POST', f'/attachments/{volume}/action', {'os-complete': None}, '3.43').status_int == 404


def test_a_status_conflict_of_create_is_400_and_not_409(call: Caller) -> None:
    volume = call.make_volume(multiattach=False)
    call.attach(volume, 'one')
    assert call.reserve(volume).json['badRequest']['code'] == 400
    assert call.reserve(volume, connector=make_connector('two')).json['badRequest']['code'] == 400


def test_complete_without_connector(call: Caller) -> None:
    volume = call.make_volume(multiattach=False)
    ident = call.reserve(volume).json['attachment']['id']
    assert call.complete(ident).status_int == 204
    assert call('GET', f'/attachments/{ident}').json['attachment']['status'] == 'attached'
    assert call.show(volume)['status'] == 'in-use'
    assert call.delete(ident).status_int == 200
    assert call.show(volume)['status'] == 'available'


def test_two_attachments_of_one_server_on_a_single_attach_volume(call: Caller) -> None:
    """Live migration: the destination creates with its connector while the source is attached."""
    volume, server = call.make_volume(multiattach=False), str(uuid.uuid4())
    source = call.attach(volume, 'one', server)
    reply = call.reserve(volume, server, connector=make_connector('two'))
    assert reply.status_int == 200, reply.text
    destination = reply.json['attachment']
    assert destination['connection_info']['target_iqn']
    assert call.complete(destination['id']).status_int == 204
    assert call.delete(source).status_int == 200
    shown = call.show(volume)
    assert shown['status'] == 'in-use'
    assert [row['host_name'] for row in shown['attachments']] == ['two']


def test_a_cold_migration(call: Caller) -> None:
    """Reserve for the same server, delete the old one, update on the new host, complete."""
    volume, server = call.make_volume(multiattach=False), str(uuid.uuid4())
    source = call.attach(volume, 'one', server)
    destination = call.reserve(volume, server).json['attachment']['id']
    assert call.delete(source).status_int == 200
    assert call.show(volume)['status'] == 'reserved'
    assert call.connect(destination, 'two').status_int == 200
    assert call.complete(destination).status_int == 204
    assert call.show(volume)['status'] == 'in-use'


def test_begin_detaching_needs_in_use(call: Caller) -> None:
    volume = call.make_volume()
    assert call.act(volume, 'os-begin_detaching').status_int == 400
    ident = call.reserve(volume).json['attachment']['id']
    assert call.act(volume, 'os-begin_detaching').status_int == 400
    call.complete(ident)
    assert call.act(volume, 'os-begin_detaching').status_int == 202


def test_a_volume_that_the_compute_endpoint_uses_is_409(call: Caller) -> None:
    volume = call.make_volume()
    ident = call.attach(volume, 'one')
    with call.deployed.db.engine.begin() as connection:
        table = models.Attachment
        connection.execute(sa.update(table).where(table.id == ident).values(agent_host='one'))
    fault = call.delete(ident).json['conflictingRequest']
    assert fault['code'] == 409
    assert fault['message'].startswith('ConflictNovaUsingAttachment: ')
    reply = call('DELETE', f'/attachments/{ident}', X_Service_Roles='service')
    assert reply.status_int == 200


def test_short_urls_at_every_microversion(call: Caller) -> None:
    for minor in range(72):
        assert call('GET', '/volumes', version=f'3.{minor}').status_int == 200
        assert call('GET', '/abc/volumes', version=f'3.{minor}').status_int == 200


def test_keys_that_differ_in_spaces_at_their_end_only_are_400(call: Caller) -> None:
    """On each database: for MariaDB they are one key."""
    volume = call.make_volume()
    items = {'metadata': {'a': '1', 'a ': '2'}}
    for method in ('POST', 'PUT'):
        assert call(method, f'/volumes/{volume}/metadata', items).status_int == 400
    assert call.act(volume, 'os-set_image_metadata', items).status_int == 400
    assert call.show(volume)['metadata'] == {}
