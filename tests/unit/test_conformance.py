# SPDX-License-Identifier: Apache-2.0
"""The checker of replies finds what it is there for."""

import json
from typing import Any

import pytest
import webob

from tests.conformance import Conformance, Mismatch

ID = '12345678-1234-1234-1234-123456789abc'
SUMMARY = {'id': ID, 'name': None, 'links': [{'rel': 'self', 'href': 'http://a/b'}] * 2}


def ask(
    status: int,
    value: Any,
    path: str = '/volumes',
    version: str = '3.71',
    *,
    strict: bool = True,
    method: str = 'GET',
    body: bytes = b'',
    **headers: str,
) -> None:
    reply = webob.Response(status=status, headers={'x-openstack-request-id': f'req-{ID}', **headers})
    reply.content_type = 'application/json'
    reply.body = b'' if value is None else json.dumps(value).encode()
    request = webob.Request.blank(f'/v3{path}', method=method, headers={'OpenStack-API-Version': f'volume {version}'})
    request.body = body
    request.get_response(Conformance(reply, strict=strict))


@pytest.mark.parametrize('path', ['/volumes', '/volumes.json', f'/{"a" * 32}/volumes', '/volumes?limit=1'])
def test_what_is_described_passes(path: str) -> None:
    ask(200, {'volumes': [SUMMARY]}, path)
    ask(404, {'itemNotFound': {'code': 404, 'message': 'x'}}, path)
    ask(404, {'code': '404 Not Found', 'message': 'x', 'title': 'Not Found'}, path)


@pytest.mark.parametrize(
    ('status', 'value', 'more'),
    [
        (200, {'volumes': [SUMMARY | {'extra': 1}]}, {}),
        (200, {'volumes': [{'id': ID, 'name': None}]}, {}),
        (200, {'volumes': [SUMMARY | {'id': 'x'}]}, {}),
        (200, {'volumes': [], 'count': 1}, {'version': '3.44'}),
        (200, None, {}),
        (202, {'volumes': []}, {}),
        (200, {'attachments': []}, {'path': '/attachments', 'version': '3.26'}),
        (200, {}, {'path': '/nowhere'}),
        (200, {'volumes': []}, {'version': 'x'}),
        (200, {'volumes': []}, {'OpenStack-API-Version': 'volume 3.0'}),
        (200, {'volumes': []}, {'x-openstack-request-id': 'x'}),
        (202, {}, {'path': f'/volumes/{ID}', 'method': 'DELETE'}),
        (200, None, {'path': '/volumes/x/action', 'method': 'POST', 'body': b'{"os-show_image_metadata": null}'}),
        (200, {'metadata': {}}, {'path': '/volumes/x/action', 'method': 'POST', 'body': b'{"os-set_bootable": {}}'}),
        (400, {'itemNotFound': {'code': 404, 'message': 'x'}}, {}),
        (400, {'badRequest': {'code': 404, 'message': 'x'}}, {}),
        (400, {'badRequest': {'code': 400, 'message': ''}}, {}),
        (400, {'code': '400 Bad Request', 'message': 'x', 'title': 'x'}, {}),
        (500, {'computeFault': {'code': 500, 'message': 'x'}}, {}),
    ],
)
def test_what_is_not_is_found(status: int, value: Any, more: dict[str, Any]) -> None:
    with pytest.raises(Mismatch):
        ask(status, value, **more)


def test_errors_of_the_server_have_a_shape_too() -> None:
    ask(500, {'computeFault': {'code': 500, 'message': 'x'}}, strict=False)
    with pytest.raises(Mismatch):
        ask(500, {'oops': {'code': 500, 'message': 'x'}}, strict=False)
