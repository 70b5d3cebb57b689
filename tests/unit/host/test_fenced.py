# SPDX-License-Identifier: Apache-2.0
"""An agent that was fenced while it was away, or while it is there."""

import pytest

from multiattach.db import services as db_services
from multiattach.domain import errors
from multiattach.drivers.host_connector import ConnectorError
from multiattach.drivers.hypervisor import DetachRefused
from multiattach.engine.services import HOST_BINARY
from multiattach.host.service import HostService
from multiattach.rpc import clients, transport

from .conftest import HOST, Bench
from .test_agent import Trouble


class Crew:
    def join(self) -> None: ...
    def leave(self) -> None: ...
    def refresh(self) -> None: ...


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
        setattr(agent, name, lambda name=name, real=real: (
            seen.append((name, bench.connector.sessions.copy())), real())[1])
    service = HostService(bench.deployed.db, bench.deployed.rpc, HOST, 'nova', agent, bench.engine_side,
                          Crew(), bench.make_leases(), 3600)  # type: ignore[arg-type]
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


@pytest.mark.parametrize(('step', 'error'), [
    ('detach', DetachRefused('the guest keeps it')), ('disconnect', ConnectorError('busy'))])
def test_what_does_not_go_at_once_goes_later(bench: Bench, step: str, error: errors.HostError) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    fence_host(bench)
    trouble = bench.hypervisor.trouble if step == 'detach' else bench.connector.trouble
    trouble[step] = Trouble(error)
    bench.agent.resume()
    assert not swept(bench, ident)
    bench.agent.resume()
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
