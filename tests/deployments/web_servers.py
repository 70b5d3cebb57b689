# SPDX-License-Identifier: Apache-2.0
"""The API under a WSGI server with the samples of etc/, on MariaDB and RabbitMQ, and a volume worker."""

import contextlib
import http.client
import json
import pathlib
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.deployments.noauth import HEADERS
from tests.deployments.programs import BIN, TOP, make_environment
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import MariaDB, RabbitMQ, pick_port


class Backend:
    """What is behind the API: a database, a broker, and a worker whose targets are null.

    :param folder: for everything.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.config = folder / 'multiattach.conf'
        self.database = MariaDB(folder / 'mariadb')
        self.broker = RabbitMQ(folder / 'rabbitmq')
        self.worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.database.start()
        self.broker.start()
        self.config.touch(0o600)
        self.config.write_text(
            f'[DEFAULT]\nhost = servers\nstate_path = {self.folder}\ntransport_url = {self.broker.url}\n'
            'rpc_response_timeout = 60\n[api]\nauth_strategy = noauth\n'
            f'[database]\nconnection = {self.database.create_database("multiattach")}\n'
            '[quota]\nvolumes = -1\ngigabytes = -1\n'
            f'[file]\ndirectory = {self.folder}/volumes\ntarget_driver = null\n'
            '[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\namqp_durable_queues = true\n'
        )
        processes.run([BIN / 'multiattach-manage', '--config-file', self.config, 'db', 'sync'], env=make_environment())
        self.worker = processes.spawn(
            [BIN / 'multiattach-volume', '--config-file', self.config],
            self.folder / 'worker.log',
            env=make_environment(),
        )

    def stop(self) -> None:
        if self.worker is not None:
            processes.stop_group(self.worker)
        self.broker.stop()
        self.database.stop()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep the worker from answering for the length of a block."""
        assert self.worker is not None
        self.worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.worker.send_signal(signal.SIGCONT)


class Server:
    """The API under one WSGI server.

    :param backend: what is behind it.
    :param kind: ``uwsgi`` or ``gunicorn``.
    :param folder: for its copy of the sample file and its log.
    :param more: further lines of configuration.
    """

    def __init__(self, backend: Backend, kind: str, folder: pathlib.Path, more: str = '') -> None:
        self.kind = kind
        self.config = folder / 'multiattach.conf'
        self.config.touch(0o600)
        self.config.write_text(backend.config.read_text() + more)
        self.port = pick_port()
        self.log = folder / f'{kind}.log'
        sample = TOP / 'etc/multiattach' / {'uwsgi': 'uwsgi.ini', 'gunicorn': 'gunicorn.conf.py'}[kind]
        text = sample.read_text()
        assert text.count('127.0.0.1:8776') == 1, 'the sample listens somewhere else'
        copy = folder / sample.name
        copy.write_text(text.replace('127.0.0.1:8776', f'127.0.0.1:{self.port}'))
        option = {'uwsgi': '--ini', 'gunicorn': '--config'}[kind]
        self._argv = [str(BIN / kind), option, str(copy)]
        self.env = make_environment(MULTIATTACH_CONFIG_FILES=str(self.config))
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        self.process = processes.spawn(self._argv, self.log, env=self.env)

    def start(self) -> None:
        self.spawn()
        wait_until(self._is_up, 60, lambda: f'{self.kind}: {processes.tail(self.log)}')

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return Client(self.port, timeout=10).ask('GET', '/healthcheck')[0] == 200
        except OSError:
            return False

    def terminate(self) -> None:
        """Ask it to end, as systemd does with KillMode=mixed: the master alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        if self.process is not None:
            processes.stop_group(self.process)

    def count_processes(self) -> int:
        """How many processes of its session live."""
        assert self.process is not None
        found = 0
        for entry in pathlib.Path('/proc').glob('[0-9]*/stat'):
            with contextlib.suppress(OSError):
                state, _parent, _group, session = entry.read_text().rpartition(')')[2].split()[:4]
                found += int(session) == self.process.pid and state != 'Z'
        return found


class Client:
    """One connection, kept as long as the server keeps it.

    :param port: where the server listens.
    :param timeout: seconds.
    """

    def __init__(self, port: int, timeout: float = 60) -> None:
        self._connection = http.client.HTTPConnection('127.0.0.1', port, timeout=timeout)

    def ask(
        self, method: str, path: str, body: Any = None, *, chunked: bool = False, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Make a request; a body of bytes is sent as it is."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(
            method,
            path,
            iter([data[:7], data[7:]]) if chunked and data else data,
            HEADERS | (headers or {}),
            encode_chunked=chunked,
        )
        reply = self._connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if re.match(r'\s*[{\[]', text.decode()) else text.decode()

    @property
    def source(self) -> Any:
        """The local end of the connection, None when the server has closed it."""
        return self._connection.sock and self._connection.sock.getsockname()

    def close(self) -> None:
        self._connection.close()

    def make_volume(self, type_name: str) -> str:
        """Make a volume and wait for it."""
        code, reply = self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': type_name}})
        assert code == 202, reply
        ident: str = reply['volume']['id']
        wait_until(lambda: self.status(ident) == 'available', 30, 'a volume')
        return ident

    def status(self, volume_id: str) -> str:
        code, reply = self.ask('GET', f'/v3/volumes/{volume_id}')
        assert code == 200, reply
        status: str = reply['volume']['status']
        assert status != 'error', reply
        return status
