# SPDX-License-Identifier: Apache-2.0
"""A hypervisor that says nothing, or something else: nothing is detached; what is really gone still is."""

import datetime

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain.connection import DeviceInfo
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules, Finding
from multiattach.drivers.hypervisors.base import Disk
from tests.component.host.conftest import Bench
from tests.component.host.fakes import SERVERS

MANY = 40
AT_ONCE = DriftRules(graces={Drift.DOMAIN_GONE: 0.0, Drift.STRAY_DISK: 0.0, Drift.STRAY_SESSION: 0.0})


@pytest.fixture
def host(bench: Bench) -> Bench:
    """Graces are over."""
    bench.agent = bench.start_agent(drift=AT_ONCE)
    return bench


def look(bench: Bench, fix: bool | None = None, release: tuple[str, ...] = ()) -> list[Finding]:
    return bench.agent.reconciler.run(fix=fix, release=release)


def outcomes(found: list[Finding]) -> list[str]:
    return [one.outcome for one in found]


def fill(bench: Bench, number: int) -> list[str]:
    """Have many servers with a volume, without their way there."""
    idents = [bench.attach(bench.deployed.make_volume('multi'), 0)]
    with bench.deployed.db.writer() as session:
        first = session.get_one(models.Attachment, idents[0])
        for count in range(1, number):
            ident = f'{count:08}-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
            server = f'{count:08}-bbbb-4bbb-8bbb-bbbbbbbbbbbb'
            session.add(
                models.Attachment(
                    id=ident,
                    volume_id=first.volume_id,
                    instance_uuid=server,
                    state='attached',
                    agent_host=first.agent_host,
                    attached_host=first.attached_host,
                    attach_mode='rw',
                    initiator=first.initiator,
                    connector=first.connector,
                    connection_info=first.connection_info,
                )
            )
            bench.hypervisor.disks[server] = dict(bench.hypervisor.disks[SERVERS[0]])
            idents.append(ident)
    bench.engine_side.register_servers(bench.agent.domains())
    assert look(bench) == []
    return idents


def test_a_libvirt_without_domains_detaches_nothing(host: Bench) -> None:
    idents = fill(host, MANY)
    shown = host.hypervisor.disks
    host.hypervisor.disks = {}
    for number in range(4):
        host.engine_side.register_servers(host.agent.domains())
        found = look(host, True if number == 3 else None)
        assert outcomes(found) == ['waiting'] * MANY
    assert found[0].error is not None
    assert f'away {MANY} of {MANY} at once' in found[0].error or 'has none of the servers' in found[0].error
    host.hypervisor.disks = shown
    assert look(host) == []
    assert {host.state(ident) for ident in idents} == {'attached'}


def test_another_libvirt_detaches_nothing_even_of_a_few(host: Bench) -> None:
    """It has servers of its own, which this service sees for the first time as it misses the others."""
    idents = fill(host, 2)
    shown, stranger = host.hypervisor.disks, 'f' * 8 + '-ffff-4fff-8fff-' + 'f' * 12
    host.hypervisor.disks = {stranger: {}}
    for _ in range(3):
        host.engine_side.register_servers(host.agent.domains())
        found = look(host)
        assert outcomes(found) == ['waiting'] * 2
        assert 'has none of the servers' in str(found[0].error)
    host.agent = host.start_agent(drift=AT_ONCE)  # a restart does not help it
    assert outcomes(look(host)) == outcomes(look(host)) == ['waiting'] * 2
    host.hypervisor.disks = shown
    assert look(host) == []
    assert {host.state(ident) for ident in idents} == {'attached'}


def test_a_host_whose_only_server_is_deleted(host: Bench) -> None:
    volume = host.deployed.make_volume('multi')
    ident = host.attach(volume)
    host.hypervisor.disks = {SERVERS[0]: host.hypervisor.disks[SERVERS[0]]}
    host.engine_side.register_servers(host.agent.domains())
    assert look(host) == []
    host.hypervisor.disks = {}
    host.engine_side.register_servers(host.agent.domains())
    assert outcomes(look(host)) == outcomes(look(host)) == ['waiting']
    host.hypervisor.ended = frozenset({SERVERS[0]})  # libvirt says so
    assert outcomes(look(host)) == ['repaired']
    assert host.state(ident) == 'detached'
    host.check_gone(volume)


def test_a_deleted_server_beside_one_without_volumes(host: Bench) -> None:
    volume = host.deployed.make_volume('multi')
    host.attach(volume)
    del host.hypervisor.disks[SERVERS[0]]
    assert outcomes(look(host)) == ['waiting'], 'never at first sight'
    host.engine_side.register_servers(host.agent.domains())
    assert outcomes(look(host)) == ['repaired']
    host.check_gone(volume)


def test_a_person_releases_what_was_seen(host: Bench) -> None:
    idents = fill(host, 12)
    host.hypervisor.disks = {}
    [*_, last] = look(host)
    assert last.seal is not None
    assert outcomes(look(host, True, (last.seal,))) == ['repaired'] * 12
    assert {host.state(ident) for ident in idents} == {'detached'}
    assert look(host) == []


def test_rows_that_are_gone_unplug_nothing(host: Bench) -> None:
    """As after an older copy of the database was restored, of which nobody knows."""
    volume = host.deployed.make_volume('multi')
    host.attach(volume)
    with host.deployed.db.writer() as session:
        session.execute(sa.delete(models.Attachment))
    for fix in (None, None, True):
        found = look(host, fix)
        assert [(one.kind, one.outcome) for one in found] == [
            (Drift.STRAY_DISK, 'waiting'),
            (Drift.STRAY_SESSION, 'waiting'),
        ]
    assert host.hypervisor.holders(volume) == {SERVERS[0]}
    seal = str(found[0].seal)
    assert set(outcomes(look(host, True, (seal,)))) == {'repaired'}
    assert host.hypervisor.holders(volume) == set()


def test_what_is_recorded_to_have_been_detached_is_unplugged(host: Bench) -> None:
    volume = host.deployed.make_volume('multi')
    ident = host.attach(volume)
    with host.deployed.db.writer() as session:
        session.execute(
            sa.update(models.Attachment)
            .where(models.Attachment.id == ident)
            .values(state='detached', deleted_at=models.now())
        )
    look(host)
    assert set(outcomes(look(host))) == {'repaired'}
    assert host.hypervisor.holders(volume) == set()


def doubt(bench: Bench) -> None:
    """A volume worker has found that the database is an older copy."""
    with bench.deployed.db.writer() as session:
        session.execute(
            sa.update(models.Epoch).values(
                doubted_at=models.now(), seen_lineage=models.Epoch.lineage, seen_counter=models.Epoch.counter + 9
            )
        )


def test_with_an_older_database_the_host_lets_go_of_nothing(host: Bench) -> None:
    volume, other = (host.deployed.make_volume('multi') for _ in range(2))
    ident, going = host.attach(volume, 0), host.attach(other, 1)
    host.ask_detach(other, 1)
    with host.deployed.db.writer() as session:
        session.execute(
            sa.update(models.Attachment)
            .where(models.Attachment.id == ident)
            .values(state='fenced', fenced_at=models.now())
        )
        session.execute(
            sa.update(models.Attachment)
            .where(models.Attachment.id == going)
            .values(state_at=models.now() - datetime.timedelta(seconds=60))
        )
    doubt(host)
    host.hypervisor.disks[SERVERS[1]][volume] = Disk('a' * 36, volume, DeviceInfo('block', ''), '/dev/vdz')
    host.agent.obey()
    host.agent.resume()
    look(host)
    assert set(outcomes(look(host, True))) <= {'waiting', 'reported'}
    assert host.state(going) == 'detaching'
    assert host.hypervisor.holders(volume) == set(SERVERS)
    assert host.hypervisor.holders(other) == {SERVERS[1]}
    third = host.deployed.make_volume('multi')
    host.reserve(third, 1)  # what is asked for now is done
    host.agent.resume()
    assert host.hypervisor.holders(third) == {SERVERS[1]}
    with host.deployed.db.writer() as session:
        session.execute(sa.update(models.Epoch).values(doubted_at=None))
    host.agent.obey()
    host.agent.resume()
    assert host.hypervisor.holders(volume) == {SERVERS[1]}
    assert host.state(going) == 'detached'
