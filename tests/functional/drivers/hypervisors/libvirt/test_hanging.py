# SPDX-License-Identifier: Apache-2.0
"""A QEMU that does not answer libvirt, and a libvirt that does not answer: nobody waits without a limit."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from multiattach.drivers.errors import HypervisorUnavailable
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from tests.testbed.polling import wait_until

from .conftest import Host, Volume

TIMEOUT = 1.0


@pytest.fixture
def make_hypervisor(host: Host) -> Iterator[Callable[[], LibvirtHypervisor]]:
    made = []

    def make() -> LibvirtHypervisor:
        made.append(LibvirtHypervisor(host.daemon.uri, detach_timeout=20, detach_attempts=3, timeout=TIMEOUT))
        return made[-1]

    yield make
    for one in made:
        one.close()


def clock(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_server_that_hangs_holds_up_nobody_else(
    host: Host, volume: Volume, make_volume: Callable[[], Volume], make_hypervisor: Callable[[], LibvirtHypervisor]
) -> None:
    hypervisor, other = make_hypervisor(), make_volume()
    info, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(info))

    def detach(driver: LibvirtHypervisor) -> None:
        driver.detach(server, volume.id, info['attachment_id'])

    def is_refused(driver: LibvirtHypervisor, reason: str) -> None:
        with pytest.raises(HypervisorUnavailable, match=reason):
            detach(driver)

    with host.frozen(0):
        assert clock(lambda: is_refused(hypervisor, 'longer than 1 s')) < TIMEOUT + 1
        assert clock(lambda: is_refused(hypervisor, 'has not come back')) < 0.5, 'the first call still hangs'
        [overdue] = hypervisor.list_overdue()
        assert server in overdue
        # An agent that is started again knows nothing of that call, and libvirt would have it wait for 30 s.
        assert clock(lambda: is_refused(make_hypervisor(), 'has not answered libvirt for')) < 0.5
        # Each question on its own: libvirt's client hands replies on late beside a call that hangs.
        assert clock(lambda: [hypervisor.list_disks() for _ in range(20)]) < 2
        there = other.make_attachment()
        assert hypervisor.attach(host.server_id(1), other.make_disk(there)) == '/dev/vdb'
        host.guests[1].wait_for_disk(other.id)
        hypervisor.detach(host.server_id(1), other.id, there['attachment_id'])
    wait_until(lambda: not hypervisor.list_overdue(), 20, 'the end of the calls')
    detach(hypervisor)  # what came of the call that hung is found, or done


def test_a_libvirtd_that_hangs_is_asked_again_when_it_answers(
    host: Host, make_hypervisor: Callable[[], LibvirtHypervisor]
) -> None:
    hypervisor, fresh = make_hypervisor(), make_hypervisor()
    hypervisor.domains()
    with host.frozen_libvirtd():
        for one in (hypervisor, fresh):  # one has a connection, one has none yet
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(HypervisorUnavailable, match='longer than 1 s'):
                    one.domains()
                assert time.monotonic() - began < TIMEOUT + 1
    for one in (hypervisor, fresh):
        assert len(one.domains()) == 2


def test_whoever_waits_is_told_when_the_program_stops(
    host: Host, volume: Volume, make_hypervisor: Callable[[], LibvirtHypervisor]
) -> None:
    hypervisor = LibvirtHypervisor(host.daemon.uri, timeout=60)
    info, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(info))
    said: list[str] = []

    def detach() -> None:
        try:
            hypervisor.detach(server, volume.id, info['attachment_id'])
        except HypervisorUnavailable as exc:
            said.append(exc.message)

    with host.frozen(0):
        waiting = threading.Thread(target=detach)
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive()
        hypervisor.interrupt()
        waiting.join(2)
        assert not waiting.is_alive()
        assert 'the program stops' in said[0]
        with pytest.raises(HypervisorUnavailable, match='not asked any more'):
            hypervisor.domains()
    host.hypervisor.detach(server, volume.id, info['attachment_id'])
