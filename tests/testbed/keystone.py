# SPDX-License-Identifier: Apache-2.0
"""A private Keystone: SQLite, gunicorn, and an account for each persona."""

import os
import socket
from pathlib import Path

from tests.testbed.environments import ensure_venv
from tests.testbed.identity import REGION, Account, Identity
from tests.testbed.processes import run
from tests.testbed.servers import Server

_FILES = Path(__file__).resolve().parent / 'files'
REQUIREMENTS = _FILES / 'requirements' / 'keystone.txt'

#: persona → user, project and roles; admin implies member, which implies reader
PERSONAS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    'admin': ('project-admin', 'project', ('admin',)),
    'member': ('member', 'project', ('member',)),
    'reader': ('reader', 'project', ('reader',)),
    'foreign-member': ('foreign-member', 'foreign', ('member',)),
    'foreign-reader': ('foreign-reader', 'foreign', ('reader',)),
    'glance': ('glance', 'service', ('service',)),
    'nova': ('nova', 'service', ('service',)),
    'multiattach': ('multiattach', 'service', ('service',)),
}


class Keystone(Server):
    """Keystone from PyPI in a virtual environment of its own.

    One worker, because SQLite locks with two. Passwords are hashed cheaply and tokens are kept in
    memory: this is for tests.
    """

    title = 'Keystone'
    standard_port = 5000

    def __init__(
        self,
        folder: Path,
        python: Path | None = None,
        host: str = '127.0.0.1',
        port: int | None = None,
        *,
        cache: Path | None = None,
    ) -> None:
        """Choose where it runs.

        :param folder: for database, keys and log; made, and removed by stop
        :param python: interpreter that has Keystone and gunicorn; None to make an environment
        :param host: address to listen on
        :param port: TCP port; a free one when None
        :param cache: cache folder of virtual environments; the usual one when None
        """
        super().__init__(folder, port=port)
        self.address = host
        self._python = python
        self._cache = cache
        #: accounts by persona, and the bootstrapped one as ``root``
        self.accounts: dict[str, Account] = {}
        self.identity = Identity(self.url, self.password)

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f'http://{self.address}:{self.port}/v3'

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.folder / 'keystone.conf'

    def start(self, timeout: float = 180) -> None:
        """Start it, and make the accounts if it is new.

        :param timeout: seconds
        :raises TestbedError: when it ends at once or does not serve in time
        """
        super().start(timeout)
        if self.accounts:
            return
        try:
            self._make_accounts()
        except BaseException:
            self.halt(patience=0)
            raise

    def issue_token(self, persona: str) -> str:
        """Issue a token for a persona.

        :param persona: key of accounts
        :returns: the token
        """
        return self.identity.issue_token(self.accounts[persona])

    def register_volume(self, url: str) -> None:
        """Put a Block Storage service into the catalogue, under its type and under its alias.

        :param url: of the endpoint, with /v3
        """
        for kind in ('block-storage', 'volumev3'):
            self.identity.unregister(kind)
            self.identity.register(kind, 'multiattach', url)

    def register_compute(self, url: str) -> None:
        """Put a Compute service into the catalogue.

        :param url: of the endpoint, with /v2.1
        """
        self.identity.unregister('compute')
        self.identity.register('compute', 'nova', url)

    def render_authtoken(self, persona: str = 'multiattach') -> str:
        """Write the section by which a service checks tokens here.

        :param persona: the service's own account
        :returns: ``[keystone_authtoken]`` for a configuration file
        """
        options = {'www_authenticate_uri': self.url, **self.list_credentials(persona)}
        lines = [f'{name} = {value}' for name, value in options.items()]
        return '\n'.join(['[keystone_authtoken]', *lines, ''])

    def list_credentials(self, persona: str) -> dict[str, str]:
        """List what keystoneauth's plugin "password" needs, in the names of its options.

        :param persona: key of accounts
        :returns: option → value
        """
        account = self.accounts[persona]
        return {
            'auth_type': 'password',
            'auth_url': self.url,
            'username': account.name,
            'password': account.password,
            'project_name': account.project,
            'user_domain_id': 'default',
            'project_domain_id': 'default',
        }

    def _launch(self) -> None:
        python = self._find_python()
        env = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.folder),
            'LC_ALL': 'C.UTF-8',
            'OS_KEYSTONE_CONFIG_FILES': str(self.configuration),
            'PYTHONWARNINGS': 'ignore',
            'PYTHONDONTWRITEBYTECODE': '1',
        }
        if not self.configuration.exists():
            self._set_up(python, env)
        self._spawn_gunicorn(python, _FILES, 'keystone_wsgi:application', env)

    def _find_python(self) -> Path:
        if self._python is None:
            self._python = ensure_venv(self._cache, 'keystone', REQUIREMENTS) / 'python'
        return self._python

    def _set_up(self, python: Path, env: dict[str, str]) -> None:
        work = self.configuration.with_suffix('.new')
        work.touch(0o600)
        work.write_text(
            '[DEFAULT]\n'
            'use_stderr = true\n'
            f'public_endpoint = {self.url.removesuffix("/v3")}\n'
            '[database]\n'
            f'connection = sqlite:///{self.folder}/keystone.sqlite\n'
            'sqlite_synchronous = false\n'
            '[fernet_tokens]\n'
            f'key_repository = {self.folder}/fernet-keys\n'
            '[credential]\n'
            f'key_repository = {self.folder}/credential-keys\n'
            '[fernet_receipts]\n'
            f'key_repository = {self.folder}/fernet-keys\n'
            '[identity]\n'
            'password_hash_rounds = 4\n'
            '[cache]\n'
            'enabled = true\n'
            'backend = dogpile.cache.memory\n'
        )
        manage: list[str | Path] = [python.parent / 'keystone-manage', '--config-file', work]
        us = f'--keystone-user={os.getuid()}', f'--keystone-group={os.getgid()}'
        run([*manage, 'db_sync'], env=env)
        run([*manage, 'fernet_setup', *us], env=env)
        run([*manage, 'credential_setup', *us], env=env)
        urls = [f'--bootstrap-{name}-url={self.url}' for name in ('public', 'internal', 'admin')]
        run(
            [*manage, 'bootstrap', *urls, '--bootstrap-region-id', REGION],
            env={**env, 'OS_BOOTSTRAP_PASSWORD': self.password},
        )
        work.rename(self.configuration)

    def _make_accounts(self) -> None:
        projects: dict[str, str] = {}
        accounts = {'root': self.identity.get_admin()}
        for persona, (name, project, roles) in PERSONAS.items():
            if project not in projects:
                projects[project] = self.identity.create_project(project)
            accounts[persona] = self.identity.create_account(name, project, projects[project], *roles)
        self.accounts = accounts

    def _greet(self, connection: socket.socket) -> bool:
        connection.sendall(b'GET /v3 HTTP/1.0\r\nHost: keystone\r\n\r\n')
        return connection.recv(12)[9:] == b'200'
