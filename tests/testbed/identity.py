# SPDX-License-Identifier: Apache-2.0
"""Keystone's REST API, as far as a test bed needs it: accounts, catalogue, tokens."""

import http.client
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from tests.testbed.errors import TestbedError

_DOMAIN = 'default'
REGION = 'RegionOne'


@dataclass(frozen=True)
class Account:
    """A user in a project."""

    name: str
    password: str = field(repr=False)
    user_id: str
    project: str
    project_id: str


class Identity:
    """Makes accounts and endpoints, and issues tokens; admin's token is fetched when it is needed."""

    def __init__(self, url: str, password: str) -> None:
        """Name the service.

        :param url: with /v3
        :param password: of the user admin in the project admin
        """
        self.url = url
        self._password = password
        self._token: str | None = None

    def get_admin(self) -> Account:
        """Look the bootstrapped account up.

        :returns: user admin in project admin
        """
        [user] = self.ask('GET', '/users?name=admin')['users']
        [project] = self.ask('GET', '/projects?name=admin')['projects']
        return Account('admin', self._password, user['id'], 'admin', project['id'])

    def create_project(self, name: str) -> str:
        """Make a project.

        :param name: its name
        :returns: its id
        """
        made = self.ask('POST', '/projects', {'project': {'name': name, 'domain_id': _DOMAIN}})
        ident: str = made['project']['id']
        return ident

    def create_account(self, name: str, project: str, project_id: str, *roles: str) -> Account:
        """Make a user with roles in a project.

        :param name: of the user
        :param project: its name
        :param project_id: its id
        :param roles: names of roles that exist
        :returns: the account, with a password of its own
        """
        password = secrets.token_hex(16)
        body = {'user': {'name': name, 'password': password, 'domain_id': _DOMAIN}}
        user_id = self.ask('POST', '/users', body)['user']['id']
        for role in roles:
            [found] = self.ask('GET', f'/roles?name={quote(role)}')['roles']
            self.ask('PUT', f'/projects/{project_id}/users/{user_id}/roles/{found["id"]}')
        return Account(name, password, user_id, project, project_id)

    def register(self, kind: str, name: str, url: str) -> None:
        """Put a service into the catalogue, reached by one URL on every interface.

        :param kind: service type
        :param name: its name
        :param url: of its endpoint
        """
        service = self.ask('POST', '/services', {'service': {'type': kind, 'name': name}})['service']
        for interface in ('public', 'internal', 'admin'):
            self.ask(
                'POST',
                '/endpoints',
                {'endpoint': {'interface': interface, 'service_id': service['id'], 'url': url, 'region_id': REGION}},
            )

    def unregister(self, kind: str) -> None:
        """Take a service out of the catalogue; none of this type is fine.

        :param kind: service type
        """
        for service in self.ask('GET', f'/services?type={quote(kind)}')['services']:
            self.ask('DELETE', f'/services/{service["id"]}')

    def issue_token(self, account: Account) -> str:
        """Issue a token for an account's project.

        :param account: who
        :returns: the token
        """
        return self._issue(account.user_id, None, account.password, {'project': {'id': account.project_id}})

    def issue_system_token(self) -> str:
        """Issue a token of admin for the whole system: it names no project.

        :returns: the token
        """
        return self._issue(None, 'admin', self._password, {'system': {'all': True}})

    def revoke(self, token: str) -> None:
        """Make a token worthless.

        :param token: the token
        """
        self._send('DELETE', '/auth/tokens', None, {'X-Subject-Token': token}, self._get_token())

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Make a call as admin.

        :param method: HTTP method
        :param path: below /v3
        :param body: JSON, or None
        :returns: JSON; None where the reply is empty
        :raises TestbedError: for any status from 400 on
        """
        return self._send(method, path, body, {}, self._get_token())[0]

    def _get_token(self) -> str:
        if self._token is None:
            scope = {'project': {'name': 'admin', 'domain': {'id': _DOMAIN}}}
            self._token = self._issue(None, 'admin', self._password, scope)
        return self._token

    def _issue(self, user_id: str | None, name: str | None, password: str, scope: Any) -> str:
        user = {'id': user_id} if user_id else {'name': name, 'domain': {'id': _DOMAIN}}
        body = {
            'auth': {
                'identity': {'methods': ['password'], 'password': {'user': {**user, 'password': password}}},
                'scope': scope,
            }
        }
        token = self._send('POST', '/auth/tokens', body, {}, None)[1]
        if token is None:
            raise TestbedError('Keystone issued no token')
        return token

    def _send(
        self, method: str, path: str, body: Any, headers: dict[str, str], token: str | None
    ) -> tuple[Any, str | None]:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or '', place.port, timeout=60)
        headers = {'Content-Type': 'application/json', **headers}
        if token:
            headers['X-Auth-Token'] = token
        try:
            connection.request(method, place.path + path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        if reply.status >= 400:
            raise TestbedError(f'Keystone: {method} {path}: {reply.status} {text[:500]!r}')
        return json.loads(text) if text else None, reply.headers.get('X-Subject-Token')
