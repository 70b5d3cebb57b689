# SPDX-License-Identifier: Apache-2.0
"""A real libvirt that is not what the rows say: seen, put right, and gone, bytes included."""

import pathlib
import tempfile
import threading
from collections.abc import Iterator
from xml.etree import ElementTree

import libvirt
import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.deployments import embedded
from tests.functional.drivers.hypervisors.libvirt.bench import Bench
from tests.functional.drivers.hypervisors.libvirt.conftest import Host
from tests.testbed import Libvirtd
from tests.testbed.polling import wait_until


@pytest.fixture
def bench(host: Host, tgtd: PrivateTgtd, tmp_path: pathlib.Path) -> Iterator[Bench]:
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=tmp_path / 'targets')
    with embedded.deploy(tmp_path, target, report_interval=3600) as deployed:
        bench = Bench(deployed, host)
        yield bench
        bench.hypervisor.close()


def attach(bench: Bench, number: int = 0) -> str:
    ident = bench.ask_attach(number)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'attached'
    assert look(bench) == []
    return ident


def look(bench: Bench, fix: bool | None = False) -> list[tuple[str, str]]:
    return [(one.kind, one.outcome) for one in bench.agent.reconciler.run(fix=fix)]


def find_disk(bench: Bench, flags: int, number: int = 0) -> str | None:
    for disk in ElementTree.fromstring(bench.host.guests[number].domain.XMLDesc(flags)).iter('disk'):
        if disk.findtext('serial') == bench.volume_id:
            return ElementTree.tostring(disk, encoding='unicode')
    return None


def is_saved(bench: Bench) -> bool:
    return find_disk(bench, libvirt.VIR_DOMAIN_XML_INACTIVE) is not None


def unplug(bench: Bench, number: int, flags: int) -> None:
    """As a person with virsh does."""
    domain = bench.host.guests[number].domain
    device = find_disk(bench, libvirt.VIR_DOMAIN_XML_INACTIVE, number)
    assert device is not None
    domain.detachDeviceFlags(device, flags)
    if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
        wait_until(lambda: find_disk(bench, 0, number) is None, 20, 'the guest to let go')


def detach(bench: Bench, number: int = 0) -> None:
    bench.ask_detach(number)
    bench.agent.resume()
    assert bench.deployed.status(bench.volume_id) == 'available'
    assert look(bench) == []


def test_a_server_that_was_undefined_behind_the_services_back(bench: Bench) -> None:
    gone, kept = attach(bench, 0), attach(bench, 1)
    guest = bench.host.guests[0]
    definition = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    # Libvirt tells it, and the next tick does not wait for the interval.
    bench.agent = bench.start_agent(interval=3600)
    before, rounds = bench.hypervisor.losses, bench.agent.reconciler
    rounds.tick()
    due = rounds.due
    rounds.tick()
    assert rounds.due == due
    bench.host.power_off(0)
    guest.domain.undefine()
    wait_until(lambda: bench.hypervisor.losses > before + 1, 20, 'libvirt to tell')
    rounds.tick()
    assert rounds.due != due
    try:
        assert look(bench) == [(Drift.DOMAIN_GONE, 'waiting')]
        assert bench.agent.reconciler.run(fix=True)[0].outcome == 'repaired'
        assert look(bench) == []
        with bench.deployed.db.reader() as session:
            assert session.get_one(models.Attachment, gone).state == 'detached'
        assert bench.initiators() == [f'iqn.2010-10.org.openstack:{kept}']
        assert [str(one.UUIDString()) for one in bench.host.guests[0].connection.listAllSecrets()] == [kept]
        bench.host.guests[1].write_block(bench.host.guests[1].wait_for_disk(bench.volume_id), 1, b'survives')
        assert bench.deployed.reconciler.run(fix=False) == []
    finally:
        domain = guest.connection.defineXML(definition)
        device = find_disk(bench, libvirt.VIR_DOMAIN_XML_INACTIVE)
        if device is not None:
            domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    detach(bench, 1)


def test_a_secret_that_libvirt_lost(bench: Bench) -> None:
    ident = attach(bench)
    bench.host.guests[0].connection.secretLookupByUUIDString(ident).undefine()
    assert look(bench) == [(Drift.LOST_SECRET, 'found')]
    assert look(bench, None) == [(Drift.LOST_SECRET, 'repaired')]
    assert look(bench) == []
    assert bench.host.guests[0].connection.secretLookupByUUIDString(ident)
    detach(bench)


@pytest.mark.slow
def test_a_disk_that_the_next_start_would_lack(bench: Bench) -> None:
    attach(bench)
    unplug(bench, 0, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert look(bench) == [(Drift.UNSAVED_DISK, 'waiting')]
    assert look(bench, True) == [(Drift.UNSAVED_DISK, 'repaired')]
    assert is_saved(bench)
    assert look(bench) == []
    detach(bench)


@pytest.mark.slow
def test_a_disk_that_somebody_took_away(bench: Bench) -> None:
    attach(bench)
    unplug(bench, 0, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert look(bench, True) == [(Drift.LOST_DISK, 'reported')]
    bench.agent.reconciler._ledger.rules.actions[Drift.LOST_DISK] = 'repair'  # type: ignore[index]
    assert look(bench, True) == [(Drift.LOST_DISK, 'repaired')]
    assert look(bench) == []
    bench.host.guests[0].write_block(bench.host.guests[0].wait_for_disk(bench.volume_id), 1, b'again')
    detach(bench)


@pytest.mark.slow
def test_a_guest_that_lets_go_when_its_detach_was_given_up(bench: Bench) -> None:
    ident = attach(bench)
    bench.host.guests[0].domain.suspend()
    bench.ask_detach(0)
    bench.agent.detach({}, ident)
    assert bench.state(ident) == 'attached'
    assert look(bench) == [], 'it has it still'
    bench.host.guests[0].domain.resume()
    wait_until(lambda: find_disk(bench, 0) is None, 20, 'the guest to let go')
    assert look(bench) == [(Drift.LATE_UNPLUG, 'waiting')]
    assert look(bench, True) == [(Drift.LATE_UNPLUG, 'repaired')]
    assert look(bench) == []
    assert bench.deployed.status(bench.volume_id) == 'available'
    assert not is_saved(bench)


def test_a_disk_whose_row_is_gone(bench: Bench) -> None:
    ident = attach(bench)
    with bench.deployed.db.writer() as session:
        session.execute(
            sa.update(models.Attachment)
            .where(models.Attachment.id == ident)
            .values(state='detached', deleted_at=models.now())
        )
    assert look(bench) == [(Drift.STRAY_DISK, 'waiting')]
    assert look(bench, True) == [(Drift.STRAY_DISK, 'repaired')]
    assert find_disk(bench, 0) is None
    assert not is_saved(bench)
    assert bench.host.guests[0].connection.listAllSecrets() == []
    assert {one.kind for one in bench.deployed.reconciler.run(fix=True)} == {Drift.UNUSED, Drift.STATUS}
    assert look(bench) == []
    assert bench.deployed.reconciler.run(fix=True) == []
    assert bench.deployed.target.list_exports() == {}
    assert bench.deployed.status(bench.volume_id) == 'available'


@pytest.mark.slow
def test_steps_in_flight_are_no_drift(bench: Bench) -> None:
    found: list[tuple[str, str]] = []
    stop = threading.Event()

    def keep_looking() -> None:
        while not stop.is_set():
            found.extend(look(bench, True))

    looking = threading.Thread(target=keep_looking)
    looking.start()
    try:
        for _ in range(3):
            ident = bench.ask_attach(0)
            bench.agent.attach({}, ident)
            assert bench.state(ident) == 'attached'
            bench.ask_detach(0)
            bench.agent.detach({}, ident)
    finally:
        stop.set()
        looking.join()
    assert found == []
    assert bench.deployed.status(bench.volume_id) == 'available'


# -- a libvirt that is not to be believed ----------------------------------------------------------

AT_ONCE = DriftRules(graces={Drift.DOMAIN_GONE: 0.0})


@pytest.fixture
def other(tmp_path: pathlib.Path) -> Iterator[LibvirtHypervisor]:
    """Another libvirtd, without a domain, as behind a wrong URI or after it lost its state."""
    with tempfile.TemporaryDirectory(prefix='ma-ot-') as name, Libvirtd(pathlib.Path(name, 'lv')) as daemon:
        hypervisor = LibvirtHypervisor(daemon.uri)
        yield hypervisor
        hypervisor.close()


def test_an_empty_libvirt_detaches_nothing(bench: Bench, other: LibvirtHypervisor) -> None:
    idents = [attach(bench, number) for number in (0, 1)]
    right, wrong = (bench.start_agent(hypervisor=one, rules=AT_ONCE) for one in (bench.hypervisor, other))
    for fix in (None, None, None, True):
        bench.engine_side.register_servers(wrong.domains())
        found = wrong.reconciler.run(fix=fix)
        assert [(one.kind, one.outcome) for one in found] == [(Drift.DOMAIN_GONE, 'waiting')] * 2
        assert 'libvirt has none of the servers' in str(found[0].error)
    assert wrong.reconciler.show()['findings'][0]['seal'] == found[0].seal
    bench.engine_side.register_servers(right.domains())
    assert right.reconciler.run() == []
    assert [bench.state(ident) for ident in idents] == ['attached'] * 2
    assert len(bench.initiators()) == 2
    for number, guest in enumerate(bench.host.guests):
        guest.write_block(guest.wait_for_disk(bench.volume_id), number, b'survives')
    for number in (0, 1):
        bench.ask_detach(number)
    bench.agent.resume()
    assert bench.deployed.status(bench.volume_id) == 'available'


def test_the_only_server_with_a_volume_is_gone_because_libvirt_says_so(bench: Bench) -> None:
    ident = attach(bench)
    with bench.deployed.db.writer() as session:  # nothing else bears it out
        session.execute(sa.delete(models.Server))
    agent = bench.start_agent(rules=AT_ONCE)
    guest = bench.host.guests[0]
    definition = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    server_id = bench.host.server_id(0)
    bench.host.power_off(0)
    wait_until(lambda: server_id in bench.hypervisor.ended, 20, 'libvirt to tell that it stopped')
    agent.reconciler.run(fix=False)
    assert server_id not in bench.hypervisor.ended, 'it is only off'
    guest.domain.undefine()
    try:
        wait_until(lambda: server_id in bench.hypervisor.ended, 20, 'libvirt to tell that it is gone')
        assert [one.outcome for one in agent.reconciler.run()] == ['waiting'], 'never at first sight'
        assert [one.outcome for one in agent.reconciler.run()] == ['repaired']
        assert bench.deployed.target.list_exports() == {}
        with bench.deployed.db.reader() as session:
            assert session.get_one(models.Attachment, ident).state == 'detached'
    finally:
        domain = guest.connection.defineXML(definition)
        device = find_disk(bench, libvirt.VIR_DOMAIN_XML_INACTIVE)
        if device is not None:
            domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
