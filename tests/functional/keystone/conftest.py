# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.keystone.stand_in import StandInNova
from tests.testbed.keystone import Keystone


class Reply(NamedTuple):
    """What the service said."""

    status: int
    json: Any
    headers: dict[str, str]


class Cloud:
    """The service with Keystone, asked by anybody."""

    keystone: Keystone

    def __init__(self, service: Standalone, keystone: Keystone | None = None) -> None:
        self.service = service
        if keystone is not None:
            self.keystone = keystone
        self._tokens: dict[str, str] = {}
        self._types: dict[bool, str] = {}

    def token(self, persona: str) -> str:
        if persona not in self._tokens:
            self._tokens[persona] = self.keystone.issue_token(persona)
        return self._tokens[persona]

    def __call__(
        self,
        persona: str | None,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str = '3.71',
        service: str | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Make a call as a persona, or with a token, perhaps with a service token of another one."""
        headers = {'Content-Type': 'application/json', 'OpenStack-API-Version': f'volume {version}', **(headers or {})}
        token = token or (self.token(persona) if persona else None)
        if token:
            headers['X-Auth-Token'] = token
        if service:
            headers['X-Service-Token'] = self.token(service)
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.service.port}{path}',
            method=method,
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=60) as reply:
                return _read(reply.status, reply)
        except urllib.error.HTTPError as error:
            return _read(error.code, error)

    def make_type(self, multiattach: bool) -> str:
        if multiattach not in self._types:
            specs = {'multiattach': '<is> True'} if multiattach else {}
            reply = self(
                'admin', 'POST', '/v3/types', {'volume_type': {'name': str(uuid.uuid4()), 'extra_specs': specs}}
            )
            assert reply.status == 200, reply
            self._types[multiattach] = reply.json['volume_type']['id']
        return self._types[multiattach]

    def make_volume(self, *, multiattach: bool = True, persona: str = 'member') -> str:
        reply = self(
            persona, 'POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': self.make_type(multiattach)}}
        )
        assert reply.status == 202, reply
        ident: str = reply.json['volume']['id']
        self.service.wait(lambda: self('root', 'GET', f'/v3/volumes/{ident}').json['volume']['status'] == 'available')
        return ident

    def reserve(self, volume_id: str, server: str | None = None) -> str:
        body = {'volume_uuid': volume_id, **({'instance_uuid': server} if server else {})}
        reply = self('member', 'POST', '/v3/attachments', {'attachment': body})
        assert reply.status == 200, reply
        ident: str = reply.json['attachment']['id']
        return ident

    def connect(self, attachment_id: str, host: str = 'one') -> Any:
        reply = self(
            'member', 'PUT', f'/v3/attachments/{attachment_id}', {'attachment': {'connector': make_connector(host)}}
        )
        assert reply.status == 200, reply
        return reply.json['attachment']

    def complete(self, attachment_id: str) -> None:
        reply = self('member', 'POST', f'/v3/attachments/{attachment_id}/action', {'os-complete': None})
        assert reply.status == 204, reply


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        return None


def _read(status: int, reply: Any) -> Reply:
    text = reply.read()
    try:
        parsed = json.loads(text) if text else None
    except ValueError:
        parsed = text.decode()
    return Reply(status, parsed, {name.lower(): value for name, value in reply.headers.items()})


@pytest.fixture(scope='session')
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with Keystone(tmp_path_factory.mktemp('keystone')) as running:
        yield running


@pytest.fixture(scope='session')
def nova() -> Iterator[StandInNova]:
    with StandInNova() as running:
        yield running


@pytest.fixture(scope='session')
def cloud(keystone: Keystone, nova: StandInNova, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    service = Standalone(tmp_path_factory.mktemp('service'))
    keystone.register_volume(f'http://127.0.0.1:{service.port}/v3')
    keystone.register_compute(nova.url)
    configure(service.state, keystone.render_authtoken())
    service.start()
    yield Cloud(service, keystone)
    assert service.stop() == 0


def configure(state: pathlib.Path, section: str) -> None:
    """Add Keystone to a service's configuration."""
    with (state / 'multiattach.conf').open('a') as conf:
        conf.write(f'[api]\nauth_strategy = keystone\n[quota]\nvolumes = -1\n[reconcile]\ninterval = 0\n{section}')
