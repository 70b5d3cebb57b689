# SPDX-License-Identifier: Apache-2.0
"""What is measured; each function puts its figures into a table of name → number."""

import contextlib
import dataclasses
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.benchmarks import accounting, load
from tests.benchmarks.accounting import Account
from tests.benchmarks.service import Service
from tests.benchmarks.wire import Endpoint, RequestError, Wire

CLIENTS = (1, 8, 32)
VOLUMES = 50


@dataclasses.dataclass
class Bench:
    """A service under measurement.

    :param endpoint: the API.
    :param service: what is behind it if it was started here, else None.
    :param seconds: how long a load runs.
    :param account: what is charged, if it is known.
    :param figures: what was found, in order.
    """

    endpoint: Endpoint
    service: Service | None
    seconds: float
    account: Account | None = None
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    failures: list[str] = dataclasses.field(default_factory=list)
    made: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.service is not None:
            self.account = self.service.account
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


def _attach(wire: Wire, volume_id: str, number: int, refused: list[int] | None = None) -> str:
    """Attach a volume.

    :param refused: a list to append refusals to: each is asked again; None to fail at the first.
    """

    def ask(method: str, path: str, body: dict[str, Any]) -> Any:
        if refused is None:
            return wire.call(method, path, body)
        return _insist(refused, lambda: wire.call(method, path, body))

    wanted = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4())}
    ident: str = ask('POST', '/attachments', {'attachment': wanted})['attachment']['id']
    ask('PUT', f'/attachments/{ident}', {'attachment': {'connector': _connector(number)}})
    ask('POST', f'/attachments/{ident}/action', {'os-complete': None})
    return ident


def _insist(refused: list[int], ask: Callable[[], Any]) -> Any:
    """Ask until the answer is no refusal because of what others are about, two minutes at most."""
    end, pause = time.monotonic() + 120, 0.1
    while True:
        try:
            return ask()
        except RequestError as exc:
            if exc.status not in (400, 409) or time.monotonic() > end:
                raise
            refused.append(exc.status)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2, pause * 1.5)


def measure_cycles(bench: Bench) -> None:
    """Create, update with a connector, complete, delete; over 50 volumes."""
    volumes = bench.make_volumes(VOLUMES)
    for clients in CLIENTS:
        mine = [itertools.cycle(volumes[n::clients]) for n in range(clients)]

        def cycle(wire: Wire, number: int, mine: Any = mine) -> None:
            wire.call('DELETE', f'/attachments/{_attach(wire, next(mine[number]), number)}')

        load.run(bench.endpoint, clients, cycle, seconds=min(2, bench.seconds))  # warm
        before = _read(bench)
        result = load.run(bench.endpoint, clients, cycle, seconds=bench.seconds)
        bench.note(result)
        bench.put(f'attachment cycles/s, {clients} clients', result.rate)
        bench.put(f'attachment cycle p50, {clients} clients (ms)', result.median)
        bench.put(f'attachment cycle p99, {clients} clients (ms)', result.percentile(0.99))
        spent = _put_costs(bench, before, result.done, f'1,000 cycles, {clients} clients')
        if clients == 1 and 'select' in spent:
            bench.put('SQL statements per cycle', sum(spent[kind] for kind in ('select', 'insert', 'update', 'delete')))
            bench.put('SQL commits per cycle', spent['commit'])


def _read(bench: Bench) -> dict[str, float]:
    return {} if bench.account is None else bench.account.read()


def _put_costs(bench: Bench, before: dict[str, float], done: int, what: str) -> dict[str, float]:
    """Show what operations cost.

    :param what: a thousand of them, in words.
    :returns: what one cost, by the names of the account.
    """
    spent = {name: (value - before[name]) / max(done, 1) for name, value in _read(bench).items()}
    for name, charged in (('own', 'own processes'), ('all', 'with database and broker')):
        if name in spent and done:
            bench.put(f'CPU s per {what}, {charged}', spent[name] * 1000)
    return spent


def measure_one_volume(bench: Bench) -> None:
    """32 sharers of one volume: at once, and as full cycles; who is refused asks again."""
    volume = bench.make_volumes(1)[0]
    held: list[str] = []
    refused: list[int] = []

    def share(wire: Wire, number: int) -> None:
        held.append(_attach(wire, volume, number, refused))

    result = load.run(bench.endpoint, 32, share, seconds=60, once=True)
    bench.note(result)
    bench.put('32 sharers at once: attached', result.done)
    bench.put('32 sharers at once: refusals until all were attached', len(refused))
    bench.put('32 sharers at once: all attached after (ms)', result.seconds * 1000)
    for ident in held:
        bench.wire.call('DELETE', f'/attachments/{ident}')

    def cycle(wire: Wire, number: int) -> None:
        ident = _attach(wire, volume, number, refused)
        _insist(refused, lambda: wire.call('DELETE', f'/attachments/{ident}'))

    refused.clear()
    result = load.run(bench.endpoint, 32, cycle, seconds=bench.seconds)
    bench.note(result)
    bench.put('full cycles/s on one volume, 32 clients', result.rate)
    bench.put('full cycles on one volume, 32 clients: refusals per cycle', len(refused) / max(result.done, 1))


def measure_show(bench: Bench) -> None:
    """Requests for one volume."""
    volume = bench.make_volumes(1)[0]
    for clients in CLIENTS:
        before = _read(bench)
        result = load.run(
            bench.endpoint, clients, lambda wire, _n: wire.call('GET', f'/volumes/{volume}'), seconds=bench.seconds
        )
        bench.note(result)
        bench.put(f'show volume requests/s, {clients} clients', result.rate)
        _put_costs(bench, before, result.done, f'1,000 shows, {clients} clients')


def measure_many_attachments(bench: Bench, counts: tuple[int, ...] = (10, 100, 1000)) -> None:
    """A volume with many sharers: reading it, and one cycle more on it."""
    volume = bench.make_volumes(1)[0]
    held: list[str] = []

    def fill(wire: Wire, number: int) -> None:
        held.append(_attach(wire, volume, len(held) + 1000 * (number + 1)))

    for count in counts:
        seeded = bench.service is not None and bench.service.seed_sharers(volume, count)
        while not seeded and len(held) < count:
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
    if bench.service is not None:
        bench.service.seed_sharers(volume, 0)
    for ident in held:
        with contextlib.suppress(Exception):
            bench.wire.call('DELETE', f'/attachments/{ident}')


def measure_pages(bench: Bench, counts: tuple[int, ...] = (1000, 10000)) -> None:
    """Detail pages of 100 among many volumes: the first and the last."""
    if bench.service is None:
        print('  (pages of many volumes need rows that only what was started here is given)')
        return
    for count in counts:
        for attached in (False, True):
            bench.service.sweep()
            bench.service.seed(count, attached=attached, type_id=bench.type_id)
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
    _put_memory(bench, 'with rows')
    bench.service.sweep()


def measure_memory(bench: Bench) -> None:
    """Memory before any load."""
    _put_memory(bench, 'fresh')


def _put_memory(bench: Bench, when: str) -> None:
    if bench.account is not None:
        own = accounting.memory_mib(bench.account.own)
        bench.put(f'memory of own processes, {when} (PSS MiB)', own)
        if bench.account.servers:
            servers = accounting.memory_mib(bench.account.servers)
            bench.put(f'memory of all processes, {when} (PSS MiB)', own + servers)


def measure_hung_worker(bench: Bench) -> None:
    """Updates that hang on a worker that does not answer, and an unrelated GET meanwhile."""
    if bench.service is None:
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

    with bench.service.hung_worker():
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
