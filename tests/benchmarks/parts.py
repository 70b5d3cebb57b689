# SPDX-License-Identifier: Apache-2.0
"""The production parts of a benchmark: MariaDB, RabbitMQ, the API under uWSGI, a volume worker."""

import contextlib
import os
import pathlib
import signal
import subprocess
import uuid
from collections.abc import Iterator

import sqlalchemy as sa

from multiattach.db import models
from tests.benchmarks.wire import Endpoint, Wire
from tests.deployments.programs import BIN, TOP, make_environment
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import MariaDB, RabbitMQ, pick_port

PROJECT = 'b' * 32


class Parts:
    """Servers, started for one benchmark.

    :param folder: for all that they keep.
    :param target: target driver of the worker, ``null`` or ``tgt``.
    :param api_processes: processes of the API.
    :param api_threads: threads of each.
    """

    def __init__(self, folder: pathlib.Path, target: str, api_processes: int = 2, api_threads: int = 8) -> None:
        self._folder = folder
        self._target = target
        self._shape = (api_processes, api_threads)
        self._stack = contextlib.ExitStack()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.port = pick_port()
        self.engine: sa.Engine

    def __enter__(self) -> 'Parts':
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self._database = self._stack.enter_context(MariaDB(self._folder / 'mariadb'))
        self._broker = self._stack.enter_context(RabbitMQ(self._folder / 'rabbitmq'))
        url = self._database.create_database('multiattach')
        self.engine = sa.create_engine(url)
        self._stack.callback(self.engine.dispose)
        (self._folder / 'state').mkdir()
        self.conf = self._folder / 'multiattach.conf'
        self.conf.touch(0o600)
        self.conf.write_text(
            f'[DEFAULT]\nhost = bench\nstate_path = {self._folder}/state\n'
            f'transport_url = {self._broker.url}\nlog_file = {self._folder}/multiattach.log\n'
            f'[database]\nconnection = {url}\n[api]\nauth_strategy = noauth\n'
            '[quota]\nvolumes = -1\ngigabytes = -1\n'
            f'[file]\ndirectory = {self._folder}/state/volumes\ntarget_driver = {self._target}\n'
            f'[tgt]\nprivate = true\nportal = 127.0.0.1:{pick_port()}\n'
            '[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\namqp_durable_queues = true\n'
        )
        self._run('multiattach-manage', 'db', 'sync')
        self._spawn('worker', [BIN / 'multiattach-volume', '--config-file', self.conf])
        self._spawn(
            'api',
            [
                BIN / 'uwsgi',
                '--ini',
                TOP / 'etc/multiattach/uwsgi.ini',
                '--set-placeholder',
                'unused=1',
                '--http',
                f'127.0.0.1:{self.port}',
                '--processes',
                str(self._shape[0]),
                '--threads',
                str(self._shape[1]),
            ],
        )
        self._wait()

    def _run(self, program: str, *words: str) -> None:
        processes.run([BIN / program, '--config-file', self.conf, *words], env=make_environment())

    def _spawn(self, name: str, argv: list[str | pathlib.Path]) -> None:
        env = make_environment(MULTIATTACH_CONFIG_FILES=str(self.conf))
        daemon = processes.spawn(argv, self._folder / f'{name}.log', env=env)
        self._daemons[name] = daemon
        self._stack.callback(processes.stop_group, daemon)

    def _wait(self) -> None:
        wait_until(self._is_up, 90, 'the API and the worker', 0.2)

    def _is_up(self) -> bool:
        for name, daemon in self._daemons.items():
            if daemon.poll() is not None:
                raise SystemExit(f'{name} does not run: {processes.tail(self._folder / f"{name}.log")}')
        with contextlib.suppress(Exception), contextlib.closing(Wire(self.endpoint, 10)) as wire:
            return any(one['state'] == 'up' for one in wire.call('GET', '/os-services')['services'])
        return False

    @property
    def endpoint(self) -> Endpoint:
        """The API."""
        return Endpoint(f'http://127.0.0.1:{self.port}/v3', f'admin:{PROJECT}', 60)

    @property
    def own_pids(self) -> list[int]:
        """Processes of this service."""
        return [daemon.pid for daemon in self._daemons.values()]

    @property
    def all_pids(self) -> list[int]:
        """Processes of this service, the database and the broker."""
        servers = (self._database, self._broker)
        return self.own_pids + [one.pid for server in servers for one in server.daemons]

    @contextlib.contextmanager
    def hung_worker(self) -> Iterator[None]:
        """Freeze the volume worker."""
        pid = self._daemons['worker'].pid
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(pid, signal.SIGCONT)

    def seed(self, volumes: int, *, attached: bool, type_id: str) -> None:
        """Write rows of volumes, as they are after creation, without asking anybody.

        :param volumes: how many.
        :param attached: each has one attachment.
        :param type_id: UUID of their type.
        """
        now = models.now()
        service = uuid.uuid4()
        rows, held = [], []
        for _ in range(volumes):
            ident = str(uuid.uuid4())
            rows.append(
                {
                    'id': ident,
                    'project_id': PROJECT,
                    'user_id': 'admin',
                    'display_name': f'v-{ident[:8]}',
                    'size': 1,
                    'volume_type_id': type_id,
                    'multiattach': True,
                    'bootable': False,
                    'host': 'bench@file',
                    'availability_zone': 'nova',
                    'service_uuid': str(service),
                    'status': 'in-use' if attached else 'available',
                    'status_at': now,
                    'created_at': now,
                }
            )
            held.append(
                {
                    'id': str(uuid.uuid4()),
                    'volume_id': ident,
                    'instance_uuid': str(uuid.uuid4()),
                    'state': 'attached',
                    'state_at': now,
                    'attach_mode': 'rw',
                    'attached_host': 'h1',
                    'initiator': 'iqn.1994-05.com.example:h1',
                    'mountpoint': '/dev/vdb',
                    'connector': {'host': 'h1'},
                    'connection_info': {'driver_volume_type': 'iscsi'},
                    'attached_at': now,
                    'created_at': now,
                    'timeline': '',
                }
            )
        with self.engine.begin() as connection:
            for start in range(0, volumes, 1000):
                connection.execute(sa.insert(models.Volume), rows[start : start + 1000])
                if attached:
                    connection.execute(sa.insert(models.Attachment), held[start : start + 1000])

    def sweep(self) -> None:
        """Forget all volumes that were seeded."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "DELETE FROM attachments WHERE volume_id IN (SELECT id FROM volumes WHERE display_name LIKE 'v-%')"
                )
            )
            connection.execute(sa.text("DELETE FROM volumes WHERE display_name LIKE 'v-%'"))
