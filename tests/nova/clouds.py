# SPDX-License-Identifier: Apache-2.0
"""The service with and without Keystone, and the Nova that belongs to it."""

import contextlib
import json
import pathlib
import sqlite3
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.deployments.standalone import Standalone
from tests.functional.drivers.targets.tgt.initiator import LoginRefused, Session
from tests.nova.client import Nova
from tests.testbed.glance import Glance
from tests.testbed.keystone import Keystone

_NOBODY = 'f' * 32
_PROJECT, _FOREIGN = 'a' * 32, 'b' * 32
_SERVICE = '[quota]\nvolumes = 100\n'
_NOVA = """\
[DEFAULT]
host = one
debug = true
[cinder]
http_retries = 0
"""


class Cloud:
    """The service, and how Nova is told of it.

    :param service: the running service.
    :param configuration: text of ``nova.conf``.
    :param who: callers by name.
    :param python: interpreter that has Nova.
    """

    keystone: Keystone | None = None

    def __init__(
        self, service: Standalone, configuration: str, who: dict[str, dict[str, Any] | None], python: pathlib.Path
    ) -> None:
        self.service = service
        self.configuration = configuration
        self.who = who
        self._python = python
        self._types: dict[bool, str] = {}

    @contextlib.contextmanager
    def run_nova(self, name: str = 'nova', configuration: str | None = None) -> Iterator[Nova]:
        """Run a Nova, with another configuration than the usual one if it is given."""
        nova = Nova(self._python, self.service.state / name, configuration or self.configuration, self.who)
        try:
            yield nova
        finally:
            nova.stop()

    def get_type(self, multiattach: bool) -> str:
        """Find a volume type."""
        if multiattach not in self._types:
            name = 'shared' if multiattach else 'single'
            specs = {'multiattach': '<is> True'} if multiattach else {}
            code, reply = self.service.ask('POST', '/v3/types', {'volume_type': {'name': name, 'extra_specs': specs}})
            assert code == 200, reply
            self._types[multiattach] = reply['volume_type']['id']
        return self._types[multiattach]

    def make_volume(self, multiattach: bool) -> str:
        """Make a volume of 1 GiB in the users' project."""
        code, reply = self.service.ask(
            'POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': self.get_type(multiattach)}}
        )
        assert code == 202, reply
        ident = str(reply['volume']['id'])
        self.service.wait(lambda: self.service.status(ident) == 'available')
        return ident

    def delete_volume(self, volume_id: str) -> None:
        """Delete a volume that nobody uses."""
        code, reply = self.service.ask('DELETE', f'/v3/volumes/{volume_id}')
        assert code == 202, reply
        self.service.wait(lambda: self.service.ask('GET', f'/v3/volumes/{volume_id}')[0] == 404)

    def list_attachments(self, volume_id: str) -> list[dict[str, Any]]:
        """List a volume's attachments as an admin."""
        code, reply = self.service.ask('GET', f'/v3/attachments/detail?volume_id={volume_id}')
        assert code == 200, reply
        found: list[dict[str, Any]] = reply['attachments']
        return found

    def read_timeline(self, attachment_id: str) -> list[dict[str, Any]]:
        """Read what happened to an attachment."""
        with contextlib.closing(sqlite3.connect(self.service.state / 'multiattach.sqlite')) as database:
            [[text]] = database.execute('SELECT timeline FROM attachments WHERE id = ?', [attachment_id])
        return [json.loads(line) for line in text.splitlines()]


def opens(connection_info: dict[str, Any], initiator: str) -> bool:
    """Tell whether the target that Nova was told of lets an initiator in and gives it data."""
    data = connection_info['data']
    try:
        with Session(
            data['target_portal'], data['target_iqn'], initiator, data['auth_username'], data['auth_password']
        ) as session:
            session.read(0)
    except LoginRefused:
        return False
    return True


@contextlib.contextmanager
def run_without_keystone(
    folder: pathlib.Path, python: pathlib.Path, more: str = '', *, glance: Glance | None = None
) -> Iterator[Cloud]:
    """The service with ``noauth``: Nova's token is ``USER:PROJECT``, its endpoint is configured.

    :param more: of the service's configuration.
    :param glance: an Image service for both; it asks for no token.
    """

    def describe(user: str, project: str, *roles: str, is_admin: bool = False) -> dict[str, Any]:
        return {
            'user_id': user,
            'project_id': project,
            'token': f'{user}:{project}',
            'roles': roles,
            'is_admin': is_admin,
            'catalog': [],
        }

    images = '' if glance is None else f'[glance]\napi_servers = {glance.url}\nauth_type = none\n'
    service = _prepare(folder, _SERVICE + more + images)
    service.headers['X-Auth-Token'] = f'admin:{_PROJECT}'
    base = f'http://127.0.0.1:{service.port}/v3'
    configuration = (
        f'{_NOVA}endpoint_template = {base}\nauth_type = admin_token\nendpoint = {base}\ntoken = nova:{_PROJECT}\n'
    ) + ('' if glance is None else f'[glance]\nendpoint_override = {glance.url}\n')
    who = {
        'user': describe('user', _PROJECT, 'member', 'reader'),
        'admin': describe('admin', _PROJECT, 'admin', is_admin=True),
        'foreign': describe('foreign', _FOREIGN, 'member', 'reader'),
    }
    service.start()
    try:
        yield Cloud(service, configuration, who, python)
    finally:
        service.stop()


@contextlib.contextmanager
def run_with_keystone(folder: pathlib.Path, python: pathlib.Path) -> Iterator[Cloud]:
    """The service with Keystone: Nova finds the endpoint in the catalogue and sends a service token."""
    keystone = Keystone(folder / 'keystone')
    with keystone:
        service = _prepare(
            folder / 'service',
            f'{_SERVICE}[api]\nauth_strategy = keystone\n'
            f'{keystone.render_authtoken()}service_token_roles_required = true\n',
        )
        keystone.register_volume(f'http://127.0.0.1:{service.port}/v3/%(project_id)s')
        service.headers['X-Auth-Token'] = keystone.issue_token('admin')
        personas = {'user': 'member', 'admin': 'admin', 'reader': 'reader', 'foreign': 'foreign-member'}
        who: dict[str, dict[str, Any] | None] = {
            name: _describe(keystone, persona) for name, persona in personas.items()
        }
        who['expired'] = {**(who['user'] or {}), 'token': 'gAAAAABnot-a-token'}
        service.start()
        try:
            cloud = Cloud(service, render_nova(keystone, send_service_token=True), who, python)
            cloud.keystone = keystone
            yield cloud
        finally:
            service.stop()


def _prepare(folder: pathlib.Path, configuration: str) -> Standalone:
    service = Standalone(folder)
    conf = service.state / 'multiattach.conf'
    conf.chmod(0o600)
    with conf.open('a') as text:
        text.write(configuration)
    return service


def render_nova(keystone: Keystone, *, send_service_token: bool) -> str:
    """Write a ``nova.conf``; ``[cinder]`` is for Nova's periodic tasks."""
    cinder = '\n'.join(f'{key} = {value}' for key, value in keystone.list_credentials('admin').items())
    service = '\n'.join(f'{key} = {value}' for key, value in keystone.list_credentials('nova').items())
    return f'{_NOVA}{cinder}\n[service_user]\nsend_service_user_token = {send_service_token}\n{service}\n'


def _describe(keystone: Keystone, persona: str) -> dict[str, Any]:
    """Read a token as keystonemiddleware does for Nova; its catalogue in the form of version 2."""
    token = keystone.issue_token(persona)
    request = urllib.request.Request(
        f'{keystone.url}/auth/tokens', headers={'X-Auth-Token': token, 'X-Subject-Token': token}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        read = json.loads(reply.read())['token']
    roles = [role['name'] for role in read['roles']]
    return {
        'user_id': read['user']['id'],
        'project_id': read['project']['id'],
        'token': token,
        'roles': roles,
        'is_admin': 'admin' in roles,
        'catalog': [_convert(service) for service in read['catalog']],
    }


def _convert(service: dict[str, Any]) -> dict[str, Any]:
    regions: dict[str, dict[str, str]] = {}
    for endpoint in service['endpoints']:
        region = regions.setdefault(endpoint['region'], {'region': endpoint['region']})
        region[f'{endpoint["interface"]}URL'] = endpoint['url']
    return {'type': service['type'], 'name': service['name'], 'endpoints': list(regions.values())}
