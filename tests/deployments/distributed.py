# SPDX-License-Identifier: Apache-2.0
"""The distributed deployment on one machine: MariaDB, RabbitMQ, Redis, two APIs, two volume workers, a tgtd.

Each program is a process of its own with a configuration of its own; the two workers have names of their
own and serve one backend together (``[volume] cluster``).
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pymysql

from tests.deployments.programs import BIN, Program, make_environment
from tests.testbed import processes
from tests.testbed.coordination import Redis
from tests.testbed.pairs import MariaDBPair, RabbitMQPair
from tests.testbed.servers import MariaDB, RabbitMQ, pick_port
from tests.testbed.tgtd import Tgtd

CLUSTER = 'storage'
BACKEND = f'{CLUSTER}@file'
PATIENCE = 20  # s, rpc_response_timeout


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
                [BIN / 'multiattach-manage', '--config-file', self.apis[0].config, 'db', 'sync'], env=make_environment()
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
