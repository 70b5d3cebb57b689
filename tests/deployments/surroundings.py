# SPDX-License-Identifier: Apache-2.0
"""Where the deployments of a test run keep their rows and send their messages.

SQLite and the in-process broker by default; private MariaDB, PostgreSQL and RabbitMQ servers by the
options ``--database`` and ``--broker`` (see conftest.py), one of each for all processes of a run.
"""

import base64
import functools
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import urllib.parse
import urllib.request
from typing import Any

import sqlalchemy as sa

from multiattach.db import migration, models
from multiattach.db.database import Database

DATABASES = ('sqlite', 'mariadb', 'postgresql')
BROKERS = ('inproc', 'rabbitmq')

# Deployments of one process have their messages apart.
_COUNTER = itertools.count()


class Servers:
    """The private servers of a run, started by its first process.

    :param database: one of :data:`DATABASES`.
    :param broker: one of :data:`BROKERS`.
    """

    def __init__(self, database: str, broker: str) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix='multiattach-tests-'))
        self._folder.chmod(0o711)  # PostgreSQL runs as a user of its own
        self._started: list[Any] = []
        self.facts: dict[str, Any] = {}
        try:
            self._start(database, broker)
        except BaseException:
            self.stop()
            raise

    def _start(self, database: str, broker: str) -> None:
        from tests.testbed.postgresql import PostgreSQL
        from tests.testbed.servers import MariaDB, RabbitMQ, pick_port

        if database != 'sqlite':
            kind = {'mariadb': MariaDB, 'postgresql': PostgreSQL}[database]
            server = kind(self._folder / database, durable=False)
            self._started.append(server)
            server.start()
            self.facts['database'] = server.create_database('test')
        if broker == 'rabbitmq':
            rabbit = RabbitMQ(self._folder / broker, management_port=pick_port())
            self._started.append(rabbit)
            rabbit.start()
            self.facts['broker'] = {'url': rabbit.url, 'management': rabbit.management_url}

    def stop(self) -> None:
        """End the servers; nothing of them stays."""
        for server in reversed(self._started):
            server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Surroundings:
    """Databases and message spaces for the deployments of one process.

    A folder's database stays while its test runs, so that a deployment may come back to it. Databases of
    finished tests are emptied and used again: making one takes a second.

    :param facts: how to reach the servers; empty for SQLite and the in-process broker.
    :param worker: name of this process among those of a run.
    """

    def __init__(self, facts: dict[str, Any], worker: str = 'main') -> None:
        self._server = sa.make_url(facts['database']) if 'database' in facts else None
        self._broker = facts.get('broker')
        self._worker = f'{worker}_{os.getpid()}'
        self._names = itertools.count()
        self._clean: list[str] = []
        self._by_folder: dict[str, str] = {}
        self._open: dict[str, int] = {}

    @property
    def dialect(self) -> str:
        """Name of the database's dialect: ``sqlite``, ``mysql`` or ``postgresql``."""
        return self._server.get_backend_name() if self._server is not None else 'sqlite'

    # -- databases -----------------------------------------------------------------------------

    def find_database(self, folder: pathlib.Path) -> str:
        """Return the URL of a folder's database: an empty one with all tables the first time.

        :param folder: folder of a deployment.
        :returns: SQLAlchemy URL.
        """
        if self._server is None:
            file = folder / 'test.sqlite'
            if not file.exists():
                file.write_bytes(make_file())
            return f'sqlite:///{file}'
        key = str(folder)
        if key not in self._by_folder:
            self._by_folder[key] = self._clean.pop() if self._clean else self.make_database(synced=True)
        return self._by_folder[key]

    def make_database(self, *, synced: bool = False) -> str:
        """Make a database on the server.

        :param synced: bring its tables to the newest revision.
        :returns: SQLAlchemy URL.
        """
        assert self._server is not None
        name = f'{self._worker}_{next(self._names)}'
        engine = sa.create_engine(self._server, isolation_level='AUTOCOMMIT')
        charset = ' CHARACTER SET utf8mb4' if self.dialect == 'mysql' else ''
        with engine.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE {name}{charset}'))
        engine.dispose()
        url = self._server.set(database=name).render_as_string(hide_password=False)
        if synced:
            db = Database(url)
            migration.sync(db)
            db.close()
        return url

    def enter(self, folder: pathlib.Path) -> None:
        """Note that a deployment uses a folder's database.

        :param folder: its folder.
        """
        self._open[str(folder)] = self._open.get(str(folder), 0) + 1

    def leave(self, folder: pathlib.Path) -> None:
        """Note that it does not any more.

        :param folder: its folder.
        """
        self._open[str(folder)] -= 1

    def recycle(self) -> None:
        """Empty the databases that no deployment uses; to be called between tests."""
        for folder in [folder for folder in self._by_folder if not self._open.get(folder)]:
            url = self._by_folder.pop(folder)
            empty(url)
            self._clean.append(url)

    # -- messages ------------------------------------------------------------------------------

    def make_message_space(self, folder: pathlib.Path) -> str:
        """Make a transport URL whose messages no other deployment sees.

        :param folder: folder of a deployment.
        :returns: transport URL.
        """
        number = next(_COUNTER)
        if self._broker is None:
            return f'inproc:///{folder.name}-{number}'
        host = f'{self._worker}_{number}'
        self._ask('PUT', f'vhosts/{host}', {})
        user = urllib.parse.urlsplit(self._broker['url']).username
        self._ask('PUT', f'permissions/{host}/{user}', {'configure': '.*', 'write': '.*', 'read': '.*'})
        return f'{self._broker["url"]}{host}'

    def drop_message_space(self, url: str) -> None:
        """Remove what :meth:`make_message_space` made.

        :param url: the transport URL.
        """
        if self._broker is not None:
            self._ask('DELETE', f'vhosts/{url.rpartition("/")[2]}')

    def _ask(self, method: str, path: str, body: Any = None) -> None:
        parts = urllib.parse.urlsplit(self._broker['url'])
        credentials = base64.b64encode(f'{parts.username}:{parts.password}'.encode()).decode()
        request = urllib.request.Request(
            f'{self._broker["management"]}/api/{path}',
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Authorization': f'Basic {credentials}', 'Content-Type': 'application/json'},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30):
            pass


@functools.cache
def make_file() -> bytes:
    """Make the contents of an SQLite file with all tables: once, as the migrations take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, 'made.sqlite')
        db = Database(f'sqlite:///{file}')
        migration.sync(db)
        db.close()
        return file.read_bytes()


def empty(url: str) -> None:
    """Delete all rows of a database.

    :param url: SQLAlchemy URL.
    """
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in reversed(models.Base.metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()


#: of this process; conftest.py replaces it
current = Surroundings({})
