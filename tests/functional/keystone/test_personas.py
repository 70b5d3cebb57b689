# SPDX-License-Identifier: Apache-2.0
"""Personas with real tokens: what each may see and do; secrets of connections."""

from typing import Any

import pytest

from tests.deployments.noauth import make_connector
from tests.functional.keystone.conftest import Cloud

PERSONAS = ('reader', 'member', 'admin', 'nova', 'foreign-member', 'foreign-reader')
_CREATE = {'volume': {'size': 1}}
_UPDATE = {'volume': {'name': 'renamed'}}
_ACTION = '/v3/attachments/{attachment}/action'


# The columns are PERSONAS. May not see: 404; may not do: 403. What only shows or cannot change
# anything for those who may is tried by everybody, on the same volume.
@pytest.mark.parametrize(
    ('method', 'path', 'body', 'statuses'),
    [
        ('GET', '/v3/volumes/{volume}', None, '200 200 200 404 404 404'),
        ('GET', '/v3/volumes/{volume}/metadata', None, '200 200 200 404 404 404'),
        ('PUT', '/v3/volumes/{volume}', _UPDATE, '403 200 200 404 404 404'),
        ('POST', '/v3/volumes/{volume}/metadata', {'metadata': {'a': 'b'}}, '403 200 200 404 404 404'),
        ('DELETE', '/v3/volumes/{volume}', None, '403 400 400 404 404 404'),
        ('POST', '/v3/volumes/{volume}/action', {'os-extend': {'new_size': 1}}, '403 400 400 404 404 404'),
        ('POST', '/v3/volumes/{volume}/action', {'os-begin_detaching': None}, '403 400 400 404 404 404'),
        ('GET', '/v3/attachments/{attachment}', None, '200 200 200 404 404 404'),
        (
            'PUT',
            '/v3/attachments/{attachment}',
            {'attachment': {'connector': make_connector('one')}},
            '403 200 200 404 404 404',
        ),
        ('POST', '/v3/attachments', {'attachment': {'volume_uuid': '{spare}'}}, '403 200 200 404 404 404'),
        ('GET', '/v3/volumes/detail', None, '200 200 200 403 200 200'),
        ('GET', '/v3/attachments', None, '200 200 200 403 200 200'),
        ('GET', '/v3/types', None, '200 200 200 403 200 200'),
        ('POST', '/v3/types', {'volume_type': {'name': ' '}}, '400 400 400 400 400 400'),
        ('PUT', '/v3/types/{type}', {'volume_type': {'description': 'x'}}, '403 403 200 403 403 403'),
        ('GET', '/v3/os-services', None, '403 403 200 403 403 403'),
        ('GET', '/v3/scheduler-stats/get_pools', None, '403 403 200 403 403 403'),
        ('GET', '/v3/messages', None, '200 200 200 403 200 200'),
        ('GET', '/v3/limits', None, '200 200 200 200 200 200'),
    ],
)
def test_personas(cloud: Cloud, attached: dict[str, str], method: str, path: str, body: Any, statuses: str) -> None:
    if path == '/v3/attachments' and body:
        body = {'attachment': {'volume_uuid': attached['spare']}}
    found = [str(cloud(persona, method, path.format(**attached), body).status) for persona in PERSONAS]
    assert ' '.join(found) == statuses


@pytest.fixture(scope='module')
def attached(cloud: Cloud) -> dict[str, str]:
    volume_id = cloud.make_volume()
    ident = cloud.reserve(volume_id)
    cloud.connect(ident)
    return {'volume': volume_id, 'attachment': ident, 'spare': cloud.make_volume(), 'type': cloud.make_type(True)}


def test_lists_hold_what_the_project_has(cloud: Cloud, attached: dict[str, str]) -> None:
    def volumes(persona: str, query: str = '') -> set[str]:
        return {row['id'] for row in cloud(persona, 'GET', f'/v3/volumes{query}').json['volumes']}

    def attachments(persona: str, query: str = '') -> set[str]:
        return {row['id'] for row in cloud(persona, 'GET', f'/v3/attachments{query}').json['attachments']}

    for persona in ('reader', 'member', 'admin'):
        assert attached['volume'] in volumes(persona)
        assert attached['attachment'] in attachments(persona)
    for persona in ('foreign-member', 'foreign-reader'):
        for query in ('', '?all_tenants=1', f'?project_id={cloud.keystone.accounts["member"].project_id}'):
            assert attached['volume'] not in volumes(persona, query)
            assert attached['attachment'] not in attachments(persona, query)
    assert attached['volume'] not in volumes('root')
    assert attached['volume'] in volumes('root', '?all_tenants=1')
    assert attached['attachment'] in attachments('root', '?all_tenants=1')


SECRETS = ('auth_username', 'auth_password')


def test_replies_that_give_a_connector_are_whole(cloud: Cloud) -> None:
    volume_id = cloud.make_volume()
    reply = cloud(
        'member',
        'POST',
        '/v3/attachments',
        {'attachment': {'volume_uuid': volume_id, 'connector': make_connector('one')}},
    )
    info = reply.json['attachment']['connection_info']
    assert all(info[key] for key in SECRETS)
    again = cloud.connect(reply.json['attachment']['id'])
    assert again['connection_info'] == info


@pytest.mark.parametrize(
    ('persona', 'service', 'sees'),
    [
        ('reader', None, False),
        ('member', None, False),
        ('admin', None, True),
        ('member', 'nova', True),
        ('reader', 'nova', True),
    ],
)
def test_secrets_are_for_services_and_admins(
    cloud: Cloud, attached: dict[str, str], persona: str, service: str | None, sees: bool
) -> None:
    shown = cloud(persona, 'GET', f'/v3/attachments/{attached["attachment"]}', service=service)
    listed = cloud(persona, 'GET', f'/v3/attachments/detail?volume_id={attached["volume"]}', service=service)
    [row] = listed.json['attachments']
    for info in (shown.json['attachment']['connection_info'], row['connection_info']):
        assert info['target_iqn']
        assert [key in info for key in SECRETS] == [sees, sees]


def test_hosts_are_for_services_and_admins(cloud: Cloud) -> None:
    volume_id = cloud.make_volume()
    ident = cloud.reserve(volume_id)
    cloud.connect(ident)
    cloud.complete(ident)

    def host(persona: str, **more: Any) -> Any:
        reply = cloud(persona, 'GET', f'/v3/volumes/{volume_id}', **more)
        return reply.json['volume']['attachments'][0]['host_name']

    assert host('admin') == 'one'
    assert host('member', service='nova') == 'one'
    assert host('member') is None
    assert host('reader') is None
