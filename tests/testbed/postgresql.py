# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL, which never listens anywhere else than told."""

import pwd
import shutil
import socket
import struct
from pathlib import Path

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.network import Network
from tests.testbed.servers import USER, Server

_PROGRAMS = Path('/usr/lib/postgresql')
_ACCOUNT = 'postgres'
# PostgreSQL, 55.7: a client may ask first whether the server speaks TLS.
_TLS_REQUEST = struct.pack('!II', 8, 80877103)


class PostgreSQL(Server):
    """A database server with one all-powerful user; it runs as ``postgres``, as it refuses root."""

    title = 'PostgreSQL'
    standard_port = 5432

    def __init__(
        self, folder: Path, *, network: Network | None = None, port: int | None = None, durable: bool = True
    ) -> None:
        """Choose where it listens.

        :param folder: for data, logs and sockets; made, and removed by stop
        :param network: the network to run in, at its address; None for the loopback here
        :param port: TCP port; None for the usual one in a network, and for a free one here
        :param durable: a crash of the machine loses nothing; a killed server never does
        """
        super().__init__(folder, network=network, port=port)
        self._durable = durable

    def build_url(self, database: str) -> str:
        """Name a database for SQLAlchemy.

        :param database: its name; create_database makes it
        :returns: a URL with the password in it
        """
        return f'postgresql+psycopg2://{USER}:{self.password}@{self.address}:{self.port}/{database}'

    def create_database(self, name: str) -> str:
        """Make a database; one that exists is fine.

        :param name: letters, digits and underscores
        :returns: its URL
        """
        found = self.run_sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'")
        if not found.strip():
            self.run_sql(f'CREATE DATABASE "{name}"')
        return self.build_url(name)

    def run_sql(self, sql: str) -> str:
        """Run statements as the owner of the server, over its socket.

        :param sql: statements
        :returns: rows, one a line
        """
        return self._run(
            'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', self._data, '-p', self.port, '-d', 'postgres', '-c', sql
        )

    @property
    def _data(self) -> Path:
        return self.folder / 'data'

    def _launch(self) -> None:
        account = pwd.getpwnam(_ACCOUNT)
        shutil.chown(self.folder, _ACCOUNT)
        for parent in self.folder.parents:  # else initdb's message is about the data folder
            if not parent.stat().st_mode & 0o001 and parent.stat().st_uid != account.pw_uid:
                raise TestbedError(f'{self.title}: user {_ACCOUNT} cannot enter {parent}; choose another')
        if not self._data.exists():
            self._make_data()
        settings = {
            'listen_addresses': self.address,
            'port': self.port,
            'unix_socket_directories': self._data,
            'max_connections': 300,
            'shared_buffers': '64MB',
            'logging_collector': 'off',
        }
        if not self._durable:
            settings |= {'fsync': 'off', 'full_page_writes': 'off'}
        words = [word for name, value in settings.items() for word in ('-c', f'{name}={value}')]
        self._spawn(self._as_account('postgres', '-D', self._data, *words))

    def _make_data(self) -> None:
        work = self.folder / 'new'
        shutil.rmtree(work, ignore_errors=True)
        # The password goes by file: arguments are readable by everybody.
        secret = self.folder / 'secret'
        secret.touch(0o600)
        secret.write_text(self.password + '\n')
        shutil.chown(secret, _ACCOUNT)
        self._run(
            'initdb',
            '--no-sync',
            '-D',
            work,
            f'--username={USER}',
            f'--pwfile={secret}',
            '--encoding=UTF8',
            '--locale=C.UTF-8',
            '--auth-local=peer',
            '--auth-host=scram-sha-256',
        )
        (work / 'pg_ident.conf').write_text(f'own {_ACCOUNT} {USER}\n')
        (work / 'pg_hba.conf').write_text('local all all peer map=own\nhost all all all scram-sha-256\n')
        work.rename(self._data)

    def _run(self, program: str, *words: object) -> str:
        return processes.run(self._as_account(program, *words), cwd=self.folder)

    def _as_account(self, program: str, *words: object) -> list[str]:
        path = str(find_program(program))
        if program == 'psql':
            words = ('-U', USER, *words)
        return [
            'setpriv',
            f'--reuid={_ACCOUNT}',
            f'--regid={_ACCOUNT}',
            '--init-groups',
            '--reset-env',
            path,
            *map(str, words),
        ]

    def _greet(self, connection: socket.socket) -> bool:
        # 'N' is "no TLS"; but a server that is still starting says so to a real login only.
        connection.sendall(_TLS_REQUEST)
        if connection.recv(1) != b'N':
            return False
        try:
            self.run_sql('SELECT 1')
        except TestbedError:
            return False
        return True


def find_program(name: str) -> Path:
    """Find a program of the newest PostgreSQL that is installed; Debian keeps them off the PATH.

    :param name: its name
    :returns: its path
    :raises TestbedError: when PostgreSQL is not installed
    """
    found = sorted(_PROGRAMS.glob(f'*/bin/{name}'), key=lambda path: float(path.parts[-3]))
    if not found:
        raise TestbedError(f'{name} is missing: install the package postgresql')
    return found[-1]
