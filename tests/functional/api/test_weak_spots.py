# SPDX-License-Identifier: Apache-2.0
"""What is known to be weak in Block Storage (contract 11.4) is done better here; one test a number.

Numbers 2, 3, 6, 15, 18 to 21 and 23 are in test_weak_spots_of_targets.py; a test there counts them all.
"""

import concurrent.futures
import threading
import time
import uuid

import pytest
import sqlalchemy as sa
import webob

from multiattach.db import models
from tests.deployments import embedded
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import AwkwardTarget, Caller, StatementCounter

PROJECT = '0' * 32


def code(reply: webob.Response, key: str) -> int:
    return int(reply.json[key]['code'])


def test_01_one_in_flight_blocks_nobody(call: Caller) -> None:
    volume = call.make_volume()
    call.attach(volume, 'one')
    assert call.reserve(volume).status_int == 200  # stays in flight
    assert call.show(volume)['status'] == 'in-use'
    third = call.reserve(volume)
    assert third.status_int == 200
    assert call.connect(third.json['attachment']['id'], 'three').status_int == 200
    assert call.show(volume)['status'] == 'in-use'
    assert call.act(volume, 'os-begin_detaching').status_int == 202


def test_04_a_delete_during_an_update_leaves_nothing(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    attachment = awkward.reserve(volume).json['attachment']['id']
    target.go_on.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        update = pool.submit(awkward.connect, attachment, 'one')
        assert target.entered.wait(10)
        delete = pool.submit(awkward.delete, attachment)
        awkward.deployed.wait(
            lambda: awkward('GET', f'/attachments/{attachment}').json['attachment']['status'] == 'detaching'
        )
        target.go_on.set()
        assert update.result().status_int in (404, 409), update.result().text
        assert delete.result().status_int == 200, delete.result().text
    assert awkward('GET', f'/attachments/{attachment}').status_int == 404
    assert awkward.show(volume)['status'] == 'available'
    assert target.list_exports() == {}


def test_05_a_reservation_uses_no_export(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    attached = awkward.attach(volume, 'one')
    reserved = awkward.reserve(volume).json['attachment']['id']
    assert set(target.list_exports()) == {volume}
    assert awkward.delete(attached).status_int == 200
    assert target.list_exports() == {}
    assert awkward.delete(reserved).status_int == 200


@pytest.mark.parametrize('multiattach', [True, False])
def test_07_a_failed_create_leaves_no_reservation(awkward: Caller, target: AwkwardTarget, multiattach: bool) -> None:
    volume = awkward.make_volume(multiattach=multiattach)
    target.refuses = True
    reply = awkward.reserve(volume, connector=make_connector('one'))
    assert reply.status_int == 500
    assert code(reply, 'computeFault') == 500
    assert awkward('GET', '/attachments').json['attachments'] == []
    assert awkward.show(volume)['status'] == 'available'
    target.refuses = False
    assert awkward.reserve(volume, connector=make_connector('one')).status_int == 200


def test_08_complete_revives_no_volume(call: Caller) -> None:
    volume = call.make_volume()
    attachment = call.reserve(volume).json['attachment']['id']
    # The only way here to a deleting volume with an attachment is an operator's hand.
    with call.deployed.db.engine.begin() as connection:
        table = models.Volume
        connection.execute(sa.update(table).where(table.id == volume).values(status='deleting'))
    assert code(call.complete(attachment), 'badRequest') == 400
    assert call.show(volume)['status'] == 'deleting'


def test_08_complete_needs_a_state_that_leads_there(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    attachment = awkward.reserve(volume).json['attachment']['id']
    target.go_on.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        update = pool.submit(awkward.connect, attachment, 'one')
        assert target.entered.wait(10)
        assert code(awkward.complete(attachment), 'badRequest') == 400
        target.go_on.set()
        assert update.result().status_int == 200
    assert awkward.complete(attachment).status_int == 204


def test_09_a_retype_that_fails_changes_no_flag(call: Caller) -> None:
    volume = call.make_volume(multiattach=False)
    call.deployed.engine.types.create(
        call.deployed.ctx, 'rocket', None, True, {'multiattach': '<is> True', 'rocket': '<is> True'}
    )
    assert call.act(volume, 'os-retype', {'new_type': 'rocket'}).status_int == 202
    shown = call.show(volume)
    assert (shown['multiattach'], shown['volume_type'], shown['status']) == (False, 'type-False', 'available')


def test_09_retype_and_attach_race(call: Caller) -> None:
    """Whoever is first wins; the flag of a volume in use never changes."""
    call.deployed.make_type('type-True', True)
    for _ in range(10):
        volume = call.make_volume(multiattach=False)
        barrier = threading.Barrier(2)

        def retype(volume: str = volume, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            return call.act(volume, 'os-retype', {'new_type': 'type-True'}).status_int

        def attach(volume: str = volume, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            return call.reserve(volume).status_int

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            outcomes = pool.submit(retype), pool.submit(attach)
            retyped, reserved = (outcome.result() for outcome in outcomes)
        assert reserved == 200
        assert retyped in (202, 400)
        shown = call.show(volume)
        assert shown['multiattach'] is (retyped == 202)
        assert shown['volume_type'] == ('type-True' if retyped == 202 else 'type-False')


@pytest.mark.parametrize('value', ['<is> True', '<is> true', '<is> 1'])
def test_10_one_parser_of_the_extra_spec(call: Caller, value: str) -> None:
    made = call('POST', '/types', {'volume_type': {'name': 'x', 'extra_specs': {'multiattach': value}}})
    assert made.status_int == 200
    reply = call('POST', '/volumes', {'volume': {'size': 1, 'volume_type': 'x'}})
    assert reply.json['volume']['multiattach'] is True
    call.deployed.wait(lambda: call.show(reply.json['volume']['id'])['status'] == 'available')


@pytest.mark.parametrize('value', ['True', 'true', '<is>True', '<in> True', '<is> maybe', '', None])
def test_10_a_value_that_means_nothing_is_refused_when_it_is_set(call: Caller, value: str | None) -> None:
    specs = {'multiattach': value}
    reply = call('POST', '/types', {'volume_type': {'name': 'x', 'extra_specs': specs}})
    assert code(reply, 'badRequest') == 400
    kind = call('POST', '/types', {'volume_type': {'name': 'x'}}).json['volume_type']['id']
    assert code(call('POST', f'/types/{kind}/extra_specs', {'extra_specs': specs}), 'badRequest') == 400
    assert code(call('PUT', f'/types/{kind}/extra_specs/multiattach', specs), 'badRequest') == 400


def test_10_cacheable_is_refused_on_every_way(call: Caller) -> None:
    shared, cached = {'multiattach': '<is> True'}, {'cacheable': '<is> True'}
    assert call('POST', '/types', {'volume_type': {'name': 'x', 'extra_specs': shared | cached}}).status_int == 400
    kind = call('POST', '/types', {'volume_type': {'name': 'x', 'extra_specs': shared}}).json['volume_type']['id']
    assert call('PUT', f'/types/{kind}/extra_specs/cacheable', cached).status_int == 400
    assert call('POST', f'/types/{kind}/extra_specs', {'extra_specs': cached}).status_int == 400


@pytest.mark.parametrize(('flag', 'mode'), [(None, 'rw'), (False, 'rw'), (True, 'ro')])
def test_11_readonly_is_a_boolean(call: Caller, flag: bool | None, mode: str) -> None:
    volume = call.make_volume()
    with call.deployed.db.engine.begin() as connection:
        connection.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(readonly=flag))
    reply = call.reserve(volume, connector=make_connector('one'))
    assert reply.json['attachment']['attach_mode'] == mode
    assert call.show(volume)['metadata'] == ({} if flag is None else {'readonly': str(flag)})


@pytest.mark.parametrize(
    ('asked', 'in_connector', 'expected'),
    [(None, None, 'rw'), ('ro', None, 'ro'), ('rw', None, 'rw'), (None, 'ro', 'ro'), ('ro', 'rw', 'ro')],
)
@pytest.mark.parametrize('at_once', [True, False])
def test_12_one_mode_everywhere(
    call: Caller, asked: str | None, in_connector: str | None, expected: str, at_once: bool
) -> None:
    volume = call.make_volume()
    mode = {'mode': asked} if asked else {}
    given = make_connector('one') | ({'mode': in_connector} if in_connector else {})
    if at_once:
        reply = call.reserve(volume, connector=given, **mode)
    else:
        ident = call.reserve(volume, **mode).json['attachment']['id']
        reply = call('PUT', f'/attachments/{ident}', {'attachment': {'connector': given}})
    shown = reply.json['attachment']
    assert (shown['attach_mode'], shown['connection_info']['access_mode']) == (expected, expected)
    again = call('GET', f'/attachments/{shown["id"]}').json['attachment']
    assert again == shown


def test_13_replies_show_the_row_after_the_change(call: Caller) -> None:
    volume = call.make_volume()
    created = call.reserve(volume, connector=make_connector('one')).json['attachment']
    assert created == call('GET', f'/attachments/{created["id"]}').json['attachment']
    assert created['status'] == 'attaching'
    assert created['attached_at']
    reserved = call.reserve(volume).json['attachment']
    updated = call.connect(reserved['id'], 'two').json['attachment']
    assert updated == call('GET', f'/attachments/{reserved["id"]}').json['attachment']


SECRET_KEYS = {'auth_username', 'auth_password'}


def test_14_secrets_are_for_services_and_admins(call: Caller) -> None:
    volume = call.make_volume()
    ident = call.attach(volume, 'one')
    whole = call('GET', f'/attachments/{ident}').json['attachment']['connection_info']
    assert set(whole) >= SECRET_KEYS
    reader = {'X_Roles': 'reader,member', 'X_Project_Id': PROJECT}
    for path, pick in (
        (f'/attachments/{ident}', lambda reply: reply['attachment']),
        ('/attachments/detail', lambda reply: reply['attachments'][0]),
    ):
        reply = call('GET', path, **reader)
        assert set(pick(reply.json)['connection_info']) == set(whole) - SECRET_KEYS
        assert whole['auth_password'] not in reply.text
        service = call('GET', path, **reader, X_Service_Roles='service')
        assert pick(service.json)['connection_info'] == whole


def test_14_who_connects_gets_the_secret(call: Caller) -> None:
    """A member's update carries what the host needs, as Nova's does with the user's token."""
    volume = call.make_volume()
    ident = call.reserve(volume).json['attachment']['id']
    reply = call(
        'PUT',
        f'/attachments/{ident}',
        {'attachment': {'connector': make_connector('one')}},
        X_Roles='member,reader',
        X_Project_Id=PROJECT,
    )
    assert set(reply.json['attachment']['connection_info']) >= SECRET_KEYS


def test_14_reads_have_policies_and_scope(call: Caller) -> None:
    volume = call.make_volume()
    ident = call.attach(volume, 'one')
    nobody = {'X_Roles': 'nothing', 'X_Project_Id': PROJECT}
    for path in (f'/attachments/{ident}', '/attachments', '/attachments/detail'):
        assert code(call('GET', path, **nobody), 'forbidden') == 403
    stranger = {'X_Roles': 'reader,member', 'X_Project_Id': 'abc'}
    assert call('GET', f'/attachments/{ident}', **stranger).status_int == 404
    assert call('GET', '/attachments/detail', **stranger).json == {'attachments': []}


def test_16_lists_do_what_their_parameters_say(call: Caller) -> None:
    volume = call.make_volume()
    call.attach(volume, 'one')
    call.reserve(volume)
    other = {'X_Auth_Token': 'me:abc'}
    for query, number in (('status=attached', 1), ('status=reserved', 1), ('status=detaching', 0)):
        assert len(call('GET', f'/attachments?{query}').json['attachments']) == number
    assert len(call('GET', '/attachments?all_tenants=0', **other).json['attachments']) == 0
    assert len(call('GET', '/attachments?all_tenants=1', **other).json['attachments']) == 2
    assert len(call('GET', '/volumes?all_tenants=False').json['volumes']) == 1
    assert len(call('GET', '/volumes?all_tenants=False', **other).json['volumes']) == 0
    page = call('GET', '/attachments?limit=1').json
    link = page['attachments_links'][0]['href'].removeprefix('http://localhost/v3')
    following = call('GET', link).json
    assert page['attachments'][0]['id'] != following['attachments'][0]['id']


LISTS = (
    '/attachments',
    '/attachments/detail',
    '/volumes',
    '/volumes/detail',
    '/volumes/detail?with_count=1',
    '/volumes/summary',
    '/types',
    '/limits',
)


def test_17_no_list_costs_more_with_more_rows(quiet: Caller, counter: StatementCounter) -> None:
    volumes = [quiet.make_volume()]
    quiet.attach(volumes[0], 'one')
    costs = []
    for _ in range(2):
        costs.append({})
        for path in (*LISTS, f'/volumes/{volumes[0]}'):
            counter.take()
            assert quiet('GET', path).status_int == 200
            costs[-1][path] = counter.take()
        for number in range(5):
            volumes.append(quiet.make_volume())
            for host in range(3):
                quiet.attach(volumes[-1], f'host{host}')
            quiet.attach(volumes[0], f'host{number}')
    assert costs[0] == costs[1]
    assert max(costs[0].values()) <= 7


def test_17_no_attachment_call_costs_more_with_more_sharers(quiet: Caller, counter: StatementCounter) -> None:
    volume = quiet.make_volume()
    costs = []
    for sharers in (0, 1, 12):
        for number in range(sharers):
            quiet.attach(volume, f'host{sharers}-{number}')
        cost = {}
        counter.take()
        ident = quiet.reserve(volume).json['attachment']['id']
        cost['create'] = counter.take()
        assert quiet.connect(ident, 'me').status_int == 200
        cost['update'] = counter.take()
        assert quiet.complete(ident).status_int == 204
        cost['complete'] = counter.take()
        assert quiet('GET', f'/attachments/{ident}').status_int == 200
        cost['show'] = counter.take()
        assert quiet.delete(ident).status_int == 200
        cost['delete'] = counter.take()
        costs.append(cost)
    alone, beside_one, beside_many = costs
    assert beside_many == beside_one
    # The only one changes the volume's status at each step, and leaves nobody to look for.
    assert {name for name in alone if beside_one[name] > alone[name]} == {'delete'}


@pytest.mark.parametrize('by_action', [True, False])
@pytest.mark.parametrize('state', ['reserved', 'attaching', 'attached'])
def test_22_no_force_takes_a_volume_from_its_servers(call: Caller, by_action: bool, state: str) -> None:
    volume = call.make_volume()
    ident = call.reserve(volume).json['attachment']['id']
    if state != 'reserved':
        call.connect(ident, 'one')
    if state == 'attached':
        call.complete(ident)
    reply = call.act(volume, 'os-force_delete') if by_action else call('DELETE', f'/volumes/{volume}?force=true')
    assert code(reply, 'badRequest') == 400
    assert call('GET', f'/attachments/{ident}').json['attachment']['status'] == state


def test_24_disable_keeps_volumes_away(call: Caller) -> None:
    backend = {'binary': 'multiattach-volume', 'host': embedded.BACKEND}
    call.deployed.worker.beat()
    assert call('PUT', '/os-services/disable', backend).json['status'] == 'disabled'
    call.deployed.worker.beat()  # a heartbeat does not enable it again
    first = call('POST', '/volumes', {'volume': {'size': 1}}).json['volume']['id']
    assert call.show(first)['status'] == 'error'
    assert call('PUT', '/os-services/enable', backend).json['status'] == 'enabled'
    assert call.show(call.make_volume())['status'] == 'available'


def test_25_an_available_volume_names_its_service(call: Caller) -> None:
    call.make_volume()
    for _ in range(5):
        ident = call('POST', '/volumes', {'volume': {'size': 1}}).json['volume']['id']
        while (shown := call.show(ident))['status'] != 'available':
            assert shown['status'] == 'creating'
            time.sleep(0)  # green threads take turns
        assert shown['service_uuid']
        assert shown['shared_targets'] is False


def test_26_an_attachment_does_not_move_to_another_host(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    ident = awkward.attach(volume, 'one')
    assert code(awkward.connect(ident, 'two'), 'conflictingRequest') == 409
    shown = awkward('GET', f'/attachments/{ident}').json['attachment']
    assert shown['status'] == 'attached'
    assert awkward.connect(ident, 'one').json['attachment'] == shown
    assert awkward.show(volume)['status'] == 'in-use'
    assert target.list_exports()[volume].initiators == (make_connector('one')['initiator'],)


def test_27_extra_specs_and_volumes_race(call: Caller) -> None:
    """A volume is made with the type as it was or as it became, and then the type stays."""
    for _ in range(10):
        name = str(uuid.uuid4())
        kind = call('POST', '/types', {'volume_type': {'name': name}}).json['volume_type']['id']
        barrier = threading.Barrier(2)

        def change(kind: str = kind, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            specs = {'extra_specs': {'multiattach': '<is> True'}}
            return call('POST', f'/types/{kind}/extra_specs', specs).status_int

        def create(name: str = name, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            reply = call('POST', '/volumes', {'volume': {'size': 1, 'volume_type': name}})
            return bool(reply.json['volume']['multiattach'])

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            outcomes = pool.submit(change), pool.submit(create)
            changed, shared = outcomes[0].result(), outcomes[1].result()
        assert (changed, shared) in ((200, True), (400, False))
