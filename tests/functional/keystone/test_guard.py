# SPDX-License-Identifier: Apache-2.0
"""Who may take an attachment away while a server uses it: each row of contract 7.3."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployments.noauth import make_connector
from tests.functional.keystone.conftest import Cloud, Reply
from tests.functional.keystone.stand_in import BASE, StandInNova
from tests.testbed.servers import pick_port


@pytest.fixture
def server() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def volume(cloud: Cloud) -> str:
    return cloud.make_volume()


def delete(cloud: Cloud, persona: str, attachment_id: str, **more: Any) -> Reply:
    return cloud(persona, 'DELETE', f'/v3/attachments/{attachment_id}', **more)


def stays(cloud: Cloud, attachment_id: str, status: str = 'attached') -> None:
    reply = cloud('member', 'GET', f'/v3/attachments/{attachment_id}')
    assert (reply.status, reply.json['attachment']['status']) == (200, status)


def is_conflict(reply: Reply, server: str) -> None:
    assert reply.status == 409
    text = reply.json['conflictingRequest']['message']
    assert text.startswith('ConflictNovaUsingAttachment: ')
    assert server in text
    assert 'using the Compute API' in text


@pytest.fixture
def used(cloud: Cloud, nova: StandInNova, volume: str, server: str) -> str:
    """An attachment by which a server uses a volume."""
    ident = cloud.reserve(volume, server)
    cloud.connect(ident)
    cloud.complete(ident)
    nova.use(ident)
    return ident


def test_row_1_a_service_request_passes_and_nova_is_not_asked(cloud: Cloud, nova: StandInNova, used: str) -> None:
    assert delete(cloud, 'member', used, service='nova').status == 200
    assert nova.asked == []


def test_row_5_without_a_server(cloud: Cloud, nova: StandInNova, volume: str) -> None:
    ident = cloud.reserve(volume)
    cloud.connect(ident)
    cloud.complete(ident)
    nova.use(ident)
    assert delete(cloud, 'member', ident).status == 200
    assert nova.asked == []


def test_row_5_without_a_connector(cloud: Cloud, nova: StandInNova, volume: str, server: str) -> None:
    ident = cloud.reserve(volume, server)
    nova.use(ident)
    assert delete(cloud, 'member', ident).status == 200
    assert nova.asked == []


def test_row_6_nova_knows_of_no_use(cloud: Cloud, nova: StandInNova, used: str, volume: str, server: str) -> None:
    nova.use(None)
    assert delete(cloud, 'member', used).status == 200
    [asked] = nova.asked
    assert asked.path == f'{BASE}/servers/{server}/os-volume_attachments/{volume}'
    assert asked.headers['X-Auth-Token'] == cloud.token('member')
    assert asked.headers['OpenStack-API-Version'] == 'compute 2.89'


def test_row_7_the_server_uses_another_attachment(cloud: Cloud, nova: StandInNova, used: str) -> None:
    nova.use(str(uuid.uuid4()))
    assert delete(cloud, 'member', used).status == 200
    assert len(nova.asked) == 1


@pytest.mark.parametrize('persona', ['member', 'admin', 'root'])
def test_row_8_the_server_uses_it(cloud: Cloud, nova: StandInNova, used: str, server: str, persona: str) -> None:
    is_conflict(delete(cloud, persona, used), server)
    assert len(nova.asked) == 1
    stays(cloud, used)


def test_row_8_in_any_state(cloud: Cloud, nova: StandInNova, volume: str, server: str) -> None:
    ident = cloud.reserve(volume, server)
    cloud.connect(ident)
    nova.use(ident)
    is_conflict(delete(cloud, 'member', ident), server)
    stays(cloud, ident, 'attaching')


@pytest.mark.parametrize(('answer', 'status'), [(403, 403), (401, 403), (503, 503), (500, 503), (400, 503)])
def test_row_9_nova_refuses(cloud: Cloud, nova: StandInNova, used: str, answer: int, status: int) -> None:
    nova.answer(answer, {'computeFault': {'code': answer, 'message': 'no'}})
    assert delete(cloud, 'member', used).status == status
    stays(cloud, used)


@pytest.mark.parametrize(
    ('answer', 'body'),
    [
        (404, '<html>no such page</html>'),
        (404, {'code': '404 Not Found', 'title': 'Not Found'}),
        (200, '<html>'),
        (200, {}),
        (200, {'volumeAttachment': {'id': 'x'}}),
        (200, []),
    ],
)
def test_what_is_no_nova_opens_no_door(cloud: Cloud, nova: StandInNova, used: str, answer: int, body: Any) -> None:
    nova.answer(answer, body)
    assert delete(cloud, 'admin', used).status == 503
    stays(cloud, used)


@pytest.fixture
def without_compute(cloud: Cloud, nova: StandInNova) -> Iterator[None]:
    cloud.keystone.identity.unregister('compute')
    yield
    cloud.keystone.register_compute(nova.url)


@pytest.mark.usefixtures('without_compute')
def test_row_9_nobody_can_be_asked(cloud: Cloud, nova: StandInNova, used: str) -> None:
    """Cinder answers 500; here the reply says what is missing."""
    reply = delete(cloud, 'admin', used, token=cloud.keystone.issue_token('admin'))
    assert reply.status == 409
    assert 'no compute endpoint' in reply.json['conflictingRequest']['message']
    assert nova.asked == []
    stays(cloud, used)


def test_row_9_nova_is_down(cloud: Cloud, nova: StandInNova, used: str) -> None:
    cloud.keystone.register_compute(f'http://127.0.0.1:{pick_port()}/v2.1')
    try:
        assert delete(cloud, 'admin', used, token=cloud.keystone.issue_token('admin')).status == 503
    finally:
        cloud.keystone.register_compute(nova.url)
    stays(cloud, used)


def test_roles_of_a_user_make_no_service_request(cloud: Cloud, nova: StandInNova, used: str, server: str) -> None:
    """Contract 7.2: the service token counts, and what a client says of it does not."""
    accounts = cloud.keystone.accounts
    both = cloud.keystone.identity.create_account(
        f'both-{uuid.uuid4()}', 'project', accounts['member'].project_id, 'member', 'service'
    )
    token = cloud.keystone.identity.issue_token(both)
    forged = {'X-Service-Roles': 'service', 'X-Service-Identity-Status': 'Confirmed'}
    is_conflict(delete(cloud, 'member', used, token=token), server)
    is_conflict(delete(cloud, 'member', used, headers=forged), server)
    assert delete(cloud, 'member', used, service='admin').status == 401
    assert delete(cloud, 'member', used, service='nova', token=token).status == 200
    assert len(nova.asked) == 2


def test_who_may_not_see_or_do_it_does_not_reach_nova(cloud: Cloud, nova: StandInNova, used: str) -> None:
    assert delete(cloud, 'foreign-member', used).status == 404
    assert delete(cloud, 'reader', used).status == 403
    assert nova.asked == []


# -- the actions that detached servers before there were attachments ---------------------------


def act(cloud: Cloud, persona: str, volume_id: str, action: str, value: Any, **more: Any) -> Reply:
    return cloud(persona, 'POST', f'/v3/volumes/{volume_id}/action', {action: value}, **more)


ACTIONS = [
    ('member', 'os-detach', {}),
    ('admin', 'os-detach', {}),
    ('admin', 'os-force_detach', {}),
    ('member', 'os-terminate_connection', {'connector': make_connector('one')}),
    ('admin', 'os-terminate_connection', {'connector': None}),
]


@pytest.mark.parametrize(('persona', 'action', 'value'), ACTIONS)
def test_actions_ask_about_the_one_attachment(
    cloud: Cloud, nova: StandInNova, used: str, volume: str, server: str, persona: str, action: str, value: Any
) -> None:
    """Contract 7.3 step 2: exactly one."""
    is_conflict(act(cloud, persona, volume, action, value), server)
    assert len(nova.asked) == 1
    stays(cloud, used)
    assert act(cloud, persona, volume, action, value, service='nova').status == 202
    assert len(nova.asked) == 1


@pytest.mark.parametrize(
    ('persona', 'action', 'value'), [row for row in ACTIONS if row[2] != {'connector': make_connector('one')}]
)
def test_actions_that_name_none_of_several(
    cloud: Cloud, nova: StandInNova, used: str, volume: str, persona: str, action: str, value: Any
) -> None:
    """Contract 7.3 step 2: several; Nova cannot be asked about which."""
    other = cloud.reserve(volume, str(uuid.uuid4()))
    cloud.connect(other, 'two')
    reply = act(cloud, persona, volume, action, value)
    is_conflict(reply, 'instance  using')
    assert nova.asked == []
    stays(cloud, used)


@pytest.mark.parametrize(('persona', 'action', 'value'), ACTIONS)
def test_actions_without_an_attachment(
    cloud: Cloud, nova: StandInNova, volume: str, persona: str, action: str, value: Any
) -> None:
    """Contract 7.3 step 2: none."""
    nova.use(None)
    assert act(cloud, persona, volume, action, value).status == 202
    assert nova.asked == []


def test_row_3_an_unknown_attachment(cloud: Cloud, nova: StandInNova, used: str, volume: str) -> None:
    for persona, action in (('member', 'os-detach'), ('admin', 'os-force_detach')):
        reply = act(cloud, persona, volume, action, {'attachment_id': str(uuid.uuid4())})
        is_conflict(reply, 'instance  using')
    assert nova.asked == []
    stays(cloud, used)


def test_row_4_the_attachment_of_another_volume(cloud: Cloud, nova: StandInNova, used: str) -> None:
    other = cloud.make_volume()
    for persona, action in (('member', 'os-detach'), ('admin', 'os-force_detach')):
        assert act(cloud, persona, other, action, {'attachment_id': used}).status == 400
    assert nova.asked == []
    stays(cloud, used)


def test_force_detach_is_for_admins(cloud: Cloud, nova: StandInNova, used: str, volume: str) -> None:
    assert act(cloud, 'member', volume, 'os-force_detach', {}).status == 403
    assert act(cloud, 'foreign-member', volume, 'os-detach', {}).status == 404
    assert nova.asked == []
    stays(cloud, used)
