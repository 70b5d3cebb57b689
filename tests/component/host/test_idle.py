# SPDX-License-Identifier: Apache-2.0
"""What an agent costs the database while nothing happens: a region has a thousand of them, every few seconds."""

import collections
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from multiattach.host import service as host_service
from multiattach.host.service import HostService
from multiattach.worker import Presence

from .conftest import HOST, Bench
from .fakes import SERVERS
from .test_fenced import Hang, fence_host, swept


class Meter:
    """Counts what reaches the database."""

    def __init__(self, bench: Bench) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        db = bench.deployed.db
        for engine in {one.pool: one for one in (db.read_engine, db.engine)}.values():  # of SQLite one pool
            sa.event.listen(engine, 'before_cursor_execute', self._note)
        sa.event.listen(db.engine, 'commit', lambda _connection: self.counts.update(['commits']))

    def _note(self, _connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith('BEGIN'):
            self.counts['statements'] += 1

    def measure(self, call: Callable[[], object]) -> tuple[int, int]:
        self.counts.clear()
        call()
        return self.counts['statements'], self.counts['commits']


@pytest.fixture
def idle(bench: Bench) -> tuple[HostService, Meter]:
    """An agent with an attached volume; its rounds come when the test calls them."""
    bench.attach(bench.deployed.make_volume('multi'))
    presence = Presence(bench.deployed.db, HOST, 'nova', 3600)
    service = HostService(presence, bench.deployed.rpc, bench.make_leases(), bench.agent, bench.engine_side)
    service.beat()
    return service, Meter(bench)


def test_the_rounds_of_an_idle_agent_read_little_and_write_a_heartbeat(
    bench: Bench, idle: tuple[HostService, Meter]
) -> None:
    service, meter = idle
    assert meter.measure(service.beat) == (1, 1)
    assert meter.measure(lambda: bench.agent.tend(1)) == (1, 0)
    assert meter.measure(service._leases.keep) == (0, 0)


def test_an_agent_leaves_the_leases_of_all_to_volume_workers(bench: Bench, idle: tuple[HostService, Meter]) -> None:
    service, meter = idle
    service._leases._swept -= 3600
    assert meter.measure(service._leases.keep) == (0, 0)


def test_servers_are_registered_when_they_change(bench: Bench, idle: tuple[HostService, Meter]) -> None:
    service, meter = idle
    bench.hypervisor.disks['33333333-3333-4333-8333-333333333333'] = {}
    assert meter.measure(service.beat)[0] > 1
    assert meter.measure(service.beat) == (1, 1)
    del bench.hypervisor.disks[SERVERS[0]]
    assert meter.measure(service.beat)[0] > 1
    with bench.deployed.db.reader() as session:
        gone = session.execute(sa.text('SELECT id FROM servers WHERE deleted_at IS NOT NULL')).scalars().all()
    assert gone == [SERVERS[0]]


def test_rows_that_others_changed_are_put_right_all_the_same(
    bench: Bench, idle: tuple[HostService, Meter], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _meter = idle
    monkeypatch.setattr(host_service, '_LOOK', 0.0)
    service._look_at = 0.0
    with bench.deployed.db.engine.begin() as connection:
        connection.execute(sa.text('DELETE FROM servers'))
    service.beat()
    with bench.deployed.db.reader() as session:
        assert session.execute(sa.text('SELECT count(*) FROM servers')).scalar_one() == len(SERVERS)


def test_a_look_takes_up_what_was_left(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    bench.agent.tend(5)
    bench.check_attached(ident, volume_id)
    with bench.deployed.db.engine.begin() as connection:
        connection.execute(sa.text('UPDATE volumes SET size = 2'))
    bench.agent.tend(5)
    assert bench.hypervisor.sizes == {(SERVERS[0], volume_id): 2 << 30}
    assert bench.row(ident).seen_size == 2
    bench.hypervisor.sizes.clear()
    bench.agent.tend(5)
    assert not bench.hypervisor.sizes


def test_a_fenced_host_lets_go_and_takes_nothing_up(bench: Bench) -> None:
    volumes = [bench.deployed.make_volume('multi') for _ in range(2)]
    old, new = bench.attach(volumes[0]), bench.reserve(volumes[1])
    with bench.deployed.db.engine.begin() as connection:
        connection.execute(
            sa.text('INSERT INTO fenced_hosts VALUES (:host, :at, 0, NULL, NULL)'),
            {'host': HOST, 'at': '2026-01-01 00:00:00'},
        )
    bench.agent.tend(5)
    assert (bench.state(old), bench.state(new)) == ('attached', 'reserved')
    fence_host(bench)
    bench.agent.tend(5)
    bench.deployed.wait(lambda: swept(bench, old))
    assert bench.hypervisor.holders(volumes[0]) == set()


def test_a_server_that_hangs_in_a_sweep_holds_up_nothing_and_is_asked_once(bench: Bench) -> None:
    volumes = [bench.deployed.make_volume('multi') for _ in range(2)]
    old, hang = bench.attach(volumes[0]), Hang(bench)
    bench.deployed.engine.fences.fence_attachment(bench.deployed.ctx, old)
    bench.agent.tend(5)
    bench.deployed.wait(lambda: hang.asked)
    new = bench.reserve(volumes[1], server=1)
    bench.agent.tend(5)
    assert bench.state(new) == 'attached'
    assert not swept(bench, old)
    assert hang.asked == 1
    hang.go.set()
    bench.deployed.wait(lambda: swept(bench, old))
