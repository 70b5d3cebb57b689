# SPDX-License-Identifier: Apache-2.0
"""Reservations over the API, of a target that keeps them; tests/e2e has them with the kernel's."""

import pathlib
import uuid
from collections.abc import Iterator

import pytest

from multiattach.db import changes
from multiattach.domain import errors
from multiattach.drivers.errors import TargetError, TargetUnavailable
from multiattach.notifications import events
from tests import contexts
from tests.deployments import embedded
from tests.deployments.keeping import KeepingTarget
from tests.functional import tables
from tests.functional.api.conftest import Caller, make_application

PROJECT = 'b' * 32
KEYS = ('00000000000000a1', '00000000000000b2')
TYPE = {'multiattach': '<is> True', 'multiattach:reservations': '<is> True'}


@pytest.fixture
def keeping(tmp_path: pathlib.Path) -> Iterator[Caller]:
    with embedded.deploy(tmp_path, KeepingTarget()) as parts:
        parts.engine.types.create(parts.ctx, 'type-True', None, True, TYPE)
        yield Caller(make_application(parts), parts)


@pytest.mark.parametrize('path', tables.find(__file__), ids=lambda path: path.stem)
def test_table(path: pathlib.Path, keeping: Caller) -> None:
    tables.run(path, keeping.application)


def iqn(host: str) -> str:
    return f'iqn.1994-05.com.redhat:{host}'


def test_who_holds_a_volume_and_what_an_admin_and_a_fence_end(keeping: Caller) -> None:
    target, volume_id, servers = keeping.deployed.target, keeping.make_volume(), [str(uuid.uuid4()) for _ in range(2)]
    assert isinstance(target, KeepingTarget)
    path = f'/multiattach/volumes/{volume_id}/reservations'
    assert keeping('GET', path).json['reservations'] == {
        'volume_id': volume_id,
        'generation': 0,
        'type': None,
        'type_name': None,
        'registrations': [],
    }
    idents = [keeping.attach(volume_id, f'host-{n}', server) for n, server in enumerate(servers)]
    target.register(volume_id, iqn('host-0'), KEYS[0], 5)
    target.register(volume_id, iqn('host-1'), KEYS[1])
    target.register(volume_id, iqn('stranger'))
    shown = keeping('GET', path).json['reservations']
    assert (shown['type'], shown['type_name']) == (5, 'write exclusive, registrants only')
    assert shown['registrations'][0] == {
        'initiator': iqn('host-0'),
        'key': KEYS[0],
        'holder': True,
        'attachment_id': idents[0],
        'attach_status': 'attached',
        'server_id': servers[0],
        'server_name': None,
    }
    [stranger] = [one for one in shown['registrations'] if one['initiator'] == iqn('stranger')]
    assert (stranger['attachment_id'], stranger['attach_status'], stranger['holder']) == (None, None, False)

    def clear(**whose: str) -> list[str]:
        reply = keeping('POST', f'{path}/clear', {'reservations': whose})
        assert reply.status_int == 200, reply.text
        return [one['initiator'] for one in reply.json['reservations']['registrations']]

    # A fence proves that the registration is gone, too; a normal detach ends it with the access.
    reply = keeping('POST', f'/multiattach/attachments/{idents[0]}/fence', {'fence': {}})
    [fenced] = reply.json['fence']['attachments']
    assert fenced['proof']['cut']['registration'] is True
    assert fenced['proof']['left'] == {'acl': False, 'account': False, 'sessions': [], 'registration': False}
    shown = keeping('GET', path).json['reservations']
    assert [one['initiator'] for one in shown['registrations']] == [iqn('host-1'), iqn('stranger')]
    assert shown['type'] is None
    assert keeping.delete(idents[0]).status_int == 200
    # One that came back to the target meanwhile is told with what it was.
    target.register(volume_id, iqn('host-0'), KEYS[0])
    [left] = [one for one in keeping('GET', path).json['reservations']['registrations'] if one['key'] == KEYS[0]]
    assert (left['attachment_id'], left['attach_status'], left['server_id']) == (idents[0], 'detached', servers[0])
    assert clear(attachment_id=idents[0]) == [iqn('host-1'), iqn('stranger')]
    assert clear(initiator=iqn('stranger')) == [iqn('host-1')]
    target.register(volume_id, iqn('stranger'))
    assert clear(server_id=servers[1]) == [iqn('stranger')]
    assert clear() == []
    assert [one for _volume, one in target.cleared] == [iqn('host-0'), iqn('stranger'), iqn('host-1'), None]


def test_what_is_still_shown_is_no_success(keeping: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    target, volume_id = keeping.deployed.target, keeping.make_volume()
    assert isinstance(target, KeepingTarget)
    target.register(volume_id, iqn('stranger'))
    monkeypatch.setattr(target, '_end', lambda *_args: None)
    reply = keeping('POST', f'/multiattach/volumes/{volume_id}/reservations/clear', {'reservations': {}})
    assert (reply.status_int, 'still shows registrations of iqn' in reply.text) == (500, True)


@pytest.mark.parametrize('mood', [TargetError('busy'), TargetUnavailable('no answer')])
def test_what_may_have_ended_is_on_record(keeping: Caller, monkeypatch: pytest.MonkeyPatch, mood: Exception) -> None:
    target, volume_id = keeping.deployed.target, keeping.make_volume()
    changed: list[changes.Change] = []
    keeping.deployed.db.observe(changed.append)

    def fail(*_args: object) -> None:
        raise mood

    monkeypatch.setattr(target, 'clear_reservations', fail)
    reply = keeping('POST', f'/multiattach/volumes/{volume_id}/reservations/clear', {'reservations': {}})
    assert reply.status_int == (500 if isinstance(mood, TargetError) else 504)
    [told] = [one for one in changed if one.ident == volume_id]
    assert events.name_event(told, []) == 'volume.reservations.clear.error'
    assert str(mood) in str(told.error)


def test_owners_do_not_see_initiators_and_cannot_end_anything(keeping: Caller) -> None:
    ctx = contexts.make_context(PROJECT, admin=False, roles=('member', 'reader'))
    volume_id = keeping.deployed.make_volume('type-True', ctx=ctx)
    target = keeping.deployed.target
    assert isinstance(target, KeepingTarget)
    target.register(volume_id, iqn('one'))
    member = {'X_Roles': 'member,reader', 'X_Project_Id': PROJECT}
    shown = keeping('GET', f'/multiattach/volumes/{volume_id}/reservations', **member)
    assert [set(one) & {'initiator'} for one in shown.json['reservations']['registrations']] == [set()]
    path = f'/multiattach/volumes/{volume_id}/reservations/clear'
    assert keeping('POST', path, {'reservations': {}}, **member).status_int == 403


def test_a_worker_that_does_not_answer_is_no_empty_list(keeping: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = keeping.make_volume()
    path, service = f'/multiattach/volumes/{volume_id}/reservations', keeping.deployed.engine.reservations

    def hang(*_args: object) -> None:
        raise errors.OutcomeUnknown('No answer.')

    with monkeypatch.context() as patch:
        patch.setattr(service._quick, 'show_reservations', hang)
        reply = keeping('GET', path)
    assert (reply.status_int, 'gave no answer in time' in reply.text) == (503, True)
    keeping.deployed.worker.stop()
    monkeypatch.setattr(service._services, 'is_up', lambda _row: False)
    assert keeping('GET', path).status_int == 503


def test_an_explanation_says_who_keeps_a_reader_from_writing(keeping: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = keeping.make_volume()
    ident = keeping.reserve(volume_id, mode='ro').json['attachment']['id']
    path = f'/multiattach/attachments/{ident}/explain'
    assert keeping('GET', path).json['explanation']['read_only_at'] == 'target'
    monkeypatch.setattr(keeping.deployed.target, 'holds_read_only', False)
    keeping.deployed.worker.beat()
    assert keeping('GET', path).json['explanation']['read_only_at'] == 'host'
    writer = keeping.reserve(volume_id, mode='rw').json['attachment']['id']
    assert keeping('GET', f'/multiattach/attachments/{writer}/explain').json['explanation']['read_only_at'] is None


def test_a_storage_that_forgot_the_capitals_of_a_name_is_understood(
    keeping: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, volume_id = keeping.deployed.target, keeping.make_volume()
    assert isinstance(target, KeepingTarget)
    ident = keeping.attach(volume_id, 'NODE-1', str(uuid.uuid4()))
    target.register(volume_id, iqn('node-1'))
    path = f'/multiattach/volumes/{volume_id}/reservations'
    [found] = keeping('GET', path).json['reservations']['registrations']
    assert (found['initiator'], found['attachment_id']) == (iqn('node-1'), ident)
    monkeypatch.setattr(target, '_end', lambda *_args: None)
    assert keeping('POST', f'{path}/clear', {'reservations': {'attachment_id': ident}}).status_int == 500


def test_a_server_that_went_takes_no_registration_of_the_one_that_has_its_initiator_now(keeping: Caller) -> None:
    target, volume_id, servers = keeping.deployed.target, keeping.make_volume(), [str(uuid.uuid4()) for _ in range(2)]
    assert isinstance(target, KeepingTarget)
    assert keeping.delete(keeping.attach(volume_id, 'one', servers[0])).status_int == 200
    keeping.attach(volume_id, 'two', servers[0])
    keeping.attach(volume_id, 'one', servers[1])
    for host in ('one', 'two'):
        target.register(volume_id, iqn(host))
    path = f'/multiattach/volumes/{volume_id}/reservations'
    reply = keeping('POST', f'{path}/clear', {'reservations': {'server_id': servers[0]}})
    assert [one['server_id'] for one in reply.json['reservations']['registrations']] == [servers[1]]
