# SPDX-License-Identifier: Apache-2.0
"""A region, simulated: what many compute hosts cost the control plane: ``python -m tests.benchmarks.region``.

It starts MariaDB, RabbitMQ with quorum queues, Redis, the API under uWSGI and a volume worker whose target driver does
nothing, writes the rows of 20 volumes and 50 attachments per host, and starts the real agent of each host without a
hypervisor. Then it measures CPU seconds by part: of a minute in which nobody asks for anything, of the death of a host
with 500 attachments, of all agents starting again within one minute, and of a restart of the broker.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import states
from tests.benchmarks import accounting
from tests.benchmarks.region_parts import Region
from tests.benchmarks.service import PROJECT
from tests.benchmarks.wire import Endpoint, Wire
from tests.testbed.polling import wait_until

_CLIENTS = 8
_TAKE_OVER = 50  # hosts on which the servers of a dead one are started
_EPILOG = """\
examples (from the top of the tree, as root for the private servers; 1,000 hosts need 5 GiB):
  python -m tests.benchmarks.region --hosts 10
  python -m tests.benchmarks.region --hosts 10 100 1000 --only idle --json region.json
"""
Figures = dict[str, float]


class Scene:
    """Measures of one region."""

    def __init__(self, region: Region, seconds: float) -> None:
        self._region = region
        self._seconds = seconds
        self.figures: Figures = {}

    def put(self, name: str, value: float) -> None:
        """Keep a figure and show it."""
        self.figures[name] = value
        print(f'  {name:<60} {value:>12,.2f}', flush=True)

    @contextlib.contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Measure a block: CPU seconds by part, and what the database was asked."""
        counted, before, began, known = self._count(), self._read_cpu(), time.monotonic(), self._region.parts
        yield
        seconds = time.monotonic() - began
        after, counted_after = self._read_cpu(), self._count()
        self.put(f'{what}: seconds', seconds)
        same = self._region.parts  # what was killed and started again counts from its start on
        spent = {part: after[part] - (before[part] if same[part] == known[part] else 0.0) for part in after}
        for part, value in spent.items():
            self.put(f'{what}: CPU s, {part}', value)
        self.put(f'{what}: CPU s, control plane', sum(spent.values()) - spent['agents'])
        for name in counted:
            self.put(f'{what}: SQL, {name}', counted_after[name] - counted[name])

    def _read_cpu(self) -> dict[str, float]:
        return {part: accounting.cpu_seconds(pids) for part, pids in self._region.parts.items()}

    def _count(self) -> dict[str, float]:
        counts = accounting.count_statements(self._region.engine)
        with self._region.engine.connect() as connection:
            rows = connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Handler_read%'"))
            reads = sum(float(value) for _name, value in rows)
        statements = sum(counts[kind] for kind in ('select', 'insert', 'update', 'delete'))
        return {'statements': statements, 'commits': counts['commit'], 'rows read': reads}

    # -- what is measured ----------------------------------------------------------------------

    def measure_idle(self) -> None:
        """Nobody asks for anything."""
        with self.measured('idle'):
            time.sleep(self._seconds)
        minute = 60 / self.figures['idle: seconds']
        self.put('idle: cores, control plane', self.figures['idle: CPU s, control plane'] / 60 * minute)
        self.put('memory of all but the agents (PSS MiB)', self._read_memory(agents=False))
        self.put('memory of the agents (PSS MiB)', self._read_memory(agents=True))

    def _read_memory(self, *, agents: bool) -> float:
        return sum(
            accounting.memory_mib(pids) for part, pids in self._region.parts.items() if (part == 'agents') is agents
        )

    def measure_death(self) -> None:
        """A host dies: it is fenced, what it had is removed, its servers start elsewhere and get their volumes."""
        region = self._region
        dead, others = region.hosts[0], region.hosts[1:]
        wanted = self._list_held(dead)
        region.order('stop', only=[dead])
        region.order('lose', only=[dead])
        with self.measured('fence of a dead host'):
            body = {'fence': {'out_of_service': True, 'reason': 'benchmark'}}
            found = Wire(self._endpoint('volume 3.71')).call('POST', f'/multiattach/hosts/{dead}/fence', body)['fence']
        if not found['complete'] or len(found['attachments']) != len(wanted):
            raise SystemExit(f'The fence is not complete: {len(found["attachments"])} of {len(wanted)} attachments.')
        self.put('fence of a dead host: attachments', len(wanted))
        places: dict[str, list[str]] = {}
        chosen = others[:: max(1, len(others) // _TAKE_OVER)]
        for number, (server, _volume) in enumerate(wanted):
            places.setdefault(chosen[number % len(chosen)], []).append(server)
        region.order('adopt', servers=places)
        wait_until(lambda: self._count_servers(dead) == 0, 90, 'servers on their new hosts', 0.5)
        with self.measured('attach elsewhere'):
            self._attach(wanted)
            wait_until(lambda: self._count_open() == 0, 300, 'attach', 0.5)
        missing = len(wanted) - len(self._list_held(None, [one[0] for one in wanted]))
        if missing:
            raise SystemExit(f'{missing} of {len(wanted)} servers did not get their volume.')

    def _attach(self, wanted: list[tuple[str, str]]) -> None:
        left, lock, failures = list(wanted), threading.Lock(), list[str]()

        def client() -> None:
            wire = Wire(Endpoint(f'http://127.0.0.1:{self._region.port}/compute/v2.1', f'admin:{PROJECT}', 0))
            wire._endpoint.head += 'X-OpenStack-Nova-API-Version: 2.79\r\n'
            while True:
                with lock:
                    if not left:
                        return
                    server, volume = left.pop()
                body = {'volumeAttachment': {'volumeId': volume}}
                try:
                    wire.call('POST', f'/servers/{server}/os-volume_attachments', body)
                except Exception as exc:
                    failures.append(f'{type(exc).__name__}: {exc}')

        threads = [threading.Thread(target=client, daemon=True) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(170)
        if failures:
            raise SystemExit(f'{len(failures)} attaches failed, the first: {failures[0]}')

    def _list_held(self, host: str | None, servers: list[str] | None = None) -> list[tuple[str, str]]:
        table = models.Attachment
        query = sa.select(table.instance_uuid, table.volume_id).where(
            table.deleted_at.is_(None), table.state == 'attached'
        )
        query = (
            query.where(table.agent_host == host) if servers is None else query.where(table.instance_uuid.in_(servers))
        )
        with self._region.engine.connect() as connection:
            return [(str(row[0]), str(row[1])) for row in connection.execute(query)]

    def _count_open(self) -> int:
        """Count steps that are begun and not ended; what is at rest is not read."""
        state = models.Attachment.state
        query = sa.select(sa.func.count()).where(
            models.is_one_of(state, states.AGENT_OPEN | states.WORKER_STATES), models.Attachment.deleted_at.is_(None)
        )
        with self._region.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _count_servers(self, host: str) -> int:
        query = sa.select(sa.func.count()).select_from(models.Server).where(models.Server.host == host)
        with self._region.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _endpoint(self, version: str) -> Endpoint:
        made = Endpoint(f'http://127.0.0.1:{self._region.port}/v3', f'admin:{PROJECT}', 71)
        made.head = made.head.replace('volume 3.71', version)
        return made

    def measure_restart(self) -> None:
        """All agents start again within one minute."""
        self._region.order('stop')
        with self.measured('all agents start'):
            seconds = self._region.order('start', within=60)
            time.sleep(5)
        self.put('all agents start: the last one was ready after s', seconds)

    def measure_broker(self) -> None:
        """The broker dies and comes back; until every agent is connected again."""
        before = self._count_connections()
        with self.measured('broker restart'):
            began = time.monotonic()
            self._region.restart_broker()
            served = time.monotonic() - began
            wait_until(lambda: self._count_connections() >= before, 150, 'agents at the broker', 0.5)
            seconds = time.monotonic() - began
            time.sleep(5)
        self.put('broker restart: the broker served again after s', served)
        self.put('broker restart: the last agent was back after s', seconds)
        self.put('broker restart: connections', before)

    def _count_connections(self) -> int:
        """Connections at the broker's side that are established (state 01)."""
        port = f':{self._region.broker_port:04X}'
        lines = pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]
        return sum(line.split()[1].endswith(port) and line.split()[3] == '01' for line in lines)


MEASURES: dict[str, Callable[[Scene], None]] = {
    'idle': Scene.measure_idle,
    'death': Scene.measure_death,
    'restart': Scene.measure_restart,
    'broker': Scene.measure_broker,
}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.region',
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--hosts', type=int, nargs='+', default=[10], metavar='N', help='sizes (default: 10)')
    parser.add_argument('--only', nargs='+', choices=MEASURES, default=list(MEASURES), help='what to measure')
    parser.add_argument('--seconds', type=float, default=60, help='how long idleness is measured (default: 60)')
    parser.add_argument(
        '--settle', type=float, default=75, help='seconds before that, so that each round has come once (default: 75)'
    )
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the figures there, too')
    return parser.parse_args()


def _measure(hosts: int, options: argparse.Namespace) -> Figures:
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='ma-region-')))
        print(f'{hosts} hosts: rows, servers, API and worker ...', flush=True)
        began = time.monotonic()
        region = stack.enter_context(Region(folder, hosts))
        scene = Scene(region, options.seconds)
        scene.put('set up: the worker was ready after s', time.monotonic() - began)
        print(f'{hosts} hosts: agents ...', flush=True)
        began = time.monotonic()
        region.start_agents()
        scene.put('set up: the agents were ready after s', time.monotonic() - began)
        scene.put('set up: CPU s, agents', accounting.cpu_seconds(region.parts['agents']))
        time.sleep(options.settle)
        for name in options.only:
            print(f'{hosts} hosts: {name} ...', flush=True)
            MEASURES[name](scene)
    return scene.figures


def main() -> int:
    """Measure each size and print a table.

    :returns: exit code.
    """
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    if min(options.hosts) < 2:
        raise SystemExit('--hosts must be 2 or more: what one had goes to the others.')
    found: dict[int, Figures] = {}
    for hosts in options.hosts:
        found[hosts] = _measure(hosts, options)
        if options.json:
            about: dict[str, Any] = {'cores': os.cpu_count(), 'python': platform.python_version()}
            options.json.write_text(json.dumps(about | {'hosts': found}, indent=1) + '\n')
    print(f'{"hosts":<62}' + ''.join(f'{hosts:>12,}' for hosts in found))
    for name in next(iter(found.values())):
        print(f'{name:<62}' + ''.join(f'{figures.get(name, float("nan")):>12,.2f}' for figures in found.values()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
