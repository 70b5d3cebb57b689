# SPDX-License-Identifier: Apache-2.0
"""A Block Storage service to measure, on a MariaDB and a RabbitMQ of its own."""

import contextlib
import os
import pathlib
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import sqlalchemy as sa

from tests.benchmarks.accounting import Account
from tests.benchmarks.wire import Endpoint, Wire
from tests.testbed import processes
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.servers import MariaDB, RabbitMQ, pick_port

PROJECT = 'b' * 32


class Service(ABC):
    """Its processes and servers run within ``with``.

    :param folder: for all that they keep.
    """

    _patience = 120.0  # s until all of it serves
    #: where it and its servers run; None for the machine's own
    network: Network | None = None

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder.resolve()
        self.port = pick_port()
        self.engine: sa.Engine
        self._stack = contextlib.ExitStack()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        database = self._stack.enter_context(self._make_database())
        broker = self._stack.enter_context(RabbitMQ(self.folder / 'rabbitmq', network=self.network))
        self._servers = (database, broker)
        url = database.create_database('measured')
        self.engine = sa.create_engine(url)
        self._stack.callback(self.engine.dispose)
        self._launch(url, broker.url)
        wait_until(self._is_up, self._patience, 'the API and the worker', 0.2)

    def _make_database(self) -> MariaDB:
        return MariaDB(self.folder / 'mariadb', network=self.network)

    @property
    def address(self) -> str:
        """Where its API listens."""
        return self.network.address if self.network else '127.0.0.1'

    def wrap(self, argv: Sequence[str | pathlib.Path]) -> list[str]:
        """Make a command run where it runs."""
        words = [str(word) for word in argv]
        return self.network.wrap(words) if self.network else words

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """The API, and an admin of it."""

    @abstractmethod
    def _launch(self, database_url: str, transport_url: str) -> None:
        """Make the schema and spawn the processes, ``worker`` among them."""

    @abstractmethod
    def _lists_worker(self, wire: Wire) -> bool:
        """Tell whether the API knows that the volume worker is up."""

    @abstractmethod
    def seed(self, volumes: int, *, attached: bool, type_id: str) -> None:
        """Write rows of volumes, each with one attachment if attached, as they are after creation."""

    @abstractmethod
    def sweep(self) -> None:
        """Delete the rows that were seeded."""

    def seed_sharers(self, _volume_id: str, _count: int) -> bool:
        """Write rows of attachments to one volume.

        :returns: whether it did; if not, they are made by requests.
        """
        return False

    def _spawn(self, name: str, argv: list[str | pathlib.Path], env: Mapping[str, str]) -> None:
        daemon = processes.spawn(self.wrap(argv), self.folder / f'{name}.log', env=env)
        self._daemons[name] = daemon
        self._stack.callback(processes.stop_group, daemon)

    def _is_up(self) -> bool:
        for name, daemon in self._daemons.items():
            if daemon.poll() is not None:
                raise SystemExit(f'{name} does not run: {processes.tail(self.folder / f"{name}.log")}')
        with contextlib.suppress(Exception), contextlib.closing(Wire(self.endpoint, 10)) as wire:
            return self._lists_worker(wire)
        return False

    @property
    def account(self) -> Account:
        """What it costs: its own processes, the servers, the database's counters."""
        servers = [one.pid for server in self._servers for one in server.daemons]
        return Account([daemon.pid for daemon in self._daemons.values()], servers, self.engine)

    @contextlib.contextmanager
    def hung_worker(self) -> Iterator[None]:
        """Freeze the volume worker."""
        pid = self._daemons['worker'].pid
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(pid, signal.SIGCONT)
