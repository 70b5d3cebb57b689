# SPDX-License-Identifier: Apache-2.0
"""The distributed deployment: MariaDB, RabbitMQ, Redis, two APIs, two workers of one cluster, a tgtd."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

import oslo_messaging
import pymysql

from multiattach import conf as configuration
from multiattach.domain import errors
from multiattach.rpc import transport
from multiattach.rpc.clients import ExportOrder, VolumeWorkers
from tests.deployments.distributed import BACKEND, Deployment
from tests.functional.disturbances.disk import SETTINGS
from tests.histories.field import Field, Keeper
from tests.testbed import processes
from tests.testbed.pairs import MariaDBPair, RabbitMQPair
from tests.testbed.polling import look_until
from tests.testbed.servers import Server

_LOCK = 5  # s, as the deployment's configuration has it


class Production(Field):
    """The deployment.

    :param folder: for all that is written.
    :param cloud: another deployment than the usual one.
    """

    snapshot = False

    def __init__(self, folder: pathlib.Path, cloud: Deployment | None = None) -> None:
        self._cloud = cloud or Deployment(folder)
        self._cloud.settings = SETTINGS
        self._apis, self._workers = self._cloud.apis, self._cloud.workers
        self._keeper = Keeper([*self._apis, *self._workers])
        self._orders: VolumeWorkers | None = None
        # Servers that are being restarted: one at a time, as two at once would only be waited for.
        self._server = threading.Lock()
        super().__init__(self._cloud.ports, folder, folder / 'volumes', folder / 'state/targets')
        self.faults = {
            'api': lambda chance: chance.choice(self._apis).send(signal.SIGKILL),
            'worker': lambda chance: chance.choice(self._workers).send(signal.SIGKILL),
            'tgtd': self._kill_tgtd,
            'slow-tgtd': self._freeze_tgtd,
            'sleeper': self._freeze_worker,
            'connections': self._cut_connections,
            'orders': self._repeat_orders,
            'slow-database': lambda chance: self._freeze_server(self._cloud.database, chance.uniform(0.1, 2)),
            'slow-broker': lambda chance: self._freeze_server(self._cloud.broker, chance.uniform(0.1, 3)),
            'database': lambda _chance: self._crash(self._cloud.database),
            'broker': lambda _chance: self._crash(self._cloud.broker),
            'redis': lambda _chance: self._crash(self._cloud.redis),
            'clock': self.step_clock,
            'full-disk': self.fill_disk,
        }

    @contextlib.contextmanager
    def run(self) -> Iterator['Production']:
        """Bring it up, and down again."""
        if self.clock is not None:  # two of the four programs have it: one of each kind
            self._cloud.apis[0].environment = self._cloud.workers[0].environment = self.clock.environment
        with self.disk.mounted() if self.disk is not None else contextlib.nullcontext(), self._cloud.run():
            with self._keeper.run():
                self.make_types()
                yield self
            self._await_whole()
            self.close()

    def _await_whole(self) -> None:
        look_until(self.is_whole, bool, 60, 0.1)

    @property
    def url(self) -> str:
        database = self._cloud.database
        return f'mysql://root@localhost/multiattach?unix_socket={database.socket_path}'

    def administer(self, *words: str) -> str:
        return self._cloud.tgtd.administer(*words)

    def report(self) -> str:
        return '\n'.join(
            f'== {program.log.name}\n{processes.tail(program.log, 8000)}'
            for program in (*self._cloud.workers, *self._cloud.apis)
        )

    def is_whole(self) -> bool:
        return self._keeper.is_whole()

    def restart_workers(self) -> bool:
        for worker in self._workers:
            worker.send(signal.SIGKILL)
        time.sleep(0.2)  # the keeper looks every 50 ms
        self._await_whole()
        return True

    @property
    def deaths(self) -> int:
        """How often something was started again."""
        return self._keeper.deaths

    # -- faults --------------------------------------------------------------------------------

    def _kill_tgtd(self, _chance: random.Random) -> None:
        with self._server:
            self._cloud.tgtd.kill()
            self._cloud.tgtd.start()

    def _freeze_tgtd(self, chance: random.Random) -> None:
        with self._server:
            process = self._cloud.tgtd._process
            if process is not None:
                _freeze([process.pid], chance.uniform(0.1, 1.5))

    def _freeze_worker(self, chance: random.Random) -> None:
        """For longer than its locks last."""
        worker = chance.choice(self._workers)
        worker.send(signal.SIGSTOP)
        time.sleep(_LOCK + chance.uniform(0.5, 2))
        worker.send(signal.SIGCONT)

    def _freeze_server(self, server: Server | MariaDBPair | RabbitMQPair, seconds: float) -> None:
        with self._server:
            _freeze([pid for daemon in server.daemons for pid in _list_session(daemon)], seconds)

    def _crash(self, server: Server | MariaDBPair | RabbitMQPair) -> None:
        with self._server:
            server.halt(patience=0)
            server.start()

    def _cut_connections(self, chance: random.Random) -> None:
        """Several times in a row: some of them are in the middle of a COMMIT."""
        for _ in range(chance.randint(1, 4)):
            with contextlib.suppress(pymysql.MySQLError):
                for (ident,) in self._cloud.query(
                    'SELECT id FROM information_schema.processlist WHERE db = %s AND id != connection_id()',
                    'multiattach',
                ):
                    with contextlib.suppress(pymysql.MySQLError):
                        self._cloud.query(f'KILL {int(ident)}')
            time.sleep(chance.uniform(0, 0.15))

    def _repeat_orders(self, chance: random.Random) -> None:
        """Orders that come twice, late, or for what is in no state for them."""
        if self._orders is None:
            conf = configuration.load(
                ['--config-file', str(self._cloud.apis[0].config)], program='soak', description='soak'
            )
            self._orders = VolumeWorkers(transport.make_transport(conf), 20, 5)
        rows = self.query('SELECT id, volume_id FROM attachments ORDER BY created_at DESC LIMIT 12')
        for _ in range(8):
            if rows:
                ident, volume = chance.choice(rows)
                call = chance.choice((self._orders.export, self._orders.unexport, self._orders.fence))
                with contextlib.suppress(errors.MultiattachError, oslo_messaging.MessagingException):
                    call(ExportOrder(BACKEND, volume, ident), None)


def _list_session(daemon: subprocess.Popen[bytes]) -> list[int]:
    """List a daemon and what it has started in its session."""
    found = []
    for entry in pathlib.Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(entry.name)) == daemon.pid:
                found.append(int(entry.name))
    return found


def _freeze(pids: Sequence[int], seconds: float) -> None:
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
