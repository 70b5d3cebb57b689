# SPDX-License-Identifier: Apache-2.0
"""A private Horizon: gunicorn, sessions in memory, styles left out."""

import os
import socket
from pathlib import Path

from tests.testbed.environments import ensure_venv
from tests.testbed.keystone import Keystone
from tests.testbed.servers import Server

_FILES = Path(__file__).resolve().parent / 'files'
REQUIREMENTS = _FILES / 'requirements' / 'horizon.txt'


class Horizon(Server):
    """The dashboard from PyPI in a virtual environment of its own; one worker, with the sessions."""

    title = 'Horizon'
    standard_port = 8000

    def __init__(self, folder: Path, keystone: Keystone, *, cache: Path | None = None) -> None:
        """Choose where it runs.

        :param folder: for its log; made, and removed by stop
        :param keystone: where users log in; its catalogue names the services
        :param cache: cache folder of virtual environments; the usual one when None
        """
        super().__init__(folder)
        self._keystone = keystone
        self._cache = cache

    @property
    def url(self) -> str:
        """Where the browser goes."""
        return f'http://{self.address}:{self.port}'

    def _launch(self) -> None:
        python = ensure_venv(self._cache, 'horizon', REQUIREMENTS) / 'python'
        env = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.folder),
            'LC_ALL': 'C.UTF-8',
            'OPENSTACK_KEYSTONE_URL': self._keystone.url,
            'PYTHONWARNINGS': 'ignore',
            'PYTHONDONTWRITEBYTECODE': '1',
        }
        self._spawn_gunicorn(python, _FILES, 'horizon_wsgi:application', env, '--threads', '4')

    def _greet(self, connection: socket.socket) -> bool:
        connection.sendall(b'GET /auth/login/ HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n')
        return connection.recv(12)[9:] == b'200'
