# SPDX-License-Identifier: Apache-2.0
"""An agent that was fenced while it was away, or while it is there."""

import threading
import time

import pytest

from multiattach.db import services as db_services
from multiattach.domain import errors
from multiattach.domain.services import HOST_BINARY
from multiattach.drivers.errors import ConnectorError, DetachRefused, HypervisorUnavailable
from multiattach.host.service import HostService
from multiattach.rpc import clients, transport
from multiattach.worker import Presence

from .conftest import HOST, Bench
from .fakes import SERVERS
from .test_agent import Trouble


def fence_host(bench: Bench, **more: bool) -> None:
    assert bench.deployed.engine.fences.fence_host(bench.deployed.ctx, HOST, **more).is_complete


def swept(bench: Bench, ident: str) -> bool:
    return bench.row(ident).swept_at is not None


@pytest.mark.parametrize('out_of_service', [False, True])
def test_an_agent_that_returns_lets_go_before_anything_else(bench: Bench, out_of_service: bool) -> None:
    volumes = [bench.deployed.make_volume('multi') for _ in range(2)]
    idents = [bench.attach(volume_id) for volume_id in volumes]
    fence_host(bench, out_of_service=out_of_service)
    assert all(bench.hypervisor.holders(one) for one in volumes)  # nobody asked the host
    seen: list[tuple[str, set[str]]] = []
    agent = bench.start_agent()
    for name in ('report', 'domains'):
        real = getattr(agent, name)
        setattr(
            agent, name, lambda name=name, real=real: (seen.append((name, bench.connector.sessions.copy())), real())[1]
        )
    service = HostService(
        Presence(bench.deployed.db, HOST, 'nova', 3600),
        bench.deployed.rpc,
        bench.make_leases(),
        agent,
        bench.engine_side,
    )
    service.start()
    try:
        assert seen
        assert all(not sessions for _name, sessions in seen)
        for volume_id, ident in zip(volumes, idents, strict=True):
            assert bench.hypervisor.holders(volume_id) == set()
            assert swept(bench, ident)
            assert bench.state(ident) == ('detached' if out_of_service else 'fenced')
    finally:
        service.stop()


def test_a_fenced_host_stays_out_until_it_is_unfenced(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    bench.attach(volume_id)
    fence_host(bench)
    bench.agent.resume()
    with pytest.raises(errors.Conflict, match='is fenced since'):
        bench.reserve(volume_id)
    bench.deployed.engine.fences.unfence_host(bench.deployed.ctx, HOST)
    bench.agent.resume()
    bench.attach(volume_id)


def test_a_reservation_that_was_on_its_way_is_cut_off(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    fence_host(bench)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'fenced'
    assert bench.hypervisor.holders(volume_id) == set()
    assert bench.admitted(volume_id) == ()


def test_a_live_agent_is_told(bench: Bench) -> None:
    server = transport.make_server(bench.deployed.rpc, clients.HOST_TOPIC, HOST, bench.agent)
    server.start()
    try:
        volume_id = bench.deployed.make_volume('multi')
        ident = bench.attach(volume_id)
        bench.deployed.engine.fences.fence_attachment(bench.deployed.ctx, ident)
        bench.deployed.wait(lambda: swept(bench, ident))
        assert bench.hypervisor.holders(volume_id) == set()
        assert bench.connector.sessions == set()
        assert bench.connector.lost[volume_id]  # nothing can be written back any more
    finally:
        server.stop()
        server.wait()


@pytest.mark.parametrize(
    ('step', 'error'), [('detach', DetachRefused('the guest keeps it')), ('disconnect', ConnectorError('busy'))]
)
def test_what_does_not_go_at_once_goes_later(bench: Bench, step: str, error: errors.HostError) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    fence_host(bench)
    trouble = bench.hypervisor.trouble if step == 'detach' else bench.connector.trouble
    trouble[step] = Trouble(error)
    bench.agent.obey()
    assert not swept(bench, ident)
    bench.agent.obey()
    assert swept(bench, ident)
    assert bench.connector.sessions == set()


def test_a_disk_that_was_attached_anew_stays(bench: Bench) -> None:
    """The agent was away while its attachment was fenced, and made it anew without having looked."""
    volume_id = bench.deployed.make_volume('multi')
    old = bench.attach(volume_id)
    bench.deployed.engine.fences.fence_attachment(bench.deployed.ctx, old)
    new = bench.attach(volume_id)
    bench.agent.obey()
    assert swept(bench, old)
    assert bench.state(new) == 'attached'
    assert bench.hypervisor.holders(volume_id)
    assert bench.connector.sessions == {volume_id}


def test_a_detach_of_a_fenced_one_by_its_server_asks_no_agent(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    bench.deployed.engine.fences.fence_attachment(bench.deployed.ctx, ident)
    db_services.beat(bench.deployed.db, HOST_BINARY, HOST, 'nova', {})
    bench.ask_detach(volume_id)
    assert bench.state(ident) == 'detached'
    assert bench.deployed.status(volume_id) == 'available'


class Hang:
    """A server that does not answer, until it is let go or the program stops."""

    def __init__(self, bench: Bench) -> None:
        self.go, self.stops = threading.Event(), threading.Event()
        self.asked = 0
        bench.hypervisor.trouble |= {'detach': self, 'interrupt': self.stops.set}

    def __call__(self) -> None:
        self.asked += 1
        deadline = time.monotonic() + 30
        while not self.go.is_set():
            if self.stops.is_set() or time.monotonic() > deadline:
                raise HypervisorUnavailable('no answer')
            time.sleep(0.01)


def test_the_mark_is_read_when_something_hangs_on_it(bench: Bench) -> None:
    """Not when the agent started, nor before a sweep that takes minutes."""
    volume_id = bench.deployed.make_volume('multi')
    old, hang = bench.attach(volume_id), Hang(bench)
    fence_host(bench)
    sweeping = threading.Thread(target=bench.agent.obey)
    sweeping.start()
    bench.deployed.wait(lambda: hang.asked)
    assert bench.engine_side.find_fence()
    bench.deployed.engine.fences.unfence_host(bench.deployed.ctx, HOST)
    assert bench.engine_side.find_fence() is None
    bench.attach(bench.deployed.make_volume('multi'), server=1)
    assert not swept(bench, old)
    hang.go.set()
    sweeping.join(20)
    assert swept(bench, old)


def test_servers_are_swept_side_by_side_and_one_that_hangs_is_asked_once(bench: Bench) -> None:
    volumes = [bench.deployed.make_volume('multi') for _ in range(2)]
    slow = [bench.attach(volume_id, 0) for volume_id in volumes]
    quick = bench.attach(volumes[0], 1)
    fence_host(bench)
    hang, asked = Hang(bench), []
    detach = bench.hypervisor.detach

    def choose(server_id: str, *args: str, **more: bool) -> None:
        asked.append(server_id)
        if server_id == SERVERS[0]:
            hang()
        bench.hypervisor.disks[server_id].pop(args[0], None)

    bench.hypervisor.detach = choose  # type: ignore[method-assign]
    began = time.monotonic()
    bench.agent.obey(patience=0.2)
    assert time.monotonic() - began < 5
    bench.deployed.wait(lambda: swept(bench, quick))
    hang.stops.set()
    bench.deployed.wait(lambda: not any(one.name.startswith('sweep') for one in threading.enumerate()))
    assert sorted(asked) == sorted(SERVERS), 'the second volume of the first server waits for the next round'
    assert not any(swept(bench, ident) for ident in slow)
    bench.hypervisor.detach = detach  # type: ignore[method-assign]
    bench.hypervisor.trouble.clear()
    bench.agent.obey()
    assert all(swept(bench, ident) for ident in slow)


def test_an_attach_comes_after_the_sweep_of_what_was_in_its_place(bench: Bench) -> None:
    """A sweep in work would take the new disk for the one that was cut off."""
    volume_id = bench.deployed.make_volume('multi')
    old, hang = bench.attach(volume_id), Hang(bench)
    bench.deployed.engine.fences.fence_attachment(bench.deployed.ctx, old)
    sweeping = threading.Thread(target=bench.agent.obey)
    sweeping.start()
    bench.deployed.wait(lambda: hang.asked)
    new = bench.reserve(volume_id)
    attaching = threading.Thread(target=bench.agent.attach, args=({}, new))
    attaching.start()
    bench.deployed.wait(lambda: bench.state(new) == 'exported')
    time.sleep(0.1)
    assert bench.state(new) == 'exported'
    hang.go.set()
    for thread in (sweeping, attaching):
        thread.join(20)
    assert swept(bench, old)
    bench.check_attached(new, volume_id)


def test_an_agent_starts_and_stops_whatever_hangs(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    fence_host(bench)
    bench.deployed.engine.fences.unfence_host(bench.deployed.ctx, HOST)
    hang = Hang(bench)
    service = HostService(
        Presence(bench.deployed.db, HOST, 'nova', 0.1),
        bench.deployed.rpc,
        bench.make_leases(),
        bench.start_agent(),
        bench.engine_side,
        first_sweep=0.2,
    )
    began = time.monotonic()
    service.start()
    try:
        assert time.monotonic() - began < 5
        other = bench.reserve(bench.deployed.make_volume('multi'), server=1)
        bench.deployed.wait(lambda: bench.state(other) == 'attached')
        assert hang.asked
        assert not swept(bench, ident)
    finally:
        began = time.monotonic()
        service.stop()
    assert time.monotonic() - began < 5


def test_a_step_that_does_not_end_keeps_no_agent_from_stopping(bench: Bench) -> None:
    """Nor does one that waits for something else than the hypervisor."""
    service = HostService(
        Presence(bench.deployed.db, HOST, 'nova', 0.1),
        bench.deployed.rpc,
        bench.make_leases(),
        bench.start_agent(),
        bench.engine_side,
        stop_patience=0.5,
    )
    began, go = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        assert go.wait(30)

    bench.connector.trouble['connect'] = hang
    service.start()
    bench.reserve(bench.deployed.make_volume('multi'))
    assert began.wait(20)
    moment = time.monotonic()
    service.stop()
    assert time.monotonic() - moment < 5
    go.set()
