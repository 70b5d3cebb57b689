# SPDX-License-Identifier: Apache-2.0
"""The agent with everything real: database, worker, tgtd, libvirtd, guests, QEMU's initiator."""

import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from multiattach.domain import errors
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from multiattach.engine.servers import ServerAttach
from multiattach.engine.volumes import VolumeWish
from multiattach.rpc import clients, transport
from tests.component.host.fakes import Crash, Fuse
from tests.deployments import embedded

from .bench import NAME, Bench
from .conftest import Host


@pytest.fixture
def bench(host: Host, tgtd: PrivateTgtd, tmp_path: pathlib.Path) -> Iterator[Bench]:
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=tmp_path / 'targets')
    with embedded.deploy(tmp_path, target, report_interval=3600) as deployed:
        bench = Bench(deployed, host)
        yield bench
        bench.hypervisor.close()


def test_two_servers_share_a_volume_from_call_to_bytes(bench: Bench) -> None:
    server = transport.make_server(bench.deployed.rpc, clients.HOST_TOPIC, NAME, bench.agent)
    server.start()
    try:
        idents = [bench.ask_attach(number) for number in (0, 1)]
        for ident in idents:
            bench.deployed.wait(lambda ident=ident: bench.state(ident) == 'attached')
        assert bench.deployed.status(bench.volume_id) == 'in-use'
        assert bench.initiators() == sorted(f'iqn.2010-10.org.openstack:{i}' for i in idents)
        one, two = bench.host.guests
        paths = [guest.wait_for_disk(bench.volume_id) for guest in (one, two)]
        one.write_block(paths[0], 1, b'by server 1')
        assert two.read_block(paths[1], 1).startswith(b'by server 1')
        two.write_block(paths[1], 2, b'by server 2')
        assert one.read_block(paths[0], 2).startswith(b'by server 2')
        bench.ask_detach(0)
        bench.deployed.wait(lambda: len(bench.initiators()) == 1)
        two.write_block(paths[1], 3, b'still there')
        bench.ask_detach(1)
        bench.deployed.wait(lambda: bench.deployed.status(bench.volume_id) == 'available')
        assert bench.deployed.target.list_exports() == {}
    finally:
        server.stop()
        server.wait()


def test_a_domain_that_names_its_project_is_out_of_reach_for_others(bench: Bench) -> None:
    """As /admin/operation says it is done, with virsh; a member of the host's project is refused, its own gets in."""
    mine, theirs, number = 'a' * 32, 'b' * 32, 1
    server_id, servers = bench.host.server_id(number), bench.deployed.engine.servers
    virsh = ['virsh', '-c', bench.host.daemon.uri, 'metadata', '--config', '--uri', 'urn:multiattach:server:1']

    def attach(project: str) -> str:
        ctx = embedded.make_context(project, admin=False, roles=('member', 'reader'))
        volume = bench.deployed.engine.volumes.create(ctx, VolumeWish(1))
        bench.deployed.wait(lambda: bench.deployed.status(volume.id) == 'available')
        return servers.attach(ctx, server_id, ServerAttach(volume.id, supports_multiattach=True)).id

    text = f'<server><project>{theirs}</project></server>'
    subprocess.run([*virsh, '--key', 'multiattach', '--set', text, server_id], check=True, capture_output=True)
    try:
        bench.engine_side.register_servers(bench.agent.domains())
        with pytest.raises(errors.NotFound):
            attach(mine)
        ident = attach(theirs)
        bench.agent.attach({}, ident)
        assert bench.state(ident) == 'attached'
        bench.deployed.engine.servers.detach(bench.deployed.ctx, server_id, bench.engine_side.load(ident).volume_id)
        bench.agent.detach({}, ident)
        # The other one names none: it is the host's project's.
        other = servers.show(embedded.make_context(mine, admin=False, roles=('reader',)), bench.host.server_id(0))
        assert other.project_id == mine
    finally:
        subprocess.run([*virsh, '--remove', server_id], check=True, capture_output=True)
    bench.engine_side.register_servers(bench.agent.domains())
    with pytest.raises(errors.NotFound):
        attach(theirs)
    assert servers.show(bench.deployed.ctx, server_id).project_id == mine


def test_every_server_sees_a_shared_volume_grow_while_it_is_in_use(bench: Bench) -> None:
    server = transport.make_server(bench.deployed.rpc, clients.HOST_TOPIC, NAME, bench.agent)
    server.start()
    try:
        idents = [bench.ask_attach(number) for number in (0, 1)]
        for ident in idents:
            bench.deployed.wait(lambda ident=ident: bench.state(ident) == 'attached')
        names = [guest.wait_for_disk(bench.volume_id).removeprefix('/dev/') for guest in bench.host.guests]

        def sizes() -> list[str]:
            return [
                guest.run(f'cat /sys/block/{name}/size')[1].strip()
                for guest, name in zip(bench.host.guests, names, strict=True)
            ]

        assert sizes() == [str(1 << 21)] * 2  # sectors of 512 bytes
        bench.deployed.engine.actions.extend(bench.deployed.ctx, bench.volume_id, 2, in_use_allowed=True)
        bench.deployed.wait(lambda: sizes() == [str(2 << 21)] * 2)
        bench.host.guests[1].write_block(f'/dev/{names[1]}', (2 << 18) - 1, b'the last block')
        assert bench.host.guests[0].read_block(f'/dev/{names[0]}', (2 << 18) - 1).startswith(b'the last')
        for number in (0, 1):
            bench.ask_detach(number)
        bench.deployed.wait(lambda: bench.deployed.status(bench.volume_id) == 'available')
    finally:
        server.stop()
        server.wait()


@pytest.mark.parametrize('after', [False, True])
def test_agent_that_dies_round_libvirt_carries_on(bench: Bench, after: bool) -> None:
    ident = bench.ask_attach(0)
    probe = Fuse(0, after=False)
    bench.start_agent(probe).attach({}, ident)
    assert bench.state(ident) == 'attached'
    bench.ask_detach(0)
    bench.agent.resume()
    at = probe.calls.index('attach') + 1
    ident = bench.ask_attach(0)
    with pytest.raises(Crash, match='attach'):
        bench.start_agent(Fuse(at, after=after)).attach({}, ident)
    assert bench.state(ident) == 'connecting'
    bench.start_agent().resume()
    assert bench.state(ident) == 'attached'
    assert bench.initiators() == [f'iqn.2010-10.org.openstack:{ident}']
    bench.ask_detach(0)
    bench.agent.resume()
    assert bench.initiators() == []


def test_guest_that_keeps_the_volume(bench: Bench) -> None:
    ident = bench.ask_attach(0)
    bench.agent.attach({}, ident)
    bench.host.guests[0].domain.suspend()
    bench.ask_detach(0)
    bench.agent.detach({}, ident)
    assert bench.state(ident) == 'attached'
    assert len(bench.initiators()) == 1
    bench.host.guests[0].domain.resume()
    bench.ask_detach(0)
    bench.agent.resume()
    assert bench.initiators() == []


def test_volume_that_cannot_be_had_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody changed the password at the target: QEMU is refused, and all of it is undone."""
    connect = bench.connector.connect

    def connect_wrongly(info: dict[str, str]) -> object:
        return connect({**info, 'auth_password': 'notthepassword16'})

    monkeypatch.setattr(bench.connector, 'connect', connect_wrongly)
    ident = bench.ask_attach(0)
    bench.agent.attach({}, ident)
    with bench.deployed.db.reader():
        assert bench.state(ident) == 'error_attaching'
    assert bench.deployed.status(bench.volume_id) == 'available'
    assert bench.deployed.target.list_exports() == {}
