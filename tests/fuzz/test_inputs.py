# SPDX-License-Identifier: Apache-2.0
"""What a description cannot say: headers, paths, filters; and walks of calls that mostly succeed."""

import random
import string
import uuid
from typing import Any
from urllib import parse

import hypothesis
import webob
from hypothesis import strategies as st

from multiattach.api import microversion
from tests.deployments import embedded
from tests.fuzz.conftest import FACTOR, Service
from tests.fuzz.test_schemathesis import CONNECTOR, NEWEST, settings

LATIN = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters='\r\n'), max_size=40)
NUMBER = st.one_of(st.integers(-1, 100).map(str), st.sampled_from(['', '071', '1' * 30, '٣', '1e1', '0x1', ' 1']))
VERSION = st.one_of(
    st.builds('{} {}.{}'.format, st.sampled_from(['volume', 'volumev3', 'Volume', 'compute', '']), NUMBER, NUMBER),
    st.sampled_from(
        [
            'volume latest',
            'latest',
            'volume',
            'volume 3.27,compute 2.1',
            'compute 2.1, volume 3.0',
            ',',
            'volume 3.27 3.28',
            'volume 3.-1',
            'volume 3',
            'volume 3.27.1',
        ]
    ),
    LATIN,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        'OpenStack-API-Version': VERSION,
        'X-Auth-Token': LATIN,
        'X-Service-Roles': LATIN,
        'X-OpenStack-Request-ID': LATIN,
        'Accept': st.one_of(st.sampled_from(['*/*', 'text/html', 'application/xml', 'q=', ';']), LATIN),
        'Content-Type': st.one_of(
            st.sampled_from(
                [
                    'application/json; charset=utf-16',
                    'text/plain',
                    'application/vnd.openstack.volume+json',
                    'application/json; charset=none',
                    'multipart/form-data',
                ]
            ),
            LATIN,
        ),
        'Accept-Language': LATIN,
        'If-Modified-Since': LATIN,
        'Range': LATIN,
        'Cookie': LATIN,
        'X-Forwarded-Proto': LATIN,
        'X-HTTP-Method-Override': LATIN,
        'Transfer-Encoding': LATIN,
    },
)
METHODS = st.sampled_from(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'BREW'])
WORDS = st.one_of(
    st.sampled_from(
        [
            'volumes',
            'attachments',
            'types',
            'detail',
            'summary',
            'action',
            'metadata',
            'extra_specs',
            'os-quota-sets',
            'default-types',
            'encryption',
            '',
            '.',
            '..',
            '.json',
            'a' * 32,
            '%00',
            '%2e%2e',
            '%ff',
            '%2f',
            'volumes.json',
            '~',
            'x' * 3000,
        ]
    ),
    st.text(string.printable, max_size=8).map(parse.quote),
    st.binary(max_size=4).map(parse.quote),
    st.text(max_size=6).map(lambda text: parse.quote(text, errors='surrogatepass')),
)


def send(service: Service, method: str, path: str, headers: dict[str, str], body: bytes = b'') -> webob.Response:
    request = webob.Request.blank(path, method=method)
    for name, value in headers.items():
        key = name.upper().replace('-', '_')
        request.environ[key if key == 'CONTENT_TYPE' else f'HTTP_{key}'] = value
    request.body = body
    return request.get_response(service.application)


def test_headers(service: Service) -> None:
    service.replenish()

    @settings(200)
    @hypothesis.given(
        HEADERS,
        st.sampled_from(['/volumes/detail', '/types', '/attachments', '/nowhere', '/']),
        st.sampled_from([b'', b'{}', b'{"volume": {}}', b'\xff']),
        METHODS,
    )
    def check(headers: dict[str, str], path: str, body: bytes, method: str) -> None:
        send(service, method, f'/v3{path}', headers, body)

    check()


def test_each_microversion(service: Service) -> None:
    """The same lists at each, with something in them."""
    service.replenish()
    for minor in range(NEWEST + 1):
        for path in ('/volumes/detail', '/attachments/detail', '/types', '/os-services', '/limits'):
            path += '?all_tenants=1' if 'detail' in path else ''
            reply = service.send('GET', path, version=f'3.{minor}')
            assert reply.status_int == (404 if path.startswith('/att') and minor < 27 else 200)
            assert reply.status_int == 404 or any(reply.json.values())


def test_paths(service: Service) -> None:
    @settings(300)
    @hypothesis.given(st.lists(WORDS, max_size=6), METHODS, st.sampled_from(['/v3', '', '/compute', '//v3']))
    def check(words: list[str], method: str, mount: str) -> None:
        reply = send(
            service, method, '/'.join([mount, *words]) or '/', {'OpenStack-API-Version': f'volume 3.{NEWEST}'}, b'{}'
        )
        assert reply.status_int < 500

    check()


KEYS = st.one_of(
    st.sampled_from(
        [
            'limit',
            'marker',
            'offset',
            'sort',
            'sort_key',
            'sort_dir',
            'all_tenants',
            'with_count',
            'name',
            'name~',
            'status',
            'metadata',
            'created_at',
            'updated_at',
            'host',
            'id',
            'size',
            'bootable',
            'is_public',
            'extra_specs',
            'instance_id',
            'volume_id',
            'attach_mode',
            'usage',
            'detail',
            'binary',
            'resource_uuid',
            'project_id',
            'glance_metadata',
            'consumes_quota',
        ]
    ),
    st.text(max_size=5),
)
VALUES = st.one_of(
    st.sampled_from(
        [
            '',
            '0',
            '1',
            '-1',
            'true',
            'False',
            'none',
            "{'a': 'b'}",
            '{',
            "{'a': {'b': 1}}",
            '[]',
            'gt:2020-01-01T00:00:00',
            'lt:2020-01-01T00:00:00,gt:1',
            'gte:',
            '99999999999999999999',
            'name:asc,id:desc',
            'id',
            'asc',
            '%',
            '_',
            '\\',
            "'",
            '2' * 400,
            'é',
            '\U0001f600',
            '0001-01-01',
            'gt:9999-12-31T23:59:59+00:00',
            'lt:0001-01-01T00:00:00+14:00',
            '1' * 4300,
        ]
    ),
    st.text(max_size=10),
)
LISTS = (
    '/volumes',
    '/volumes/detail',
    '/volumes/summary',
    '/attachments',
    '/attachments/detail',
    '/types',
    '/messages',
    '/os-services',
    '/scheduler-stats/get_pools',
    '/resource_filters',
    '/limits',
    f'/os-quota-sets/{"a" * 32}',
)


def test_filters(service: Service) -> None:
    service.replenish()

    @settings(400)
    @hypothesis.given(
        st.sampled_from(LISTS),
        st.lists(st.tuples(KEYS, VALUES), max_size=4),
        st.sampled_from([0, 30, 34, 45, 60, NEWEST]),
    )
    def check(path: str, query: list[tuple[str, str]], minor: int) -> None:
        send(
            service,
            'GET',
            f'/v3{path}?{parse.urlencode(query, errors="surrogatepass")}',
            {microversion.HEADER: f'volume 3.{minor}'},
        )

    check()


def test_raw_queries(service: Service) -> None:
    @settings(150)
    @hypothesis.given(st.sampled_from(LISTS), st.binary(max_size=20))
    def check(path: str, query: bytes) -> None:
        request = webob.Request.blank(f'/v3{path}', headers={microversion.HEADER: f'volume 3.{NEWEST}'})
        request.environ['QUERY_STRING'] = query.decode('latin-1')
        request.get_response(service.application)

    check()


SIZES = (1, 2, '3', 0, -1, 2**31 - 1, 2**31, '', None, 1.0, True)
RESETS = ({'status': 'available'}, {'status': 'in-use'}, {'attach_status': 'detached'}, {'status': 'error'})
# V is a volume, A an attachment, T its type, F a type without volumes, S a snapshot, X a transfer and K its key.
ACTIONS = [
    *(
        {name: None}
        for name in (
            'os-reserve',
            'os-unreserve',
            'os-begin_detaching',
            'os-roll_detaching',
            'os-force_delete',
            'os-show_image_metadata',
            'os-detach',
        )
    ),
    *({'os-extend': {'new_size': size}} for size in SIZES),
    *({'os-reset_status': value} for value in RESETS),
    *({'os-set_bootable': {'bootable': flag}} for flag in (True, False)),
    *({'os-update_readonly_flag': {'readonly': flag}} for flag in (True, False)),
    *({'os-terminate_connection': {'connector': value}} for value in (CONNECTOR, None, {})),
    {'os-initialize_connection': {'connector': CONNECTOR}},
    {'os-attach': {'mountpoint': '/dev/vdb', 'host_name': 'fuzz'}},
    {'os-attach': {'mountpoint': '/dev/vdb', 'instance_uuid': str(uuid.UUID(int=1))}},
    {'os-set_image_metadata': {'metadata': {'a': 'b'}}},
    {'os-unset_image_metadata': {'key': 'a'}},
    {'os-force_detach': {'connector': CONNECTOR}},
    *({'os-retype': {'new_type': name, 'migration_policy': 'never'}} for name in 'TF'),
    {'os-retype': {'new_type': 'F', 'migration_policy': 'on-demand'}},
    {'revert': {'snapshot_id': 'S'}},
    {'os-unmanage': None},
    {'os-migrate_volume': {'host': f'{embedded.BACKEND}#file', 'lock_volume': True}},
    {'os-reset_status': {'migration_status': 'none'}},
    {'os-volume_upload_image': {'image_name': 'n', 'force': True}},
    {'os-reimage': {'image_id': str(uuid.UUID(int=4)), 'reimage_reserved': True}},
]
SNAPSHOT_ACTIONS = [
    *({'os-reset_status': {'status': status}} for status in ('available', 'error', 'deleting', 'restoring')),
    {'os-update_snapshot_status': {'status': 'available', 'progress': '50%'}},
    {'os-force_delete': None},
    {'os-unmanage': None},
]
Call = tuple[str, str, Any]
OFFER: Call = ('POST', '/volume-transfers', {'transfer': {'volume_id': 'V', 'name': 'n', 'no_snapshots': 'yes'}})
ACCEPT: Call = ('POST', '/volume-transfers/X/accept', {'accept': {'auth_key': 'K'}})
WITHDRAW: Call = ('DELETE', '/volume-transfers/X', None)
CALLS: list[Call] = [
    ('POST', '/attachments', {'attachment': {'volume_uuid': 'V', 'instance_uuid': str(uuid.UUID(int=2))}}),
    (
        'POST',
        '/attachments',
        {
            'attachment': {
                'volume_uuid': 'V',
                'instance_uuid': str(uuid.UUID(int=3)),
                'connector': CONNECTOR,
                'mode': 'ro',
            }
        },
    ),
    ('PUT', '/attachments/A', {'attachment': {'connector': CONNECTOR}}),
    ('PUT', '/attachments/A', {'attachment': {'connector': CONNECTOR | {'multipath': True}}}),
    ('POST', '/attachments/A/action', {'os-complete': None}),
    ('DELETE', '/attachments/A', None),
    ('DELETE', '/volumes/V', None),
    ('DELETE', '/volumes/V/?force=1', None),
    ('PUT', '/volumes/V', {'volume': {'name': 'n', 'metadata': {'k': 'v'}}}),
    ('PUT', '/volumes/V/metadata/k', {'meta': {'k': 'v'}}),
    ('DELETE', '/volumes/V/metadata/k', None),
    ('PUT', '/types/T', {'volume_type': {'description': 'd'}}),
    ('DELETE', '/types/F', None),
    ('POST', '/types/F/extra_specs', {'extra_specs': {'multiattach': '<is> False'}}),
    ('POST', '/types/F/extra_specs', {'extra_specs': {'a': None}}),
    ('DELETE', '/types/F/extra_specs/a', None),
    ('POST', '/types/F/encryption', {'encryption': {'provider': 'luks', 'control_location': 'front-end'}}),
    ('POST', '/types/T/action', {'addProjectAccess': {'project': 'b' * 32}}),
    (
        'PUT',
        '/os-services/disable-log-reason',
        {'host': embedded.BACKEND, 'binary': 'cinder-volume', 'disabled_reason': 'fuzz'},
    ),
    ('PUT', f'/os-quota-sets/{"a" * 32}', {'quota_set': {'volumes': 1, 'gigabytes': '2'}}),
    OFFER,
    ('GET', '/volume-transfers/detail?all_tenants=1', None),
    ('GET', '/volumes/V', None),
    ('GET', '/attachments/A', None),
    ('GET', '/messages', None),
    ('GET', '/volumes/detail?all_tenants=1&with_count=1', None),
    ('GET', '/attachments/detail?all_tenants=1&limit=1', None),
    ('GET', '/types/F/encryption', None),
    ('GET', f'/os-quota-sets/{"a" * 32}?usage=1', None),
    ('POST', '/volumes', {'volume': {'size': 1, 'volume_type': 'T'}}),
    ('POST', '/volumes', {'volume': {'snapshot_id': 'S'}}),
    ('POST', '/volumes', {'volume': {'source_volid': 'V', 'size': 2}}),
    ('POST', '/volumes', {'volume': {'imageRef': 'S'}}),
    ('DELETE', '/volumes/V/?cascade=1', None),
    *[('POST', '/snapshots', {'snapshot': {'volume_id': 'V', 'force': True, 'metadata': {'k': 'v'}}})] * 2,
    ('PUT', '/snapshots/S', {'snapshot': {'name': 'n'}}),
    ('GET', '/snapshots/detail?all_tenants=1&with_count=1', None),
    ('DELETE', '/snapshots/S', None),
    ACCEPT,
    WITHDRAW,
    ('GET', f'/manageable_volumes/detail?host={embedded.BACKEND}', None),
    ('GET', f'/manageable_snapshots?host={embedded.BACKEND}', None),
    ('POST', '/manageable_volumes', {'volume': {'host': embedded.BACKEND, 'ref': {'source-name': 'N'}}}),
    ('POST', '/manageable_snapshots', {'snapshot': {'volume_id': 'V', 'ref': {'source-name': 'N'}}}),
]
REACHED = {
    'post_volumes',
    'put_volumes_volume_id',
    'delete_volumes_volume_id',
    'post_volumes_volume_id_action',
    'post_attachments',
    'put_attachments_attachment_id',
    'delete_attachments_attachment_id',
    'post_attachments_attachment_id_action',
    'put_types_type_id',
    'post_types_type_id_extra_specs',
    'post_types_type_id_encryption',
    'put_volumes_volume_id_metadata_key',
    'post_snapshots',
    'delete_snapshots_snapshot_id',
    'post_snapshots_snapshot_id_action',
    'post_volume_transfers',
    'post_volume_transfers_transfer_id_accept',
    'delete_volume_transfers_transfer_id',
}


def test_walks(service: Service) -> None:
    """States follow one another in any order, and each reply is as described."""
    for seed in range(max(int(60 * FACTOR), 1)):
        walk(service, random.Random(seed))
    missed = REACHED - {name for name, _ in service.application.seen}
    assert not missed, f'the walks do not get far enough: {missed}'


def walk(service: Service, chance: random.Random) -> None:
    service.replenish()
    fresh = service.send('POST', '/types', {'volume_type': {'name': f'fresh-{uuid.uuid4()}'}}).json
    places = {'V': service.volume_id, 'A': service.attachment_id, 'T': service.type_id, 'F': fresh['volume_type']['id']}
    places |= {'S': service.snapshot_id, 'X': str(uuid.UUID(int=5)), 'K': 'k' * 16, 'N': f'volume-{service.volume_id}'}
    soon: list[Call] = []
    if chance.random() < 0.5:
        service.send('DELETE', f'/attachments/{service.attachment_id}')
        soon = [OFFER] if chance.random() < 0.5 else []
    for _ in range(12):
        (method, path, body), minor = chance.choice(CALLS), chance.choice((27, 50, NEWEST, NEWEST))
        if soon:
            (method, path, body), minor = soon.pop(), NEWEST
        elif (share := chance.random()) < 0.5:
            method, path, body = 'POST', '/volumes/V/action', chance.choice(ACTIONS)
            if share < 0.1:
                path, body = '/snapshots/S/action', chance.choice(SNAPSHOT_ACTIONS)
        path = '/'.join(places.get(piece, piece) for piece in path.split('/')).replace('/?', '?')
        reply = service.send(method, path, _name(body, places), f'3.{minor}')
        if method == 'POST' and path == '/attachments' and reply.status_int == 200:
            places['A'] = reply.json['attachment']['id']
        elif method == 'POST' and path == '/snapshots' and reply.status_int == 202:
            places['S'] = reply.json['snapshot']['id']
        elif method == 'POST' and path == '/volume-transfers' and reply.status_int == 202:
            places |= {'X': reply.json['transfer']['id'], 'K': reply.json['transfer']['auth_key']}
            soon.append(chance.choice((ACCEPT, WITHDRAW)))


def _name(body: Any, places: dict[str, str]) -> Any:
    if isinstance(body, dict):
        return {key: _name(value, places) for key, value in body.items()}
    return places.get(body, body) if isinstance(body, str) else body
