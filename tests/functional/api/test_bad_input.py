# SPDX-License-Identifier: Apache-2.0
"""What a YAML table cannot say: raw bytes. Nothing gives 500 (contract 1.3, 11.4 number 23)."""

import itertools
import json
import uuid
from typing import Any
from urllib import parse

import pytest
import webob

from multiattach.api import deploy
from multiattach.api.faults import WsgiApp
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import Caller

HEADERS = {'Accept': 'application/json', 'OpenStack-API-Version': 'volume 3.71'}
_KEYS = {
    400: 'badRequest',
    403: 'forbidden',
    404: 'itemNotFound',
    406: 'computeFault',
    409: 'conflictingRequest',
    413: 'overLimit',
    415: 'badMediaType',
}


def send(application: WsgiApp, method: str, path: str, body: bytes = b'', **headers: str) -> webob.Response:
    request = webob.Request.blank(
        f'/v3{path}',
        method=method,
        headers=HEADERS | {name.replace('_', '-'): value for name, value in headers.items()},
    )
    request.body = body
    request.content_type = headers.get('content_type', 'application/json')
    return request.get_response(application)


def check(reply: webob.Response, *statuses: int) -> None:
    assert reply.status_int in (statuses or range(400, 500)), (reply.status, reply.text)
    fault = reply.json[_KEYS[reply.status_int]]
    assert fault['code'] == reply.status_int
    assert fault['message']


BROKEN = [
    b'{',
    b'}',
    b'{"attachment": }',
    b'\xff\xfe',
    b'{"attachment": "\xff"}',
    b'nul',
    b'[' * 100_000,
    b'{"a":' * 20_000,
    b'NaN',
    b'{"attachment": {"volume_uuid": NaN}}',
    b'Infinity',
    b'1' * 5000,
    b'"\\ud800"',
    b'{"\\ud800": 1}',
    b'{"attachment": {"volume_uuid": "\\u0000"}}',
    b'\xef\xbb\xbf{}',
    b'{} {}',
    b' ',
    b'\0',
]


@pytest.mark.parametrize('body', BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('POST', '/attachments'),
        ('PUT', '/attachments/x'),
        ('POST', '/attachments/x/action'),
        ('POST', '/volumes'),
        ('PUT', '/volumes/x'),
        ('POST', '/volumes/x/action'),
        ('POST', '/volumes/x/metadata'),
        ('POST', '/types'),
        ('POST', '/volume-transfers'),
        ('POST', '/volume-transfers/x/accept'),
        ('PUT', '/types/x'),
        ('POST', '/types/x/extra_specs'),
        ('PUT', '/types/x/extra_specs/y'),
        ('PUT', '/os-services/enable'),
    ],
)
def test_what_is_no_json_is_400(rejecting: WsgiApp, method: str, path: str, body: bytes) -> None:
    check(send(rejecting, method, path, body), 400)


@pytest.fixture(scope='module')
def rejecting() -> WsgiApp:
    """An application without engine: whoever reaches the use cases gets 500."""
    application: WsgiApp = deploy.make_application(None, deploy.ApiSettings())  # type: ignore[arg-type]
    return application


@pytest.mark.parametrize('size', [114_689, 1024 * 1024])
def test_a_body_too_large_is_413(rejecting: WsgiApp, size: int) -> None:
    body = json.dumps({'attachment': {'connector': {'host': 'x' * size}}}).encode()
    reply = send(rejecting, 'PUT', '/attachments/x', body)
    assert reply.status_int == 413
    assert reply.json['code'].startswith('413')
    assert 'openstack-api-version' not in reply.headers


def test_a_large_body_without_a_length_is_413(rejecting: WsgiApp) -> None:
    request = webob.Request.blank('/v3/attachments', method='POST', headers=HEADERS, content_type='application/json')
    request.body = b' ' * 200_000
    request.environ.pop('CONTENT_LENGTH')
    request.environ['wsgi.input_terminated'] = True
    reply = request.get_response(rejecting)
    assert reply.status_int == 413
    assert reply.json['code'].startswith('413')


def test_a_path_that_is_not_utf8_is_400(rejecting: WsgiApp) -> None:
    check(send(rejecting, 'GET', '/%ff'), 400)
    check(send(rejecting, 'GET', '/volumes/%ff%fe'), 400)


@pytest.mark.parametrize(
    'path',
    [
        '/volumes?name=%ff',
        '/volumes?%ff=1',
        '/attachments?limit=%00',
        '/attachments?%00=x',
        '/types?sort=%ff',
        '/messages?marker=%ff',
        '/os-services?host=%ff',
    ],
)
def test_a_query_that_is_not_text_is_400(rejecting: WsgiApp, path: str) -> None:
    check(send(rejecting, 'GET', path), 400)


ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    2**200,
    1.5,
    1e300,
    '',
    ' ',
    'x',
    'x' * 300,
    '\n',
    '\u202e',
    '\U0001f600',
    "'",
    '%',
    [],
    [1],
    {},
    {'a': 1},
    {'a': {'b': []}},
    [[[[]]]],
]


@pytest.mark.parametrize('value', ODD_VALUES, ids=range(len(ODD_VALUES)))
def test_no_value_of_a_known_key_gives_500(call: Caller, value: Any) -> None:
    volume = call.make_volume()
    attachment = call.reserve(volume).json['attachment']['id']
    kind = call('GET', '/types').json['volume_types'][0]['id']
    bodies: list[tuple[str, str, Any]] = [
        *(
            ('POST', '/attachments', {'attachment': {'volume_uuid': volume, key: value}})
            for key in ('volume_uuid', 'instance_uuid', 'connector', 'mode', 'other')
        ),
        *(
            ('PUT', f'/attachments/{attachment}', {'attachment': {'connector': {**make_connector('h'), key: value}}})
            for key in ('host', 'initiator')
        ),
        *(
            ('POST', '/volumes', {'volume': {'size': 1, key: value}})
            for key in (
                'size',
                'name',
                'description',
                'volume_type',
                'metadata',
                'availability_zone',
                'snapshot_id',
                'source_volid',
                'imageRef',
                'multiattach',
                'group_id',
                'backup_id',
                'consistencygroup_id',
            )
        ),
        *(('PUT', f'/volumes/{volume}', {'volume': {key: value}}) for key in ('name', 'description', 'metadata')),
        *(
            ('POST', '/snapshots', {'snapshot': {'volume_id': volume, key: value}})
            for key in ('volume_id', 'name', 'description', 'force', 'metadata', 'other')
        ),
        *(
            ('POST', f'/volumes/{volume}/action', {action: {key: value}})
            for action, key in (
                ('revert', 'snapshot_id'),
                ('os-extend', 'new_size'),
                ('os-retype', 'new_type'),
                ('os-retype', 'migration_policy'),
            )
        ),
        *(('POST', f'/volumes/{volume}/action', {action: value}) for action in ('os-extend', 'os-retype')),
        *(
            ('POST', '/types', {'volume_type': {'name': str(uuid.uuid4()), key: value}})
            for key in ('name', 'description', 'extra_specs', 'os-volume-type-access:is_public')
        ),
        *(
            ('POST', '/volume-transfers', {'transfer': {'volume_id': volume, key: value}})
            for key in ('volume_id', 'name', 'no_snapshots', 'other')
        ),
        ('POST', f'/volume-transfers/{kind}/accept', {'accept': {'auth_key': value}}),
        *(('PUT', f'/types/{kind}', {'volume_type': {key: value}}) for key in ('description', 'is_public')),
        ('POST', f'/types/{kind}/extra_specs', {'extra_specs': {'multiattach': value}}),
        ('POST', f'/types/{kind}/extra_specs', {'extra_specs': value}),
        ('PUT', f'/types/{kind}/extra_specs/a', {'a': value}),
        ('POST', f'/volumes/{volume}/metadata', {'metadata': {'a': value}}),
        *(
            ('PUT', '/os-services/disable', {'binary': 'b', 'host': 'h', key: value})
            for key in ('binary', 'host', 'disabled_reason')
        ),
        *(
            ('POST', path, value)
            for path in (
                '/attachments',
                '/volumes',
                '/types',
                f'/volumes/{volume}/action',
                f'/attachments/{attachment}/action',
            )
        ),
    ]
    for (method, path, body), version in itertools.product(bodies, ('3.27', '3.71')):
        reply = call(method, path, body, version)
        assert reply.status_int < 500, (method, path, body, reply.text)
        if reply.status_int >= 400:
            check(reply)


PAGING = 'limit offset marker sort sort_key sort_dir all_tenants other'
QUERIES = {
    '/volumes': f'{PAGING} with_count name name~ status metadata bootable size created_at updated_at '
    'multiattach consumes_quota project_id',
    '/volumes/summary': 'all_tenants size metadata',
    '/attachments': f'{PAGING} volume_id instance_id instance_id~ status attach_status project_id',
    '/attachments/detail': 'marker status',
    '/volume-transfers': f'{PAGING} name volume_id no_snapshots created_at project_id',
    '/types': f'{PAGING} is_public extra_specs',
    '/messages': f'{PAGING} resource_uuid',
    '/os-services': 'host binary other',
    '/scheduler-stats/get_pools': 'detail',
}


@pytest.mark.parametrize(
    'value',
    [
        '',
        '0',
        '-1',
        'x',
        "{'a': 'b'}",
        '{',
        '[' * 5000,
        '9' * 30,
        'None',
        '%',
        'a:b',
        'a,b',
        "{'a': {'b': 1}}",
        '{[]: 1}',
        '1e400',
        '9999-99-99T00:00:00',
        ':',
        ',',
        'gt:0001-01-01T00:00:00+14:00',
        '\U0001f600',
        "' OR 1=1 --",
    ],
    ids=range(21),
)
def test_no_query_gives_500(call: Caller, value: str) -> None:
    for path, keys in QUERIES.items():
        for key in keys.split():
            for headers in ({}, {'X_Roles': 'reader', 'X_Project_Id': 'abc'}):
                reply = call('GET', f'{path}?{parse.quote(key)}={parse.quote(value)}', **headers)
                assert reply.status_int < 500, (path, key, reply.text)
                if reply.status_int >= 400:
                    check(reply)


@pytest.mark.parametrize(
    'name',
    [
        'iqn.1994-05.com.example:a#b',
        "a'b",
        'initiator-address=ALL',
        'a,b',
        'a b',
        '\u00e4',
        'ALL',
        '10.0.0.1',
        'fe80::1',
        'x' * 224,
        'a\n',
    ],
)
def test_an_initiator_that_no_target_can_be_told(call: Caller, name: str) -> None:
    volume = call.make_volume()
    wrong = {**make_connector('one'), 'initiator': name}
    check(call.reserve(volume, connector=wrong), 400)
    attachment = call.reserve(volume).json['attachment']['id']
    check(call('PUT', f'/attachments/{attachment}', {'attachment': {'connector': wrong}}), 400)
    check(call.act(volume, 'os-initialize_connection', {'connector': wrong}), 400)


@pytest.mark.parametrize('name', ['fake', 'iqn.odd', 'Host_1:a.b-c'])
def test_an_initiator_of_any_form(call: Caller, name: str) -> None:
    volume = call.make_volume()
    made = call.reserve(volume, connector={**make_connector('one'), 'initiator': name})
    assert made.status_int == 200
    assert call.deployed.target.list_exports()[volume].initiators == (name,)
    assert call.delete(made.json['attachment']['id']).status_int == 200
