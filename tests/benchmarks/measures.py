# SPDX-License-Identifier: Apache-2.0
"""What is measured; each function puts its figures into a table of name → number."""

import contextlib
import dataclasses
import itertools
import threading
import time
import uuid
from typing import Any

from tests.benchmarks import accounting, load
from tests.benchmarks.parts import Parts
from tests.benchmarks.wire import Endpoint, Wire

CLIENTS = (1, 8, 32)
VOLUMES = 50


@dataclasses.dataclass
class Bench:
    """A service under measurement.

    :param endpoint: the API.
    :param parts: the servers behind it if they are ours, else None.
    :param seconds: how long a load runs.
    :param figures: what was found, in order.
    """

    endpoint: Endpoint
    parts: Parts | None
    seconds: float
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    failures: list[str] = dataclasses.field(default_factory=list)
    made: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire = Wire(self.endpoint)
        name = f'bench-{uuid.uuid4().hex[:8]}'
        made = self.wire.call(
            'POST', '/types', {'volume_type': {'name': name, 'extra_specs': {'multiattach': '<is> True'}}}
        )
        self.type_name, self.type_id = name, made['volume_type']['id']

    def put(self, name: str, value: float) -> None:
        """Keep a figure and show it.

        :param name: what it is, with its unit.
        :param value: the number.
        """
        self.figures[name] = value
        print(f'  {name:<64} {value:>12,.1f}', flush=True)

    def note(self, result: load.Result) -> None:
        """Keep what failed in a load.

        :param result: of the load.
        """
        self.failures += result.failures

    def make_volumes(self, count: int) -> list[str]:
        """Make volumes that may be shared and wait until they are available.

        :param count: how many.
        :returns: their UUIDs.
        """
        idents = [
            self.wire.call('POST', '/volumes', {'volume': {'size': 1, 'volume_type': self.type_name}})['volume']['id']
            for _ in range(count)
        ]
        self.made += idents
        for ident in idents:
            end = time.monotonic() + 120
            while (status := self.wire.call('GET', f'/volumes/{ident}')['volume']['status']) != 'available':
                if status == 'error' or time.monotonic() > end:
                    raise SystemExit(f'Volume {ident} is {status}: the service measured is at fault.')
                time.sleep(0.05)
        return idents

    def clean_up(self) -> None:
        """Delete what was made."""
        for ident in self.made:
            with contextlib.suppress(Exception):
                self.wire.call('DELETE', f'/volumes/{ident}')


def _connector(number: int) -> dict[str, Any]:
    return {
        'host': f'host-{number}',
        'initiator': f'iqn.1994-05.com.example:{number}',
        'ip': '127.0.0.1',
        'platform': 'x86_64',
        'os_type': 'linux',
        'multipath': False,
        'mountpoint': '/dev/vdb',
        'mode': 'rw',
    }


def _attach(wire: Wire, volume_id: str, number: int) -> str:
    made = wire.call(
        'POST', '/attachments', {'attachment': {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4())}}
    )
    ident: str = made['attachment']['id']
    wire.call('PUT', f'/attachments/{ident}', {'attachment': {'connector': _connector(number)}})
    wire.call('POST', f'/attachments/{ident}/action', {'os-complete': None})
    return ident


def measure_cycles(bench: Bench) -> None:
    """Create, update with a connector, complete, delete; over 50 volumes."""
    volumes = bench.make_volumes(VOLUMES)
    for clients in CLIENTS:
        mine = [itertools.cycle(volumes[n::clients]) for n in range(clients)]

        def cycle(wire: Wire, number: int, mine: Any = mine) -> None:
            wire.call('DELETE', f'/attachments/{_attach(wire, next(mine[number]), number)}')

        load.run(bench.endpoint, clients, cycle, seconds=min(2, bench.seconds))  # warm
        before = _account(bench)
        result = load.run(bench.endpoint, clients, cycle, seconds=bench.seconds)
        bench.note(result)
        bench.put(f'attachment cycles/s, {clients} clients', result.rate)
        bench.put(f'attachment cycle p50, {clients} clients (ms)', result.median)
        bench.put(f'attachment cycle p99, {clients} clients (ms)', result.percentile(0.99))
        _put_costs(bench, before, result.done, clients)


def _account(bench: Bench) -> tuple[float, float, dict[str, int]] | None:
    if bench.parts is None:
        return None
    return (
        accounting.cpu_seconds(bench.parts.own_pids),
        accounting.cpu_seconds(bench.parts.all_pids),
        accounting.count_statements(bench.parts.engine),
    )


def _put_costs(bench: Bench, before: Any, done: int, clients: int) -> None:
    after = _account(bench)
    if after is None or not done:
        return
    bench.put(f'CPU s per 1,000 cycles, own processes, {clients} clients', (after[0] - before[0]) / done * 1000)
    bench.put(
        f'CPU s per 1,000 cycles, with database and broker, {clients} clients', (after[1] - before[1]) / done * 1000
    )
    if clients == 1:
        spent = {kind: (after[2][kind] - before[2][kind]) / done for kind in after[2]}
        bench.put('SQL statements per cycle', sum(spent[k] for k in ('select', 'insert', 'update', 'delete')))
        bench.put('SQL commits per cycle', spent['commit'])


def measure_one_volume(bench: Bench) -> None:
    """32 sharers of one volume: at once, and as full cycles."""
    volume = bench.make_volumes(1)[0]
    held: list[str] = []

    def share(wire: Wire, number: int) -> None:
        held.append(_attach(wire, volume, number))

    result = load.run(bench.endpoint, 32, share, seconds=60, once=True)
    bench.note(result)
    bench.put('32 sharers at once: admitted', result.done)
    bench.put('32 sharers at once: all attached after (ms)', result.seconds * 1000)
    for ident in held:
        bench.wire.call('DELETE', f'/attachments/{ident}')

    def cycle(wire: Wire, number: int) -> None:
        wire.call('DELETE', f'/attachments/{_attach(wire, volume, number)}')

    result = load.run(bench.endpoint, 32, cycle, seconds=bench.seconds)
    bench.note(result)
    bench.put('full cycles/s on one volume, 32 clients', result.rate)


def measure_show(bench: Bench) -> None:
    """Requests for one volume."""
    volume = bench.make_volumes(1)[0]
    for clients in CLIENTS:
        result = load.run(
            bench.endpoint, clients, lambda wire, _n: wire.call('GET', f'/volumes/{volume}'), seconds=bench.seconds
        )
        bench.note(result)
        bench.put(f'show volume requests/s, {clients} clients', result.rate)


def measure_many_attachments(bench: Bench, counts: tuple[int, ...] = (10, 100, 1000)) -> None:
    """A volume with many sharers: reading it, and one cycle more on it."""
    volume = bench.make_volumes(1)[0]
    held: list[str] = []

    def fill(wire: Wire, number: int) -> None:
        held.append(_attach(wire, volume, len(held) + 1000 * (number + 1)))

    for count in counts:
        while len(held) < count:
            missing = min(8, count - len(held))
            bench.note(load.run(bench.endpoint, missing, fill, seconds=60, once=True))
            if bench.failures:
                return
        shown = load.run(
            bench.endpoint, 1, lambda wire, _n: wire.call('GET', f'/volumes/{volume}'), seconds=min(3, bench.seconds)
        )
        bench.put(f'GET volume with {count} attachments p50 (ms)', shown.median)

        def cycle(wire: Wire, number: int) -> None:
            wire.call('DELETE', f'/attachments/{_attach(wire, volume, number)}')

        result = load.run(bench.endpoint, 1, cycle, seconds=min(3, bench.seconds))
        bench.note(result)
        bench.put(f'cycle on a volume with {count} attachments p50 (ms)', result.median)
    for ident in held:
        with contextlib.suppress(Exception):
            bench.wire.call('DELETE', f'/attachments/{ident}')


def measure_pages(bench: Bench, counts: tuple[int, ...] = (1000, 10000)) -> None:
    """Detail pages of 100 among many volumes: the first and the last."""
    if bench.parts is None:
        print('  (pages of many volumes need rows that only our own parts are given)')
        return
    for count in counts:
        for attached in (False, True):
            bench.parts.sweep()
            bench.parts.seed(count, attached=attached, type_id=bench.type_id)
            kind = f'{count:,} volumes, {"attached" if attached else "free"}'
            last = bench.wire.call('GET', '/volumes?sort=created_at:asc,id:asc&limit=101')['volumes']
            pages = {
                'first': '/volumes/detail?limit=100',
                'last': f'/volumes/detail?limit=100&sort=created_at:desc&marker={last[100]["id"]}',
            }
            for name, path in pages.items():
                result = load.run(
                    bench.endpoint, 1, lambda wire, _n, path=path: wire.call('GET', path), seconds=min(3, bench.seconds)
                )
                bench.note(result)
                bench.put(f'detail page of 100, {name}, {kind}: p50 (ms)', result.median)
    bench.put('memory of own processes with rows (PSS MiB)', accounting.memory_mib(bench.parts.own_pids))
    bench.put('memory of all processes with rows (PSS MiB)', accounting.memory_mib(bench.parts.all_pids))
    bench.parts.sweep()


def measure_memory(bench: Bench) -> None:
    """Memory before any load."""
    if bench.parts is not None:
        bench.put('memory of own processes, fresh (PSS MiB)', accounting.memory_mib(bench.parts.own_pids))
        bench.put('memory of all processes, fresh (PSS MiB)', accounting.memory_mib(bench.parts.all_pids))


def measure_hung_worker(bench: Bench) -> None:
    """Updates that hang on a worker that does not answer, and an unrelated GET meanwhile."""
    if bench.parts is None:
        return
    volumes = bench.make_volumes(8)
    waiting = threading.Barrier(9)

    def hang(number: int) -> None:
        wire = Wire(bench.endpoint)
        made = wire.call(
            'POST', '/attachments', {'attachment': {'volume_uuid': volumes[number], 'instance_uuid': str(uuid.uuid4())}}
        )
        waiting.wait()
        with contextlib.suppress(Exception):
            wire.call(
                'PUT', f'/attachments/{made["attachment"]["id"]}', {'attachment': {'connector': _connector(number)}}
            )
        with contextlib.suppress(Exception):
            wire.call('DELETE', f'/attachments/{made["attachment"]["id"]}')

    with bench.parts.hung_worker():
        threads = [threading.Thread(target=hang, args=(n,), daemon=True) for n in range(8)]
        for thread in threads:
            thread.start()
        waiting.wait(60)
        time.sleep(1)
        result = load.run(bench.endpoint, 1, lambda wire, _n: wire.call('GET', f'/volumes/{volumes[0]}'), seconds=3)
    bench.note(result)
    bench.put('8 updates hang on a worker: unrelated GET p50 (ms)', result.median)
    bench.put('8 updates hang on a worker: unrelated GET, longest (ms)', result.percentile(1))
    for thread in threads:
        thread.join(120)


MEASURES = {
    'memory': measure_memory,
    'cycles': measure_cycles,
    'one-volume': measure_one_volume,
    'show': measure_show,
    'many-attachments': measure_many_attachments,
    'pages': measure_pages,
    'hung-worker': measure_hung_worker,
}
