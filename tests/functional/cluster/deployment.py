# SPDX-License-Identifier: Apache-2.0
"""The distributed deployment on one machine: MariaDB, RabbitMQ, Redis, two APIs, two volume workers, a tgtd.

Each program is a process of its own with a configuration of its own; the two workers have names of their
own and serve one backend together (``[volume] cluster``).
"""

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pymysql

from tests.testbed import processes
from tests.testbed.coordination import Redis
from tests.testbed.pairs import MariaDBPair, RabbitMQPair
from tests.testbed.polling import wait_until
from tests.testbed.servers import MariaDB, RabbitMQ, pick_port
from tests.testbed.tgtd import Tgtd

TOP = pathlib.Path(__file__).parents[3]
BIN = pathlib.Path(sys.executable).parent
ENVIRONMENT = {'PYTHONPATH': str(TOP), 'PYTHONWARNINGS': 'ignore', 'no_proxy': '*'}
CLUSTER = 'storage'
BACKEND = f'{CLUSTER}@file'
PATIENCE = 20  # s, rpc_response_timeout


class Program:
    """A program that may be killed and started again; its log grows on.

    :param name: of the executable.
    :param config: its configuration file.
    :param ready: what it says when it is.
    """

    def __init__(self, name: str, config: pathlib.Path, ready: str) -> None:
        self.config = config
        self.log = config.with_suffix('.log')
        self._argv = [str(BIN / name), '--config-file', str(config)]
        self._ready = ready
        self._seen = 0
        self.environment: dict[str, str] = {}  # besides what all have
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        self.process = processes.spawn(self._argv, self.log, env=os.environ | ENVIRONMENT | self.environment)

    def wait_ready(self) -> None:
        wait_until(self._is_ready, 90, f'{self.config.stem}: {processes.tail(self.log)}')

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, processes.tail(self.log)
        return self._ready in self.log.read_bytes()[self._seen :].decode(errors='replace')

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def restart(self) -> None:
        """Start it after a crash and wait until it is ready."""
        self.start()
        self.wait_ready()

    def stop(self) -> int:
        """End it in order.

        :returns: its exit code.
        """
        if self.process is None:
            return 0
        processes.stop(self.process)
        return self.process.returncode


class Deployment:
    """Everything, and its facts.

    :param folder: for all that is written.
    :param paired: with a second database and a second broker that take over.
    """

    def __init__(self, folder: pathlib.Path, *, paired: bool = False) -> None:
        self.folder = folder
        self.settings = ''  # of all programs, besides what they need
        self.database: MariaDB | MariaDBPair
        self.broker: RabbitMQ | RabbitMQPair
        if paired:
            self.database, self.broker = MariaDBPair(folder / 'm'), RabbitMQPair(folder / 'r')
        else:
            self.database, self.broker = (MariaDB(folder / 'mariadb', durable=False), RabbitMQ(folder / 'rabbitmq'))
        self.redis = Redis(folder / 'redis')
        self.tgtd = Tgtd(folder / 'tgtd', port=pick_port())
        self.ports = (pick_port(), pick_port())
        self.apis = [
            Program('multiattach-api', folder / f'api-{number}.conf', 'multiattach-api is ready') for number in (1, 2)
        ]
        self.workers = [
            Program('multiattach-volume', folder / f'{name}.conf', ' is ready') for name in ('left', 'right')
        ]

    @contextlib.contextmanager
    def run(self) -> Iterator['Deployment']:
        """Bring it up, and down again whatever happens."""
        with contextlib.ExitStack() as stack:
            for server in (self.database, self.broker, self.redis, self.tgtd):
                stack.enter_context(server)
            self._configure()
            processes.run(
                [BIN / 'multiattach-manage', '--config-file', self.apis[0].config, 'db', 'sync'],
                env=os.environ | ENVIRONMENT,
            )
            programs = (*self.apis, *self.workers)
            for program in programs:
                program.start()
                stack.callback(program.stop)
            for program in programs:
                program.wait_ready()
            yield self
            assert [program.stop() for program in programs] == [0] * len(programs)

    def _configure(self) -> None:
        common = (
            '[DEFAULT]\nhost = {name}\nreport_interval = 1\nservice_down_time = 8\n'
            f'state_path = {self.folder}/state\ntransport_url = {self.broker.url}\n'
            f'rpc_response_timeout = {PATIENCE}\nrpc_monitor_timeout = 2\n'
            '[leases]\nduration = 4\n'
            f'[database]\nconnection = {self.database.create_database("multiattach")}\n'
            '[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\namqp_durable_queues = true\n'
            f'[coordination]\nbackend_url = {self.redis.url}?timeout=5\n'
            '[quota]\nvolumes = -1\ngigabytes = -1\n'
            f'[volume]\ncluster = {CLUSTER}\n[file]\ndirectory = {self.folder}/volumes\n'
            f'[tgt]\nportal = {self.tgtd.portal}\ncontrol_port = {self.tgtd.control_port}\n'
        )
        for program in (*self.apis, *self.workers):
            program.config.touch(0o600)
            program.config.write_text(common.format(name=program.config.stem) + self.settings)
        for program, port in zip(self.apis, self.ports, strict=True):
            with program.config.open('a') as out:
                out.write(f'[api]\nauth_strategy = noauth\nlisten_port = {port}\n')

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        with (
            contextlib.closing(
                pymysql.connect(
                    unix_socket=str(self.database.socket_path), user='root', database='multiattach', autocommit=True
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def report(self) -> None:
        """Print the logs' ends: pytest shows them if a test failed."""
        for program in (*self.workers, *self.apis):
            print(f'== {program.log.name}\n{processes.tail(program.log, 6000)}')
