# SPDX-License-Identifier: Apache-2.0
"""Many host agents in one process, for :mod:`tests.benchmarks.region`: the real ones, without hypervisors.

It reads orders from standard input, one JSON object a line, and answers each with one. Each agent has connections of
its own to the broker; all share a pool of them to the database, as statements would be compiled by each otherwise. They
are green threads, as an agent has about ten: whoever calls :func:`main` has selected them before anything else was
imported.
"""

import contextlib
import json
import os
import random
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import eventlet
import sqlalchemy as sa
from oslo_config import cfg
from oslo_log import log

from multiattach import conf as configuration
from multiattach.cmd import hosts, parts
from multiattach.db import models
from multiattach.db.database import Database
from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.hypervisors.base import Disk
from multiattach.host.service import HostService
from multiattach.rpc import broker, transport
from tests.component.host.fakes import FakeConnector, FakeHypervisor

LOG = log.getLogger(__name__)
_AT_ONCE = 4


class Agent:
    """One compute host.

    :param held: pairs of server and volume that it has; more servers may come.
    """

    def __init__(self, conf: cfg.ConfigOpts, db: Database, name: str, held: Iterable[tuple[str, str, str]]) -> None:
        self._conf = conf
        self._db = db
        self.name = name
        self.hypervisor = FakeHypervisor()
        self.hypervisor.disks = {}
        self.connector = FakeConnector(name)
        for server, volume, attachment in held:
            disk = Disk(attachment, volume, DeviceInfo('block', f'/dev/{volume}'), '/dev/vdb', multiattach=True)
            self.hypervisor.disks.setdefault(server, {})[volume] = disk
            self.connector.sessions.add(volume)
        self._open = contextlib.ExitStack()
        self._service: HostService | None = None

    def make(self) -> None:
        """Make its parts; one at a time, as the name is an option."""
        conf = self._conf
        conf.set_override('host', self.name)
        rpc = transport.make_transport(conf)
        self._open.callback(broker.close, rpc)
        self._service = hosts.assemble(conf, self._db, rpc, self.hypervisor, self.connector)

    def start(self) -> None:
        assert self._service is not None
        self._service.start()

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop()
            self._service = None
        self._open.close()


class Agents:
    """Those of this process.

    :param names: of their hosts.
    """

    def __init__(self, conf: cfg.ConfigOpts, names: list[str]) -> None:
        held: dict[str, list[tuple[str, str, str]]] = {name: [] for name in names}
        conf.set_override('max_pool_size', 3 * len(names), group='database')
        db = parts.open_database(conf, check=False)
        table = models.Attachment
        with db.reader() as session:
            for row in session.execute(
                sa.select(table.agent_host, table.instance_uuid, table.volume_id, table.id).where(
                    table.agent_host.in_(names), table.deleted_at.is_(None)
                )
            ):
                held[str(row[0])].append((str(row[1]), row[2], row[3]))
        self._agents = {name: Agent(conf, db, name, held[name]) for name in names}
        self._making = eventlet.semaphore.Semaphore()

    def start(self, within: float = 0, only: list[str] | None = None) -> None:
        """Start them, spread over some seconds; 0 for as fast as it goes."""
        self._each(lambda agent: self._start(agent, within), only, len(self._agents) if within else _AT_ONCE)

    def _start(self, agent: Agent, within: float) -> None:
        time.sleep(random.random() * within)
        with self._making:
            agent.make()
        agent.start()

    def stop(self, only: list[str] | None = None) -> None:
        self._each(lambda agent: agent.stop(), only, 16)

    def adopt(self, servers: dict[str, list[str]]) -> None:
        """Have servers appear on hosts: they were started again there."""
        for host, idents in servers.items():
            for ident in idents:
                self._agents[host].hypervisor.disks[ident] = {}

    def lose(self, only: list[str]) -> None:
        """Have hosts lose all that they have."""
        for name in only:
            self._agents[name].hypervisor.disks = {}
            self._agents[name].connector.sessions = set()

    def _each(self, call: Callable[[Agent], None], only: list[str] | None, at_once: int) -> None:
        pool = eventlet.GreenPool(at_once)
        failures: list[str] = []

        def run(agent: Agent) -> None:
            try:
                call(agent)
            except Exception as exc:
                LOG.exception('%s', agent.name)
                failures.append(f'{agent.name}: {type(exc).__name__}: {exc}')

        for name, agent in self._agents.items():
            if only is None or name in only:
                pool.spawn_n(run, agent)
        pool.waitall()
        if failures:
            raise RuntimeError(f'{len(failures)} agents, the first is {failures[0]}')


def _read_orders() -> Iterator[dict[str, Any]]:
    """Yield orders; the other threads go on meanwhile."""
    rest = b''
    while True:
        select.select([sys.stdin], [], [])
        some = os.read(0, 1 << 20)
        if not some:
            return
        *lines, rest = (rest + some).split(b'\n')
        for line in lines:
            yield json.loads(line)


def main() -> None:
    """Do as ordered until the input ends."""
    conf = configuration.load(
        sys.argv[2:],
        program='agents',
        description='Many host agents.',
        rpc_connections=configuration.RPC_CONNECTIONS_OF_AGENT,
    )
    agents = Agents(conf, json.loads(sys.argv[1]))
    print('{}', flush=True)
    for order in _read_orders():
        began = time.monotonic()
        answer: dict[str, Any] = {}
        try:
            getattr(agents, order.pop('do'))(**order)
        except Exception as exc:
            LOG.exception('%s', order)
            answer['error'] = f'{type(exc).__name__}: {exc}'
        print(json.dumps(answer | {'seconds': time.monotonic() - began}), flush=True)
    os._exit(0)


if __name__ == '__main__':
    main()
