# SPDX-License-Identifier: Apache-2.0
"""The agent with everything real, for volumes that are images of Ceph: database, worker, Ceph, libvirtd, guests."""

import pathlib
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.drivers.connectors.qemu import QemuConnector
from multiattach.drivers.connectors.rbd import ConnectorChoice, RbdConnector
from multiattach.rpc import clients, transport
from tests.component.host.fakes import Crash, Fuse
from tests.e2e import facts
from tests.functional.drivers.targets.rbd.cloud import Cloud, deploy_on
from tests.testbed.ceph import Ceph
from tests.testbed.guest import BLOCK_SIZE

from .bench import NAME, Bench
from .conftest import Host
from .test_hypervisor import disks


class RbdBench(Bench):
    def __init__(self, cloud: Cloud, host: Host) -> None:
        self.cloud = cloud
        super().__init__(cloud.deployed, host, self.make_connector(20))

    @staticmethod
    def make_connector(timeout: int) -> ConnectorChoice:
        return ConnectorChoice(QemuConnector(NAME, '127.0.0.1'), RbdConnector(NAME, '127.0.0.1', timeout=timeout))

    def fence(self, ident: str) -> None:
        before = time.monotonic()
        self.cloud.ask('post_json', f'/v3/multiattach/attachments/{ident}/fence', {'fence': {}})
        print(f'fenced in {time.monotonic() - before:.2f} s')

    def read(self, block: int) -> bytes:
        """Read where a writer writes, as the cluster's administrator."""
        with (
            self.cloud.ceph.open_pool(self.cloud.pool) as io,
            self.cloud.rbd.Image(io, f'volume-{self.volume_id}', read_only=True) as image,
        ):
            return bytes(image.read(block * BLOCK_SIZE, facts.Writer.SPAN * BLOCK_SIZE))

    def secrets(self) -> set[str]:
        return {one.UUIDString() for one in self.host.guests[0].connection.listAllSecrets()}

    def check_nothing_left(self) -> None:
        assert self.deployed.status(self.volume_id) == 'available'
        assert self.cloud.list_users() == {}
        assert self.secrets() == set()
        for number in (0, 1):
            assert self.volume_id not in disks(self.host, number)


@pytest.fixture
def bench(host: Host, ceph: Ceph, tmp_path: pathlib.Path) -> Iterator[RbdBench]:
    with deploy_on(ceph, tmp_path, report_interval=3600) as cloud:
        bench = RbdBench(cloud, host)
        yield bench
        bench.hypervisor.close()


def test_two_servers_share_an_image_from_call_to_bytes_until_one_is_fenced(bench: RbdBench) -> None:
    server = transport.make_server(bench.deployed.rpc, clients.HOST_TOPIC, NAME, bench.agent)
    server.start()
    try:
        idents = [bench.ask_attach(number) for number in (0, 1)]
        for ident in idents:
            bench.deployed.wait(lambda ident=ident: bench.state(ident) == 'attached')
        assert sorted(bench.cloud.list_users()) == sorted(f'multiattach-{ident}' for ident in idents)
        assert bench.secrets() == set(idents)
        one, two = bench.host.guests
        paths = [guest.wait_for_disk(bench.volume_id) for guest in (one, two)]
        one.write_block(paths[0], 1, b'by server 1')
        assert two.read_block(paths[1], 1).startswith(b'by server 1')
        bench.deployed.engine.actions.extend(bench.deployed.ctx, bench.volume_id, 2, in_use_allowed=True)
        for guest, path in zip((one, two), paths, strict=True):
            size = f'cat /sys/block/{path.removeprefix("/dev/")}/size'
            bench.deployed.wait(lambda guest=guest, size=size: guest.run(size)[1] == str(2 << 21))
        assert bench.agent.reconciler.run(fix=False) == []
        with facts.Writer(two, paths[1], 2000, 'two').running() as other:
            with facts.Writer(one, paths[0], 1000, 'one').running(fails=True):
                bench.fence(idents[0])
                at_answer = bench.read(1000)
                other.wait_progress()
            other.wait_progress()
            assert bench.read(1000) == at_answer
        found = set(facts.read_stamps(bench.read(2000)))
        last = range(max(0, other.count() - other.SPAN), other.count())
        assert {('two', number) for number in last} <= found

        def obey() -> bool:
            bench.agent.obey()
            return bench.volume_id not in disks(bench.host, 0) and bench.secrets() == {idents[1]}

        bench.deployed.wait(obey)
        one.wait_gone(bench.volume_id)
        bench.cloud.detach(idents[0])
        again = bench.ask_attach(0)
        bench.deployed.wait(lambda: bench.state(again) == 'attached')
        path = one.wait_for_disk(bench.volume_id)
        assert one.read_block(path, 1).startswith(b'by server 1')
        facts.share(two, paths[1], one, path, 3000)
        for number in (0, 1):
            bench.ask_detach(number)
        bench.deployed.wait(lambda: bench.deployed.status(bench.volume_id) == 'available')
    finally:
        server.stop()
        server.wait()
    bench.check_nothing_left()


@pytest.mark.parametrize('after', [False, True])
def test_an_agent_that_dies_round_libvirt_carries_on(bench: RbdBench, after: bool) -> None:
    probe = Fuse(0, after=False)
    ident = bench.ask_attach(0)
    bench.start_agent(probe).attach({}, ident)
    bench.ask_detach(0)
    bench.agent.resume()
    ident = bench.ask_attach(0)
    with pytest.raises(Crash, match='attach'):
        bench.start_agent(Fuse(probe.calls.index('attach') + 1, after=after)).attach({}, ident)
    assert bench.state(ident) == 'connecting'
    bench.start_agent().resume()
    assert bench.state(ident) == 'attached'
    assert bench.secrets() == {ident}
    bench.ask_detach(0)
    bench.agent.resume()
    bench.check_nothing_left()


def test_a_secret_is_given_again_and_one_too_many_taken_away(bench: RbdBench) -> None:
    ident = bench.ask_attach(0)
    bench.agent.attach({}, ident)
    connection = bench.host.guests[0].connection
    connection.secretLookupByUUIDString(ident).undefine()  # as a restart of libvirtd does
    assert [one.kind for one in bench.agent.reconciler.run(fix=True)] == [Drift.LOST_SECRET]
    assert bench.secrets() == {ident}
    assert [disk.has_secret for server in bench.hypervisor.list_disks() for disk in server.disks] == [True]
    bench.ask_detach(0)
    bench.agent.detach({}, ident)
    stray = connection.secretDefineXML(
        f"<secret ephemeral='yes' private='yes'><uuid>{ident}</uuid>"
        f"<usage type='ceph'><name>multiattach-{ident}</name></usage></secret>"
    )
    stray.setValue(b'key')
    [found] = bench.agent.reconciler.run(fix=True)
    assert (found.kind, found.outcome, found.attachment_id) == (Drift.STRAY_SECRET, 'repaired', ident)
    bench.check_nothing_left()


def test_a_user_that_was_removed_meanwhile_leaves_nothing(bench: RbdBench) -> None:
    """Somebody removed the user: the attach says so, the server never notices."""
    ident = bench.ask_attach(0)
    task = bench.engine_side.load(ident)
    bench.engine_side.connect(task, bench.connector.properties(ident, task.server_id), None)
    bench.cloud.ceph.ask('auth rm', entity=f'client.multiattach-{ident}')
    bench.connector = bench.make_connector(3)
    bench.start_agent().attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    with bench.deployed.db.reader() as session:
        error = session.scalars(sa.select(models.Attachment.error).where(models.Attachment.id == ident)).one()
    assert 'Ceph does not open the image' in str(error)
    bench.cloud.detach(ident)
    bench.check_nothing_left()
