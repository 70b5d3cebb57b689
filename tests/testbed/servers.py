# SPDX-License-Identifier: Apache-2.0
"""A private MariaDB and a private RabbitMQ, which never listen anywhere else than told."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.lifetime import Lifetime
from tests.testbed.network import Network
from tests.testbed.polling import wait_until

USER = 'testbed'
_LOOPBACK = '127.0.0.1'
_PORTS = range(10240, 32000)


class Server(Lifetime):
    """Life of a server: start, halt (its data stays), start again, stop (nothing stays)."""

    title: str
    standard_port: int

    def __init__(self, folder: Path, *, network: Network | None = None, port: int | None = None) -> None:
        """Choose where it listens.

        :param folder: for data, logs and sockets; made, and removed by stop
        :param network: the network to run in, at its address; None for the loopback here
        :param port: TCP port; None for the usual one in a network, and for a free one here
        """
        self.folder = folder.resolve()
        self.address = network.address if network else _LOOPBACK
        self.password = secrets.token_hex(16)
        self._network = network
        self._port = port
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._halted = False

    @property
    def port(self) -> int:
        """Its TCP port."""
        if self._port is None:
            self._port = self.standard_port if self._network else pick_port()
        return self._port

    @property
    def daemons(self) -> list[subprocess.Popen[bytes]]:
        """Its processes."""
        return list(self._daemons)

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / 'log'

    def start(self, timeout: float = 180) -> None:
        """Start it and wait until it serves; one that runs is left alone.

        :param timeout: seconds
        :raises TestbedError: when it ends at once or does not serve in time
        """
        if self._daemons:
            return
        self._halted = False
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        try:
            self._launch()
            wait_until(self._is_up, timeout, f'{self.title}; log: {self.log}', 0.1)
        except BaseException:
            self.halt(patience=0)
            raise

    def _is_up(self) -> bool:
        self._check_halted()
        for daemon in self._daemons:
            if daemon.poll() is not None:
                raise TestbedError(f'{self.title} ended: {processes.tail(self.log)}')
        try:
            with self._connect() as connection:
                connection.settimeout(10)
                return self._greet(connection)
        except OSError:
            return False

    def _check_halted(self) -> None:
        if self._halted:
            raise TestbedError(f'{self.title} was halted while it started')

    def _connect(self) -> socket.socket:
        if self._network is not None:
            return self._network.connect(self.address, self.port, 10)
        return socket.create_connection((self.address, self.port), 10)

    def _spawn(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        if self._network is not None:
            argv = self._network.wrap(argv)
        with self._lock:
            self._check_halted()
            self._daemons.append(processes.spawn(argv, self.log, env=env, cwd=self.folder))

    def _spawn_gunicorn(self, python: Path, files: Path, application: str, env: dict[str, str], *options: str) -> None:
        """Serve a WSGI application of ``files`` with the gunicorn of its own environment, one worker."""
        listen = ['--bind', f'{self.address}:{self.port}', '--timeout', '120', '--no-control-socket']
        argv = [
            str(python),
            '-m',
            'gunicorn',
            '--workers',
            '1',
            *options,
            *listen,
            '--pythonpath',
            str(files),
            application,
        ]
        self._spawn(argv, env)

    def halt(self, *, patience: float = 30) -> None:
        """End it and keep its data; repeatable.

        :param patience: seconds until it is killed; 0 kills it at once, as a crash would
        """
        with self._lock:  # another thread may be starting it
            self._halted = True
            daemons = self._daemons[::-1]
            self._daemons.clear()
        for daemon in daemons:
            processes.stop_group(daemon, patience=patience)

    def stop(self) -> None:
        """End it and remove its data; repeatable."""
        self.halt(patience=0)
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _launch(self) -> None:
        """Spawn the daemons."""

    @abstractmethod
    def _greet(self, connection: socket.socket) -> bool:
        """Tell whether a server that speaks the protocol is at the other end."""


class MariaDB(Server):
    """A database server with one all-powerful user."""

    title = 'MariaDB'
    standard_port = 3306

    def __init__(
        self,
        folder: Path,
        *,
        network: Network | None = None,
        port: int | None = None,
        durable: bool = True,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Choose where it listens.

        :param folder: for data, logs and sockets; made, and removed by stop
        :param network: the network to run in, at its address; None for the loopback here
        :param port: TCP port; None for the usual one in a network, and for a free one here
        :param durable: a crash of the machine loses nothing; a killed server never does
        :param more: further options of the server
        """
        super().__init__(folder, network=network, port=port)
        self._durable = durable
        self._more = dict(more or {})

    @property
    def socket_path(self) -> Path:
        """The socket for local clients."""
        return self.folder / 'socket'

    def build_url(self, database: str) -> str:
        """Name a database for SQLAlchemy.

        :param database: its name; create_database makes it
        :returns: a URL with the password in it
        """
        place = f'{self.address}:{self.port}/{database}'
        return f'mysql://{USER}:{self.password}@{place}?charset=utf8mb4'

    def create_database(self, name: str) -> str:
        """Make a database; one that exists is fine.

        :param name: letters, digits and underscores
        :returns: its URL
        """
        sql = f'CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4'
        argv = ['mariadb', '--no-defaults', f'--socket={self.socket_path}', '--user=root']
        processes.run([*argv, '-e', sql])
        return self.build_url(name)

    def _launch(self) -> None:
        data, temporary = self.folder / 'data', self.folder / 'tmp'
        # Each one that starts removes what others have in a folder that they share.
        temporary.mkdir(exist_ok=True)
        if not data.exists():
            work = self.folder / 'new'
            shutil.rmtree(work, ignore_errors=True)
            argv = ['mariadb-install-db', '--no-defaults', '--user=root', f'--datadir={work}']
            words = ['--auth-root-authentication-method=socket', '--skip-test-db']
            processes.run([*argv, *words], env={**os.environ, 'TMPDIR': str(temporary)})
            work.rename(data)
        # The password goes by file: arguments are readable by everybody.
        grants = self.folder / 'grants.sql'
        grants.write_text(
            'SET sql_log_bin = 0;\n'  # each server of a pair has its own
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        )
        options = {
            'user': 'root',
            'datadir': data,
            'tmpdir': temporary,
            'socket': self.socket_path,
            'pid-file': self.folder / 'pid',
            'bind-address': self.address,
            'port': self.port,
            'init-file': grants,
            'innodb-buffer-pool-size': '64M',
            'innodb-log-file-size': '32M',
            'max-connections': 500,
        }
        if not self._durable:
            options |= {'innodb-flush-log-at-trx-commit': 2, 'innodb-flush-method': 'nosync'}
        options |= self._more
        argv = ['mariadbd', '--no-defaults', '--skip-name-resolve']
        self._spawn(argv + [f'--{name}={value}' for name, value in options.items()])

    def _greet(self, connection: socket.socket) -> bool:
        # The server speaks first: three bytes of length, a number, and protocol version 10.
        return connection.recv(5)[4:] == b'\x0a'


class RabbitMQ(Server):
    """A message broker; its port mapper is its own, too, and ends with it."""

    title = 'RabbitMQ'
    standard_port = 5672

    def __init__(
        self,
        folder: Path,
        *,
        network: Network | None = None,
        port: int | None = None,
        management_port: int | None = None,
    ) -> None:
        """Choose where it listens.

        :param folder: for data, logs and sockets; made, and removed by stop
        :param network: the network to run in, at its address; None for the loopback here
        :param port: TCP port; None for the usual one in a network, and for a free one here
        :param management_port: TCP port of its HTTP API; None for none
        """
        super().__init__(folder, network=network, port=port)
        self._management_port = management_port

    @property
    def management_url(self) -> str:
        """The URL of its HTTP API, without the password."""
        return f'http://{self.address}:{self._management_port}'

    @property
    def url(self) -> str:
        """The transport URL for oslo.messaging, with the password in it."""
        return f'rabbit://{USER}:{self.password}@{self.address}:{self.port}/'

    def _launch(self) -> None:
        mapper, distribution = (str(pick_port()) for _ in range(2))
        configuration = self.folder / 'rabbitmq.conf'
        configuration.touch(0o600)
        configuration.write_text(
            f'listeners.tcp.1 = {self.address}:{self.port}\n'
            f'default_user = {USER}\n'
            f'default_pass = {self.password}\n'
            'loopback_users = none\n'
            'disk_free_limit.absolute = 50MB\n'
            'log.console = true\n'
            'log.console.level = warning\n'
            'log.file = false\n'
        )
        plugins = ''
        if self._management_port is not None:
            plugins = 'rabbitmq_management'
            with configuration.open('a') as out:
                out.write(
                    f'management.tcp.ip = {self.address}\n'
                    f'management.tcp.port = {self._management_port}\n'
                    'management_agent.disable_metrics_collector = true\n'
                )
        (self.folder / 'plugins').write_text(f'[{plugins}].\n')
        env = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.folder),  # for the cookie
            'LC_ALL': 'C.UTF-8',
            'ERL_EPMD_PORT': mapper,
            'ERL_EPMD_ADDRESS': _LOOPBACK,
            'RABBITMQ_NODENAME': f'testbed-{os.getpid()}@localhost',
            'RABBITMQ_DIST_PORT': distribution,
            'RABBITMQ_CONFIG_FILE': str(configuration),
            'RABBITMQ_CONF_ENV_FILE': '/dev/null',
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self.folder / 'plugins'),
            'RABBITMQ_MNESIA_BASE': str(self.folder / 'data'),
            'RABBITMQ_LOG_BASE': str(self.folder / 'logs'),
            'RABBITMQ_PID_FILE': str(self.folder / 'pid'),
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': ('-kernel inet_dist_use_interface {127,0,0,1}'),
        }
        # Started by us, the port mapper is our child; Erlang would start one that stays.
        self._spawn(['epmd', '-address', _LOOPBACK, '-port', mapper], env)
        wait_until(lambda: self._has_mapper(int(mapper)), 60, "Erlang's port mapper")
        self._spawn(['/usr/lib/rabbitmq/bin/rabbitmq-server'], env)

    def _has_mapper(self, port: int) -> bool:
        self._check_halted()
        inside = self._network.inside() if self._network else contextlib.nullcontext()
        try:
            with inside, socket.create_connection((_LOOPBACK, port), 10):
                return True
        except OSError:
            return False

    def _greet(self, connection: socket.socket) -> bool:
        # AMQP 0-9-1, 4.2.2: protocol header; the answer is a method frame, Connection.Start.
        connection.sendall(b'AMQP\x00\x00\x09\x01')
        return connection.recv(1) == b'\x01'


def pick_port() -> int:
    """Find a TCP port that is free on the loopback, and that nobody takes by chance before it is used.

    :returns: its number, below those that the kernel gives to outgoing connections
    """
    while True:
        port = secrets.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server((_LOOPBACK, port)):
            return port
