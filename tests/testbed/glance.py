# SPDX-License-Identifier: Apache-2.0
"""A private Glance: SQLite, gunicorn, images as files; with a Keystone, or for everybody."""

import fcntl
import os
import shutil
import socket
from pathlib import Path

from tests.testbed.environments import ensure_venv
from tests.testbed.keystone import Keystone
from tests.testbed.processes import run
from tests.testbed.servers import Server

_FILES = Path(__file__).resolve().parent / 'files'
REQUIREMENTS = _FILES / 'requirements' / 'glance.txt'


class Glance(Server):
    """Glance from PyPI in a virtual environment of its own; one worker, because SQLite locks with two.

    The catalogue is the caller's to fill: ``keystone.identity.register('image', 'glance', glance.url)``.
    """

    title = 'Glance'
    standard_port = 9292

    def __init__(
        self,
        folder: Path,
        keystone: Keystone | None = None,
        *,
        settings: str = '',
        modules: Path | None = None,
        cache: Path | None = None,
    ) -> None:
        """Choose where it runs.

        :param folder: for database, images and log; made, and removed by stop
        :param keystone: checks its tokens, running; None: whoever calls is an admin
        :param settings: further sections of its configuration
        :param modules: folder of modules that its environment lacks
        :param cache: cache folder of virtual environments; the usual one when None
        """
        super().__init__(folder)
        self._keystone = keystone
        self._settings = settings
        self._modules = modules
        self._cache = cache

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f'http://{self.address}:{self.port}'

    @property
    def images(self) -> Path:
        """The folder with the data of its images, by their ids."""
        return self.folder / 'images'

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.folder / 'glance-api.conf'

    def _launch(self) -> None:
        python = ensure_venv(self._cache, 'glance', REQUIREMENTS) / 'python'
        paste = (python.parents[1] / 'etc' / 'glance' / 'glance-api-paste.ini').read_text()
        env = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.folder),
            'LC_ALL': 'C.UTF-8',
            'OS_GLANCE_CONFIG_DIR': str(self.folder),
            'OS_GLANCE_CONFIG_FILES': self.configuration.name,
            'PYTHONWARNINGS': 'ignore',
            'PYTHONDONTWRITEBYTECODE': '1',
        }
        if self._modules is not None:
            env['PYTHONPATH'] = str(self._modules)
        if self._keystone is None:
            env['GLANCE_TRUSTS_EVERYBODY'] = 'yes'
            paste = paste.replace(' unauthenticated-context', ' context')
        if not self.configuration.exists():
            work = self.configuration.with_suffix('.new')
            work.touch(0o600)
            (self.folder / 'paste.ini').write_text(paste)
            work.write_text(self._render())
            shutil.copy(_make_database(python, env), self.folder / 'glance.sqlite')
            work.rename(self.configuration)
        self._spawn_gunicorn(python, _FILES, 'glance_wsgi:application', env, '--threads', '4')

    def _render(self) -> str:
        flavor = '' if self._keystone is None else 'flavor = keystone\n'
        account = '' if self._keystone is None else self._keystone.render_authtoken('glance')
        stores = ''.join(
            f'[{name}]\nfilesystem_store_datadir = {self.folder}/{place}\n'
            for name, place in (
                ('files', 'images'),
                ('os_glance_tasks_store', 'tasks'),
                ('os_glance_staging_store', 'staging'),
            )
        )
        return (
            '[DEFAULT]\n'
            'use_stderr = true\n'
            'enabled_backends = files:file\n'
            'show_multiple_locations = true\n'
            f'worker_self_reference_url = {self.url}\n'
            f'[database]\nconnection = sqlite:///{self.folder}/glance.sqlite\nsqlite_synchronous = false\n'
            f'[paste_deploy]\nconfig_file = {self.folder}/paste.ini\n{flavor}'
            f'[glance_store]\ndefault_backend = files\n{stores}'
            f'[oslo_concurrency]\nlock_path = {self.folder}/locks\n'
            f'{account}{self._settings}'
        )

    def _greet(self, connection: socket.socket) -> bool:
        connection.sendall(b'GET /healthcheck HTTP/1.0\r\nHost: glance\r\n\r\n')
        return connection.recv(12)[9:] == b'200'


def _make_database(python: Path, env: dict[str, str]) -> Path:
    """Make an empty database once, beside the environment: its migrations take long."""
    made = python.parents[1] / 'empty.sqlite'
    with (python.parents[1] / '.database.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            work = made.with_suffix('.new')
            work.unlink(missing_ok=True)
            settings = work.with_suffix('.conf')
            settings.write_text(f'[database]\nconnection = sqlite:///{work}\n')
            run([python.parent / 'glance-manage', '--config-file', settings, 'db', 'sync'], env=env, timeout=300)
            work.rename(made)
    return made
