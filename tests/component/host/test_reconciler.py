# SPDX-License-Identifier: Apache-2.0
"""A host that is not what is recorded of it; the same with a real libvirt is in tests/functional."""

import contextlib
import datetime
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.db.transitions import Actor
from multiattach.domain import states
from multiattach.domain.connection import DeviceInfo
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.errors import HypervisorUnavailable
from multiattach.drivers.hypervisors.base import Disk
from multiattach.host import reconciler
from multiattach.host.agent import HostAgent
from multiattach.host.service import HostService
from multiattach.rpc import clients, transport
from multiattach.steps.reconciliation import Reconciliation
from multiattach.worker import Presence
from tests.component.host.conftest import HOST, PROJECT, Bench
from tests.component.host.fakes import SERVERS

FOREIGN = 'f' * 8 + '-ffff-4fff-8fff-' + 'f' * 12


def look(bench: Bench, fix: bool | None = False) -> list[tuple[str, str]]:
    return [(one.kind, one.outcome) for one in bench.agent.reconciler.run(fix=fix)]


@pytest.fixture
def volume(bench: Bench) -> str:
    return bench.deployed.make_volume('multi')


def plug(bench: Bench, volume: str, server: int) -> None:
    bench.hypervisor.disks[SERVERS[server]][volume] = Disk(FOREIGN, volume, DeviceInfo('block', '/dev/sdz'), '/dev/vdz')


def test_a_server_that_is_gone_loses_its_volumes(bench: Bench, volume: str) -> None:
    gone, kept = bench.attach(volume, 0), bench.attach(volume, 1)
    assert look(bench, True) == []
    del bench.hypervisor.disks[SERVERS[0]]
    assert look(bench, None) == [(Drift.DOMAIN_GONE, 'waiting')], 'it may turn up at another host'
    bench.engine_side.register_servers(bench.agent.domains())
    assert look(bench) == [(Drift.DOMAIN_GONE, 'waiting')]
    with bench.deployed.db.writer() as session:
        session.execute(
            sa.update(models.Server)
            .where(models.Server.id == SERVERS[0])
            .values(deleted_at=models.now() - datetime.timedelta(seconds=31))
        )
    assert look(bench) == [(Drift.DOMAIN_GONE, 'found')]
    assert look(bench, None) == [(Drift.DOMAIN_GONE, 'repaired')]
    assert look(bench, None) == []
    with bench.deployed.db.reader() as session:
        assert session.get_one(models.Attachment, gone).state == states.Attachment.DETACHED
        assert session.get_one(models.Attachment, kept).state == states.Attachment.ATTACHED
    assert bench.connector.sessions == {volume}, 'the other server of the host uses it'
    assert bench.deployed.status(volume) == 'in-use'


def test_doctor_does_not_wait(bench: Bench, volume: str) -> None:
    bench.attach(volume)
    del bench.hypervisor.disks[SERVERS[0]]
    assert look(bench, True) == [(Drift.DOMAIN_GONE, 'repaired')]
    assert bench.deployed.status(volume) == 'available'
    assert bench.connector.sessions == set()
    assert look(bench) == []


def test_a_server_that_another_host_has_is_left_alone(bench: Bench, volume: str) -> None:
    bench.attach(volume)
    del bench.hypervisor.disks[SERVERS[0]]
    with bench.deployed.db.writer() as session:
        session.execute(sa.update(models.Server).where(models.Server.id == SERVERS[0]).values(host='other'))
    assert look(bench, True) == [(Drift.DOMAIN_MOVED, 'reported')]
    assert bench.deployed.status(volume) == 'in-use'


def test_a_disk_without_an_attachment_is_unplugged(bench: Bench, volume: str) -> None:
    other = bench.deployed.make_volume('multi')
    bench.attach(volume, 0)
    for server in (0, 1):
        plug(bench, other, server)
    plug(bench, volume, 1)
    plug(bench, FOREIGN, 0)  # Nova's, or somebody else's
    assert look(bench) == [(Drift.STRAY_DISK, 'waiting')] * 3
    assert look(bench, True) == [(Drift.STRAY_DISK, 'repaired')] * 3
    assert bench.hypervisor.holders(volume) == {SERVERS[0]}
    assert bench.hypervisor.holders(other) == set()
    assert bench.hypervisor.holders(FOREIGN) == {SERVERS[0]}
    assert look(bench) == []


def test_a_session_without_an_attachment_is_ended(bench: Bench, volume: str) -> None:
    other = bench.deployed.make_volume('multi')
    bench.attach(volume)
    bench.connector.sessions |= {other, FOREIGN}
    assert look(bench) == [(Drift.STRAY_SESSION, 'waiting')]
    assert look(bench, True) == [(Drift.STRAY_SESSION, 'repaired')]
    assert bench.connector.sessions == {volume, FOREIGN}
    assert look(bench) == []


def test_a_secret_that_no_attachment_explains_is_forgotten(bench: Bench, volume: str) -> None:
    other = bench.deployed.make_volume('multi')
    kept, gone = bench.attach(volume, 0), bench.attach(other, 0)
    bench.hypervisor.secrets |= {kept, gone}
    assert look(bench) == []
    bench.ask_detach(other)
    bench.agent.detach({}, gone)  # and libvirt still has it
    assert look(bench) == [(Drift.STRAY_SECRET, 'waiting')]
    assert look(bench, True) == [(Drift.STRAY_SECRET, 'repaired')]
    assert bench.hypervisor.secrets == {kept}
    bench.hypervisor.secrets.add(FOREIGN)
    [found] = bench.agent.reconciler.run(fix=True)
    assert (found.kind, found.outcome) == (Drift.STRAY_SECRET, 'waiting')
    assert reconciler._UNRECORDED in str(found.error)
    assert bench.hypervisor.secrets == {kept, FOREIGN}


def test_a_host_that_was_started_again_connects_to_what_its_servers_have(bench: Bench, volume: str) -> None:
    bench.attach(volume, 0)
    bench.attach(volume, 1)
    bench.connector.sessions.clear()
    assert look(bench) == [(Drift.LOST_SESSION, 'found')] * 2
    assert look(bench, None) == [(Drift.LOST_SESSION, 'repaired')] * 2
    assert bench.connector.sessions == {volume}
    assert look(bench) == []


def test_a_session_to_a_target_that_is_named_after_another_id(bench: Bench, volume: str) -> None:
    """Cinder migrated the volume: that is not the session of another volume, and the volume has one."""
    bench.attach(volume)
    with bench.deployed.db.writer() as session:
        session.get_one(models.Volume, volume).name_id = FOREIGN
    bench.connector.sessions = {FOREIGN}
    assert look(bench) == []
    bench.connector.sessions.clear()
    assert look(bench) == [(Drift.LOST_SESSION, 'found')]


def test_looks_of_a_person_do_not_put_off_the_round_that_repairs(bench: Bench, volume: str) -> None:
    bench.attach(volume)
    bench.agent.reconciler.run()
    due = bench.agent.reconciler.due
    bench.connector.sessions.clear()
    assert look(bench) == [(Drift.LOST_SESSION, 'found')]
    assert bench.agent.reconciler.due <= due


def test_each_server_with_a_session_of_its_own_looks_after_it(bench: Bench, volume: str) -> None:
    bench.use_own_sessions()
    bench.attach(volume)
    assert look(bench) == [], "QEMU's initiator connects when it starts"


def test_a_disk_that_is_lost_is_reported(bench: Bench, volume: str) -> None:
    bench.attach(volume)
    bench.hypervisor.disks[SERVERS[0]].clear()
    assert look(bench, True) == [(Drift.LOST_DISK, 'reported')]
    bench.agent.reconciler._ledger.rules.actions[Drift.LOST_DISK] = 'repair'  # type: ignore[index]
    assert look(bench, None) == [(Drift.LOST_DISK, 'waiting')]
    assert look(bench, True) == [(Drift.LOST_DISK, 'repaired')]
    assert bench.hypervisor.holders(volume) == {SERVERS[0]}
    assert look(bench) == []


def test_a_failed_attach_of_a_server_that_is_gone_is_cleared_away(bench: Bench, volume: str) -> None:
    ident = bench.attach(volume)
    with bench.deployed.db.writer() as session:
        session.execute(
            sa.update(models.Attachment).where(models.Attachment.id == ident).values(state='error_attaching')
        )
    bench.hypervisor.disks[SERVERS[0]].clear()
    bench.connector.sessions.clear()
    del bench.hypervisor.disks[SERVERS[0]]
    assert look(bench, True) == [(Drift.DOMAIN_GONE, 'repaired')]
    assert look(bench) == []


def test_a_fenced_host_only_looks(bench: Bench, volume: str) -> None:
    plug(bench, volume, 0)
    assert bench.deployed.engine.fences.fence_host(bench.deployed.ctx, HOST).is_complete
    assert look(bench, True) == [(Drift.STRAY_DISK, 'waiting')]


def test_a_hypervisor_that_does_not_answer(bench: Bench, volume: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(bench, volume, 0)
    [before] = bench.agent.reconciler.run(fix=False)

    def refuse() -> None:
        raise HypervisorUnavailable('libvirt is away')

    with monkeypatch.context() as patch:
        patch.setattr(bench.hypervisor, 'list_disks', refuse)
        assert bench.agent.reconcile({}, False) == {'findings': [], 'unread': {'domain': 'libvirt is away'}}
    [after] = bench.agent.reconciler.run(fix=False)
    assert after.since == before.since, 'what could not be read is not forgotten'


def test_what_it_shows_over_rpc(bench: Bench, volume: str) -> None:
    bench.attach(volume)
    server = transport.make_server(bench.deployed.rpc, clients.HOST_TOPIC, HOST, bench.agent)
    server.start()
    try:
        agents = clients.HostAgents(bench.deployed.rpc, 10)
        shown = agents.within(5).show_host(HOST, None)
        assert agents.reconcile(HOST, False, None) == {'findings': [], 'unread': {}}
    finally:
        server.stop()
        server.wait()
    assert [one['volume_id'] for one in shown['sessions']] == [volume]
    assert {one['id']: [disk['volume_id'] for disk in one['disks']] for one in shown['servers']} == {
        SERVERS[0]: [volume],
        SERVERS[1]: [],
    }
    assert (shown['findings'], shown['unread']) == ([], {})


@contextlib.contextmanager
def serving(bench: Bench, **graces: float) -> Iterator[HostAgent]:
    """An agent as a program runs it, new each time."""
    agent = HostAgent(
        bench.engine_side,
        bench.hypervisor,
        bench.connector,
        HOST,
        bench.make_leases(),
        project_id=PROJECT,
        reconciling=(Reconciliation(bench.deployed.db, Actor(f'host:{HOST}')), DriftRules(graces=graces), 0.5),
    )
    service = HostService(
        Presence(bench.deployed.db, HOST, 'nova', 0.2),
        bench.deployed.rpc,
        bench.make_leases(),
        agent,
        bench.engine_side,
    )
    service.start()
    try:
        yield agent
    finally:
        service.stop()


def test_a_server_that_was_deleted_behind_its_back_within_a_period(bench: Bench, volume: str) -> None:
    with serving(bench, domain_gone=0.0):
        gone = bench.attach(volume)
        del bench.hypervisor.disks[SERVERS[0]]
        bench.deployed.wait(lambda: bench.state(gone) == 'detached', 5)
    bench.check_gone(volume)


def test_an_agent_that_was_away_for_an_hour_finds_its_house_in_order(bench: Bench, volume: str) -> None:
    stray, other = (bench.deployed.make_volume('multi') for _ in range(2))
    gone, kept = bench.attach(volume, 0), bench.attach(volume, 1)
    taken = bench.attach(other, 1)
    bench.ask_detach(other, 1)  # nobody was there to do it
    del bench.hypervisor.disks[SERVERS[0]]
    plug(bench, stray, 1)
    bench.connector.sessions.add(stray)
    with serving(bench, domain_gone=0.0, stray_disk=0.0, stray_session=0.0) as agent:
        bench.deployed.wait(
            lambda: (
                bench.connector.sessions == {volume}
                and bench.state(gone) == 'detached'
                and bench.state(taken) == 'detached'
            ),
            10,
        )
        assert agent.reconciler.run(fix=False) == []
    assert bench.hypervisor.holders(volume) == {SERVERS[1]}
    assert bench.hypervisor.holders(stray) == bench.hypervisor.holders(other) == set()
    bench.check_attached(kept, volume)
