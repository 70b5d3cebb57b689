# SPDX-License-Identifier: Apache-2.0
"""Ids of volumes, servers, attachments and types in other spellings, at every door of the API."""

import re
import uuid
from collections.abc import Callable
from urllib import parse

import pytest

from multiattach.api.block import app as block
from multiattach.api.routing import Route
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import Caller

SPELLINGS: dict[str, Callable[[str], str]] = {
    'upper': str.upper,
    'plain': lambda ident: ident.replace('-', ''),
    'braces': lambda ident: f'{{{ident}}}',
    'urn': lambda ident: f'urn:uuid:{ident}',
}


@pytest.fixture(params=SPELLINGS)
def spell(request: pytest.FixtureRequest) -> Callable[[str], str]:
    return SPELLINGS[request.param]


def ids(call: Caller, query: str, noun: str = 'attachments') -> list[str]:
    reply = call('GET', query)
    assert reply.status_int == 200, reply.text
    return [row['id'] for row in reply.json[noun]]


def test_os_attach_makes_one_attachment_of_one_server(call: Caller) -> None:
    volume, server = call.make_volume(), str(uuid.uuid4())
    for one in (server, *(spell(server) for spell in SPELLINGS.values())):
        reply = call.act(volume, 'os-attach', {'instance_uuid': one, 'mountpoint': '/dev/vdb'})
        assert reply.status_int == 202
    assert [row['server_id'] for row in call.show(volume)['attachments']] == [server]


def test_block_storage(call: Caller, spell: Callable[[str], str]) -> None:
    volume, server = call.make_volume(), str(uuid.uuid4())
    made = call.reserve(spell(volume), spell(server))
    assert made.json['attachment']['instance'] == server
    attachment = made.json['attachment']['id']
    assert call.connect(spell(attachment), 'one').status_int == 200
    assert call.complete(spell(attachment)).status_int == 204
    shown = call('GET', f'/attachments/{parse.quote(spell(attachment))}')
    assert shown.json['attachment']['id'] == attachment
    assert call.show(spell(volume))['id'] == volume
    for key, value in {'volume_id': volume, 'instance_id': server, 'instance_uuid': server, 'id': attachment}.items():
        assert ids(call, f'/attachments?{key}={parse.quote(spell(value))}') == [attachment], key
    assert ids(call, f'/attachments?volume_id~={volume[:23].upper()}') == [attachment]
    assert ids(call, f'/volumes?id={parse.quote(spell(volume))}', 'volumes') == [volume]
    assert ids(call, f'/volumes?marker={parse.quote(spell(volume))}', 'volumes') == []
    explained = call('GET', f'/multiattach/attachments/{spell(attachment)}/explain')
    assert explained.json['explanation']['id'] == attachment
    assert call('GET', f'/multiattach/targets/{spell(volume)}').json['target']['volume_id'] == volume
    detached = call.act(volume, 'os-detach', {'attachment_id': spell(attachment)})
    assert detached.status_int == 202
    call.deployed.wait(lambda: call.show(volume)['status'] == 'available')


def test_types_and_clones(call: Caller, spell: Callable[[str], str]) -> None:
    volume = call.make_volume()
    kind = call('GET', '/types').json['volume_types'][-1]['id']
    assert call('GET', f'/types/{spell(kind)}').json['volume_type']['id'] == kind
    for wish in ({'volume_type': spell(kind), 'size': 1}, {'source_volid': spell(volume)}):
        assert call('POST', '/volumes', {'volume': wish}).status_int == 202
    qos = call('POST', '/qos-specs', {'qos_specs': {'name': 'x'}}).json['qos_specs']['id']
    path = f'/qos-specs/{spell(qos)}/associate?vol_type_id={parse.quote(spell(kind))}'
    assert call('GET', path).status_int == 202
    assert call('GET', f'/types/{kind}').json['volume_type']['qos_specs_id'] == qos
    wish = {'default_type': {'volume_type': spell(kind)}}
    assert call('PUT', f'/default-types/{"a" * 32}', wish).json['default_type']['volume_type_id'] == kind


def test_a_server_is_connected_once_from_a_host(call: Caller) -> None:
    volume, server = call.make_volume(), str(uuid.uuid4())
    call.attach(volume, 'one', server)
    second = call.reserve(volume, server.upper()).json['attachment']['id']
    assert call.connect(second, 'one').status_int == 409
    assert call.reserve(volume, f'{{{server}}}', connector=make_connector('two')).status_int == 400


def test_no_path_names_an_id_in_another_way() -> None:
    """Ids are told by the names of wildcards: a new one that is none of these is to be decided upon."""
    seen = set()
    for controller in block.CONTROLLERS:
        for member in vars(controller).values():
            if isinstance(route := getattr(member, 'route', None), Route):
                seen |= set(re.findall(r'{(\w+)}', route.path))
    assert {name for name in seen if not name.endswith('_id')} <= {'key', 'name', 'host', 'alias', 'ident'}
