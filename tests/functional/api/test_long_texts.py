# SPDX-License-Identifier: Apache-2.0
"""Texts that no column could keep are refused with 400 before they get there."""

import uuid

import pytest
import webob

from multiattach.api import deploy
from tests import lengths
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import Caller

LONG = 'x' * 300


@pytest.fixture(autouse=True)
def strict_columns(call: Caller) -> None:
    lengths.enforce(call.deployed.db.engine)


def check(reply: webob.Response, *statuses: int) -> None:
    assert reply.status_int in (statuses or (400,)), reply.text


def test_the_columns_are_strict(call: Caller) -> None:
    with pytest.raises(Exception, match='too long'):
        call.deployed.engine.types.create(call.deployed.ctx, LONG, None, True, {})


def test_projects_in_paths(call: Caller) -> None:
    call.make_volume()
    check(call('PUT', f'/os-quota-sets/{LONG}', {'quota_set': {'volumes': 1}}), 404)
    check(call('PUT', f'/os-quota-class-sets/{LONG}', {'quota_class_set': {'volumes': 1}}), 404)
    check(call('PUT', f'/default-types/{LONG}', {'default_type': {'volume_type': 'type-True'}}), 404)
    for path in ('os-quota-sets', 'os-quota-class-sets', 'default-types'):
        assert call('GET', f'/{path}/{LONG}').status_int < 500
    for path in ('os-quota-sets', 'default-types'):
        assert call('DELETE', f'/{path}/{LONG}').status_int < 500


def test_mountpoint_of_a_connector(call: Caller) -> None:
    volume_id = call.make_volume()
    long = make_connector('a') | {'mountpoint': LONG}
    check(call.reserve(volume_id, connector=long))
    ident = call.reserve(volume_id).json['attachment']['id']
    check(call('PUT', f'/attachments/{ident}', {'attachment': {'connector': long}}))
    assert call('GET', f'/attachments/{ident}').json['attachment']['status'] == 'reserved'
    check(call.act(volume_id, 'os-initialize_connection', {'connector': long}))


@pytest.mark.parametrize('token', [f'{LONG}:{"a" * 32}', f'u:{LONG}', 'a\0b', 'u:a\0b'])
def test_tokens_without_keystone(call: Caller, token: str) -> None:
    application = deploy.make_application(call.deployed.engine, deploy.ApiSettings())
    request = webob.Request.blank('/v3/volumes', method='POST')
    request.headers['X-Auth-Token'] = token
    request.json = {'volume': {'size': 1}}
    check(request.get_response(application))


def test_a_project_in_the_url_without_keystone(call: Caller) -> None:
    application = deploy.make_application(call.deployed.engine, deploy.ApiSettings())
    request = webob.Request.blank(f'/v3/{"a" * 300}/volumes', method='POST')
    request.content_type = 'application/json'
    request.json = {'volume': {'size': 1}}
    check(request.get_response(application))


def test_everything_else(call: Caller) -> None:
    volume_id = call.make_volume()
    for body in (
        {'volume': {'size': 1, 'name': LONG}},
        {'volume': {'size': 1, 'description': LONG}},
        {'volume': {'size': 1, 'metadata': {'k': LONG}}},
        {'volume': {'size': 1, 'metadata': {LONG: 'v'}}},
        {'volume': {'size': 1, 'availability_zone': LONG}},
    ):
        check(call('POST', '/volumes', body))
    check(call.act(volume_id, 'os-attach', {'mountpoint': '/dev/vdb', 'host_name': LONG}))
    check(call.act(volume_id, 'os-attach', {'mountpoint': LONG, 'instance_uuid': str(uuid.uuid4())}))
    check(call.act(volume_id, 'os-reset_status', {'status': LONG}))
    check(call.act(volume_id, 'os-set_image_metadata', {'metadata': {LONG: 'v'}}))
