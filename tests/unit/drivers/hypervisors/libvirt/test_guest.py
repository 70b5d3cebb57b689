# SPDX-License-Identifier: Apache-2.0
"""What real guests do rarely: races and lost events, on a stand-in for the wall round libvirt."""

import time
import uuid
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.errors import DetachRefused, DomainNotFound, HypervisorError
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt import guest as guest_module, xml
from multiattach.drivers.hypervisors.libvirt.connection import DetachPending, DeviceNotFound, DomainState
from multiattach.drivers.hypervisors.libvirt.events import Removals, UnplugResult
from multiattach.drivers.hypervisors.libvirt.guest import GuestDisks

SERVER = str(uuid.uuid4())
VOLUME = 'f3a1b2c3-d4e5-4f60-8718-293a4b5c6d7e'
DISK = Disk(
    '0c2e2d01-58bf-42ec-bba6-52019e687c85', VOLUME, DeviceInfo('block', '/dev/null'), '/dev/vdb', multiattach=True
)
VDA = '<disk><source file="/a"/><target dev="vda"/></disk>'


class Wall:
    """A libvirtd with one server; ``on_attach`` and ``on_detach`` say what happens when asked."""

    def __init__(self) -> None:
        self.live: list[str] | None = [VDA]
        self.config: list[str] | None = [VDA]
        self.removals = Removals()
        self.asked: list[tuple[str, bool, bool]] = []
        self.on_attach: Callable[[], None] = lambda: None
        self.on_detach: Callable[[], None] = self.let_go

    def find(self, server_id: str) -> DomainState:
        if server_id != SERVER:
            raise DomainNotFound('no such server')
        live, config = (
            None if disks is None else f'<domain><devices>{"".join(disks)}</devices></domain>'
            for disks in (self.live, self.config)
        )
        return DomainState(SERVER, 'one', 'running', live, config)

    def attach_device(self, server_id: str, device: str, *, live: bool, config: bool) -> None:
        self.asked.append(('attach', live, config))
        self.on_attach()
        target = ElementTree.fromstring(device).find('target')
        assert target is not None
        for wanted, disks in ((live, self.live), (config, self.config)):
            if wanted:
                assert disks is not None
                if f'"{target.get("dev")}"' in ''.join(disks):
                    raise HypervisorError('target already exists')
        for wanted, disks in ((live, self.live), (config, self.config)):
            if wanted and disks is not None:
                disks.append(device)

    def detach_device(self, server_id: str, device: str, *, live: bool, config: bool) -> None:
        self.asked.append(('detach', live, config))
        if live:
            self.on_detach()
        elif self.config is not None:
            self.config = [disk for disk in self.config if VOLUME not in disk]

    def expect_removal(self, server_id: str, alias: str) -> Any:
        return self.removals.expect(server_id, alias)

    def drop(self) -> None:
        if self.live is not None:
            self.live = [disk for disk in self.live if VOLUME not in disk]

    def let_go(self) -> None:
        """The event comes before libvirt's call returns: who listens later misses it."""
        self.drop()
        self.report(UnplugResult.REMOVED)

    def report(self, outcome: UnplugResult) -> None:
        self.removals.report(SERVER, f'ua-{VOLUME}', outcome)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def disks(wall: Wall) -> GuestDisks:
    return GuestDisks(wall, detach_timeout=0.3, detach_attempts=3)  # type: ignore[arg-type]


def targets(disks: list[str] | None) -> list[str]:
    return xml.list_targets(f'<domain><devices>{"".join(disks or [])}</devices></domain>')


def test_somebody_else_takes_the_name_meanwhile(wall: Wall, disks: GuestDisks) -> None:
    def take() -> None:
        wall.on_attach = lambda: None
        assert wall.live is not None
        wall.live.append('<disk><target dev="vdb"/></disk>')

    wall.on_attach = take
    assert disks.attach(SERVER, DISK) == 'vdc'
    assert targets(wall.live) == ['vda', 'vdb', 'vdc']
    assert targets(wall.config) == ['vda', 'vdc']


def test_server_stops_meanwhile(wall: Wall, disks: GuestDisks) -> None:
    def stop() -> None:
        if wall.live is not None:
            wall.live = None
            raise HypervisorError('domain is not running')

    wall.on_attach = stop
    assert disks.attach(SERVER, DISK) == 'vdb'
    assert wall.asked == [('attach', True, True), ('attach', False, True)]
    assert targets(wall.config) == ['vda', 'vdb']


def test_refusal_is_told_at_once(wall: Wall, disks: GuestDisks) -> None:
    def refuse() -> None:
        raise HypervisorError('No more available PCI slots')

    wall.on_attach = refuse
    with pytest.raises(HypervisorError, match='PCI slots'):
        disks.attach(SERVER, DISK)
    assert len(wall.asked) == 1


def test_server_that_goes_on_changing_is_given_up(wall: Wall, disks: GuestDisks) -> None:
    def flap() -> None:
        wall.live = [VDA] if wall.live is None else None
        raise HypervisorError('it changed')

    wall.on_attach = flap
    with pytest.raises(HypervisorError, match='it changed'):
        disks.attach(SERVER, DISK)
    assert len(wall.asked) == guest_module._ATTACH_TRIES


def test_transient_server_has_no_next_start(wall: Wall, disks: GuestDisks) -> None:
    wall.config = None
    assert disks.attach(SERVER, DISK) == 'vdb'
    assert wall.asked == [('attach', True, False)]
    disks.detach(SERVER, VOLUME)
    assert wall.asked[1:] == [('detach', True, False)]


def test_name_that_the_volume_has_stays_if_it_can(wall: Wall, disks: GuestDisks) -> None:
    assert wall.config is not None
    wall.config.append(xml.build_disk(DISK, 'vdf'))
    assert disks.attach(SERVER, DISK) == 'vdf'
    assert wall.asked == [('attach', True, False)]


def test_event_that_comes_before_the_answer_is_heard(wall: Wall, disks: GuestDisks) -> None:
    disks.attach(SERVER, DISK)
    patient = GuestDisks(wall, detach_timeout=60, detach_attempts=1, look_interval=60)  # type: ignore[arg-type]
    started = time.monotonic()
    patient.detach(SERVER, VOLUME)
    assert time.monotonic() - started < 10
    assert (targets(wall.live), targets(wall.config)) == (['vda'], ['vda'])
    assert wall.removals._waiting == {}


def test_lost_event_is_made_up_for(wall: Wall, disks: GuestDisks) -> None:
    disks.attach(SERVER, DISK)
    wall.on_detach = wall.drop
    watchful = GuestDisks(wall, detach_timeout=0.3, detach_attempts=3, look_interval=0.02)  # type: ignore[arg-type]
    watchful.detach(SERVER, VOLUME)
    assert targets(wall.config) == ['vda']


def test_guest_that_keeps_it_is_asked_again_and_then_left(wall: Wall, disks: GuestDisks) -> None:
    disks.attach(SERVER, DISK)
    wall.asked.clear()
    wall.on_detach = lambda: None
    with pytest.raises(DetachRefused):
        disks.detach(SERVER, VOLUME)
    assert wall.asked == [('detach', True, False)] * 3
    assert (targets(wall.live), targets(wall.config)) == (['vda', 'vdb'], ['vda', 'vdb'])


def test_guest_that_says_no_is_not_asked_again(wall: Wall, disks: GuestDisks) -> None:
    disks.attach(SERVER, DISK)
    wall.asked.clear()
    wall.on_detach = lambda: wall.report(UnplugResult.REFUSED)
    with pytest.raises(DetachRefused):
        disks.detach(SERVER, VOLUME)
    assert wall.asked == [('detach', True, False)]
    assert targets(wall.config) == ['vda', 'vdb']


def test_unplug_that_is_under_way_is_waited_for(wall: Wall, disks: GuestDisks) -> None:
    disks.attach(SERVER, DISK)

    def pend() -> None:
        wall.let_go()
        raise DetachPending('already in the process of unplug')

    wall.on_detach = pend
    disks.detach(SERVER, VOLUME)
    assert targets(wall.live) == ['vda']


@pytest.mark.parametrize('error', [DeviceNotFound('device not found'), HypervisorError('domain is not running')])
def test_let_go_before_it_was_asked(wall: Wall, disks: GuestDisks, error: HypervisorError) -> None:
    disks.attach(SERVER, DISK)

    def vanish() -> None:
        wall.drop()
        raise error

    wall.on_detach = vanish
    disks.detach(SERVER, VOLUME)
    assert targets(wall.config) == ['vda']


def test_libvirt_that_refuses_to_ask(wall: Wall, disks: GuestDisks) -> None:
    disks.attach(SERVER, DISK)

    def refuse() -> None:
        raise HypervisorError('not supported')

    wall.on_detach = refuse
    with pytest.raises(HypervisorError, match='not supported') as caught:
        disks.detach(SERVER, VOLUME)
    assert not isinstance(caught.value, DetachRefused)
    assert targets(wall.config) == ['vda', 'vdb']


def test_absent_is_success(wall: Wall, disks: GuestDisks) -> None:
    disks.detach(SERVER, VOLUME)
    disks.detach(str(uuid.uuid4()), VOLUME)
    assert wall.asked == []


@pytest.mark.parametrize(
    ('inner', 'project'),
    [
        ('<m:server xmlns:m="urn:multiattach:server:1"><project> abc </project></m:server>', 'abc'),
        ('<m:server xmlns:m="urn:multiattach:server:1"><m:project>abc</m:project></m:server>', 'abc'),
        ('<m:server xmlns:m="urn:multiattach:server:1"/>', None),
        ('<server><project>abc</project></server>', None),
        ('<m:server xmlns:m="urn:multiattach:server:1"><project>a&#10;b</project></m:server>', None),
        (f'<m:server xmlns:m="urn:multiattach:server:1"><project>{"x" * 256}</project></m:server>', None),
    ],
)
def test_the_project_that_a_server_says_it_is_of(inner: str, project: str | None) -> None:
    assert xml.find_project(f'<domain><metadata>{inner}</metadata></domain>') == project
    assert xml.find_project(f'<domain>{inner}</domain>') is None
    assert xml.find_project(None) is None
