# SPDX-License-Identifier: Apache-2.0
"""A private Nova API: SQLite, gunicorn, no compute host; what it is asked it answers from its database."""

import os
import socket
from pathlib import Path

from tests.testbed.environments import ensure_venv
from tests.testbed.keystone import Keystone
from tests.testbed.processes import run
from tests.testbed.servers import Server

_FILES = Path(__file__).resolve().parent / 'files'
REQUIREMENTS = _FILES / 'requirements' / 'nova.txt'
CELL = 'one'


class NovaApi(Server):
    """Nova's Compute API from PyPI in a virtual environment of its own, with one cell.

    What it tells compute hosts goes nowhere, for there are none. One worker, because SQLite locks with
    two. The catalogue is the caller's to fill: ``keystone.register_compute(nova.url)``.
    """

    title = 'Nova'
    standard_port = 8774

    def __init__(self, folder: Path, keystone: Keystone, *, cache: Path | None = None) -> None:
        """Choose where it runs.

        :param folder: for databases, configuration and log; made, and removed by stop
        :param keystone: checks its tokens; running
        :param cache: cache folder of virtual environments; the usual one when None
        """
        super().__init__(folder)
        self._keystone = keystone
        self._cache = cache

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f'http://{self.address}:{self.port}/v2.1'

    @property
    def configuration(self) -> Path:
        """Its configuration file, for programs that use its database, too."""
        return self.folder / 'nova.conf'

    @property
    def python(self) -> Path:
        """The interpreter that has Nova."""
        return ensure_venv(self._cache, 'nova', REQUIREMENTS) / 'python'

    def _launch(self) -> None:
        python = self.python
        env = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.folder),
            'LC_ALL': 'C.UTF-8',
            'OS_NOVA_CONFIG_FILES': f'{python.parents[1]}/etc/nova/api-paste.ini;{self.configuration}',
            'PYTHONWARNINGS': 'ignore',
            'PYTHONDONTWRITEBYTECODE': '1',
        }
        if not self.configuration.exists():
            self._set_up(python, env)
        self._spawn_gunicorn(python, _FILES, 'nova_wsgi:application', env)

    def _set_up(self, python: Path, env: dict[str, str]) -> None:
        work = self.configuration.with_suffix('.new')
        work.touch(0o600)
        work.write_text(self._render())
        manage: list[str | Path] = [python.parent / 'nova-manage', '--config-file', work]
        cell0 = f'--database_connection=sqlite:///{self.folder}/cell0.sqlite'
        run([*manage, 'api_db', 'sync'], env=env)
        run([*manage, 'cell_v2', 'map_cell0', cell0], env=env)
        run([*manage, 'cell_v2', 'create_cell', '--name', CELL], env=env)
        run([*manage, 'db', 'sync'], env=env)
        work.rename(self.configuration)

    def _render(self) -> str:
        credentials = {name: self._write_credentials(name) for name in ('nova', 'admin')}
        return (
            '[DEFAULT]\n'
            'host = control\n'
            'use_stderr = true\n'
            'transport_url = fake://\n'
            f'state_path = {self.folder}\n'
            '[api_database]\n'
            f'connection = sqlite:///{self.folder}/api.sqlite\n'
            'sqlite_synchronous = false\n'
            '[database]\n'
            f'connection = sqlite:///{self.folder}/cell.sqlite\n'
            'sqlite_synchronous = false\n'
            '[oslo_concurrency]\n'
            f'lock_path = {self.folder}/locks\n'
            f'{self._keystone.render_authtoken("nova")}'
            'service_token_roles_required = true\n'
            f'[service_user]\nsend_service_user_token = true\n{credentials["nova"]}'
            f'[cinder]\n{credentials["admin"]}'
        )

    def _write_credentials(self, persona: str) -> str:
        options = self._keystone.list_credentials(persona)
        return ''.join(f'{name} = {value}\n' for name, value in options.items())

    def _greet(self, connection: socket.socket) -> bool:
        connection.sendall(b'GET / HTTP/1.0\r\nHost: nova\r\n\r\n')
        return connection.recv(12)[9:] == b'200'
