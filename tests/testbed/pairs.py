# SPDX-License-Identifier: Apache-2.0
"""Servers with a second one that takes over, behind an address that stays the same."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import pymysql
from pymysql.cursors import DictCursor

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.lifetime import Lifetime
from tests.testbed.polling import wait_until
from tests.testbed.relay import PortRelay
from tests.testbed.servers import USER, MariaDB, RabbitMQ, Server, pick_port

_LOOPBACK = '127.0.0.1'
S = TypeVar('S', bound=Server)


class _Pair(Lifetime, Generic[S]):
    """The one that serves, the one that waits, and the address.

    :param folder: for data, logs and sockets
    :param make: makes a server for a folder and a number
    """

    def __init__(self, folder: Path, make: Callable[[Path, int], S]) -> None:
        self.folder = folder
        self._make = make
        self._made = 0
        self.active = self._make_one()
        self.spare = self._make_one()
        self.port = pick_port()
        self._relay: PortRelay | None = None
        self._open = True
        self.takeovers = 0

    def _make_one(self) -> S:
        self._made += 1
        made = self._make(self.folder / str(self._made), self._made)
        if self._made > 1:
            made.password = self.active.password
        return made

    def start(self) -> None:
        """Start both; or the one that serves, if it was halted."""
        self.active.start()
        if self._relay is None:
            self.spare.start()
            self._follow()
            self._relay = PortRelay(self.port, self._dial)

    def halt(self, *, patience: float = 30) -> None:
        """End the one that serves as a crash would, and have nobody take over.

        :param patience: seconds until it is killed
        """
        self.active.halt(patience=patience)
        if self._relay is not None:
            self._relay.cut()

    def stop(self) -> None:
        """End both and remove their data."""
        if self._relay is not None:
            self._relay.close()
        self.spare.stop()
        self.active.stop()

    def fail_over(self) -> None:
        """Kill the one that serves, have the other one take over, and make another spare one.

        :raises TestbedError: the spare one had not all that was promised to clients
        """
        assert self._relay is not None
        self._prepare()
        self._open = False
        dead = self.active
        dead.halt(patience=0)
        self._relay.cut()
        self._promote()
        self.active, self._open = self.spare, True
        self.takeovers += 1
        dead.stop()
        self.spare = self._make_one()
        self.spare.start()
        self._follow()

    def _dial(self) -> socket.socket:
        if not self._open:
            raise OSError('nobody serves')
        connection = socket.create_connection((_LOOPBACK, self.active.port), 10)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    @property
    def daemons(self) -> list[Any]:
        """The processes of the one that serves."""
        return self.active.daemons

    def _prepare(self) -> None:
        """Wait until the spare one could take over."""

    def _follow(self) -> None:
        """Have the spare one follow the one that serves."""

    def _promote(self) -> None:
        """Make the spare one fit to serve."""


class RabbitMQPair(_Pair[RabbitMQ]):
    """Two brokers that know nothing of each other: with the first one all queues are gone."""

    def __init__(self, folder: Path) -> None:
        """Choose where they listen.

        :param folder: for data, logs and sockets
        """
        super().__init__(folder, lambda place, _number: RabbitMQ(place))

    @property
    def url(self) -> str:
        """The transport URL for oslo.messaging, with the password in it."""
        return f'rabbit://{USER}:{self.active.password}@{_LOOPBACK}:{self.port}/'


class MariaDBPair(_Pair[MariaDB]):
    """A primary and its semi-synchronous replica: what a client was told is on both."""

    def __init__(self, folder: Path) -> None:
        """Choose where they listen.

        :param folder: for data, logs and sockets
        """
        super().__init__(
            folder,
            lambda place, number: MariaDB(
                place,
                durable=False,
                more={
                    'server-id': number,
                    'log-bin': 'binlog',
                    'log-slave-updates': 'ON',
                    'binlog-format': 'ROW',
                    'rpl-semi-sync-master-enabled': 'ON',
                    'rpl-semi-sync-slave-enabled': 'ON',
                    # A commit is seen by others, too, only when the replica has it; it waits as long as it takes.
                    'rpl-semi-sync-master-wait-point': 'AFTER_SYNC',
                    'rpl-semi-sync-master-timeout': 3_600_000,
                    'rpl-semi-sync-master-wait-no-slave': 'OFF',
                },
            ),
        )
        self._databases: list[str] = []

    @property
    def socket_path(self) -> Path:
        """The socket of the one that serves."""
        return self.active.socket_path

    def create_database(self, name: str) -> str:
        """Make a database.

        :param name: letters, digits and underscores
        :returns: its URL
        """
        self.active.create_database(name)
        self._databases.append(name)
        place = f'{_LOOPBACK}:{self.port}/{name}'
        return f'mysql://{USER}:{self.active.password}@{place}?charset=utf8mb4'

    def _prepare(self) -> None:
        wait_until(
            lambda: _ask(self.active, "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")[0]['Value'] == '1',
            60,
            'the replica',
        )

    def _follow(self) -> None:
        dump = ''
        if self._databases:
            dump = processes.run(
                [
                    'mariadb-dump',
                    '--no-defaults',
                    f'--socket={self.active.socket_path}',
                    '--user=root',
                    '--single-transaction',
                    '--master-data=1',
                    '--gtid',
                    '--databases',
                    *self._databases,
                ]
            )
            file = self.spare.folder / 'dump.sql'
            file.write_text(f'SET sql_log_bin = 0;\n{dump}')
            processes.run(
                [
                    'mariadb',
                    '--no-defaults',
                    f'--socket={self.spare.socket_path}',
                    '--user=root',
                    '-e',
                    f'source {file}',
                ]
            )
            file.unlink()
        _ask(
            self.spare,
            'CHANGE MASTER TO master_host = %s, master_port = %s, master_user = %s, '
            'master_password = %s, master_connect_retry = 1, master_use_gtid = slave_pos',
            _LOOPBACK,
            self.active.port,
            USER,
            self.active.password,
        )
        _ask(self.spare, 'START SLAVE')

    def _promote(self) -> None:
        _ask(self.spare, 'STOP SLAVE IO_THREAD')
        wait_until(self._has_all, 60, 'the replica to do what it was told')
        _ask(self.spare, 'STOP SLAVE')
        _ask(self.spare, 'RESET SLAVE ALL')

    def _has_all(self) -> bool:
        (status,) = _ask(self.spare, 'SHOW SLAVE STATUS')
        if status['Last_SQL_Errno']:
            raise TestbedError(f'the replica: {status["Last_SQL_Error"]}')
        (done,) = _ask(self.spare, 'SELECT @@gtid_slave_pos AS position')
        return set(str(status['Gtid_IO_Pos']).split(',')) == set(str(done['position']).split(','))


def _ask(server: MariaDB, sql: str, *values: Any) -> list[dict[str, Any]]:
    with (
        contextlib.closing(
            pymysql.connect(unix_socket=str(server.socket_path), user='root', autocommit=True, cursorclass=DictCursor)
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, values)
        return list(cursor.fetchall())
