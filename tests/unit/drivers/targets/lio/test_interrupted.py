# SPDX-License-Identifier: Apache-2.0
"""What a worker that was killed half-way left: registrations stand in the file only, and are not to be lost."""

from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Export, Grant
from multiattach.drivers.targets.lio.registrations import Nexus, write_state
from multiattach.drivers.targets.lio.target import LioTarget

from .kernel import Kernel, Killed

VOLUME = 'e86fec73-383d-4741-ab2e-6b30294ca723'
HOLDER, PEER, STRANGER = (f'iqn.2010-10.org.openstack.test:host-{number}' for number in range(3))


def grant(initiator: str) -> Grant:
    return Grant(initiator, f'user-{initiator}', 'secret')


def register(initiator: str, *, holds: bool = False) -> Nexus:
    held = {'res_holder': '1', 'res_type': '05', 'res_scope': '00'} if holds else {'res_holder': '0'}
    return Nexus({'initiator_node': initiator.lower(), 'initiator_sid': '804ee7350000', 'sa_res_key': '43969', **held})


class Bench:
    def __init__(self, folder: Path) -> None:
        self.kernel = Kernel(folder)
        self.file = folder / f'reservations-{VOLUME}'
        self.device = folder / f'volume-{VOLUME}'
        self.device.write_bytes(bytes(512))
        self.target = LioTarget(self.kernel, portal='192.0.2.1:3260', reservations_dir=folder / 'others')

    def write(self, *nexuses: Nexus) -> None:
        """Have it in the file, as an earlier life of the kernel left it."""
        self.file.write_text(write_state(nexuses))

    def admit(self, *initiators: str) -> None:
        for one in initiators:
            self.target.grant(VOLUME, str(self.device), grant(one))

    def kill(self, verb: str, path: str) -> None:
        """Have the worker killed while it makes the target."""
        self.kernel.kill_at = verb, path
        with pytest.raises(Killed):
            self.admit(HOLDER)

    def lose(self) -> None:
        """Have the kernel forget a target that it had, as it does when the machine loses its power."""
        self.admit(PEER)
        self.target._remove(self.target._group(VOLUME), VOLUME)

    def list_drafts(self) -> list[Path]:
        return list(self.file.parent.glob(f'.{self.file.name}.*'))

    def list_registered(self) -> list[tuple[str, bool]]:
        return [(one.initiator, one.is_holder) for one in self.target.read_reservations(VOLUME).registrations]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# After its storage object was made, and before it has the registrations; and before the target has all of them.
LEFT = [('make', f'/fileio_7810/volume-{VOLUME}'), ('set', '/vpd_unit_serial'), ('make', f'/acls/{PEER}')]


@pytest.mark.parametrize('left', LEFT)
def test_a_fence_takes_no_registration_but_its_own(bench: Bench, left: tuple[str, str]) -> None:
    bench.write(register(HOLDER, holds=True), register(PEER), register(STRANGER))
    bench.kill(*left)
    cut = bench.target.fence(VOLUME, STRANGER, 'user')
    assert (cut.registration, cut.left_registration) == (True, False)
    bench.admit(HOLDER, PEER)
    assert bench.list_registered() == [(HOLDER, True), (PEER, False)]


@pytest.mark.parametrize('left', LEFT)
def test_what_is_in_the_file_is_shown_and_can_be_cleared(bench: Bench, left: tuple[str, str]) -> None:
    bench.write(register(HOLDER, holds=True), register(PEER))
    bench.kill(*left)
    assert bench.list_registered() == [(HOLDER, True), (PEER, False)]
    bench.target.clear_reservations(VOLUME, PEER)
    assert bench.list_registered() == [(HOLDER, True)]
    bench.admit(HOLDER, PEER)
    assert bench.list_registered() == [(HOLDER, True)]


def test_a_target_that_was_being_removed_gives_nothing_away(bench: Bench) -> None:
    bench.write(register(HOLDER, holds=True), register(PEER))
    bench.admit(HOLDER, PEER, STRANGER)
    bench.kernel.kill_at = 'remove', f'/acls/{HOLDER}'
    with pytest.raises(Killed):
        bench.target._remove(bench.target._group(VOLUME), VOLUME)
    bench.target.fence(VOLUME, STRANGER, 'user')
    bench.admit(HOLDER, PEER)
    assert bench.list_registered() == [(HOLDER, True), (PEER, False)]


@pytest.mark.parametrize('alone', [False, True])
def test_who_is_cut_off_is_so_whatever_is_left_of_the_file(bench: Bench, alone: bool) -> None:
    """After a loss of power in the middle of the kernel's write nobody is let in, which is no reason not to say so."""
    bench.lose()
    bench.file.write_text('')
    with pytest.raises(TargetError, match='cleared'):
        bench.admit(PEER)
    assert not bench.target.fence(VOLUME, HOLDER, 'user', alone=alone).is_left
    if not alone:
        with pytest.raises(TargetError, match='cleared'):
            bench.admit(PEER)


def test_what_was_left_in_the_file_alone_is_shown_and_ends(bench: Bench) -> None:
    """The entry went, and then the worker: its registration would be in force again after the next boot."""
    bench.write(register(HOLDER, holds=True), register(PEER))
    bench.admit(HOLDER, PEER)
    bench.kernel.kill_at = 'remove', f'/acls/{PEER}'
    wanted = Export(VOLUME, str(bench.device), (grant(HOLDER),))
    with pytest.raises(Killed):
        bench.target.ensure_export(wanted)
    state = bench.target.list_exports()[VOLUME]
    assert (state.initiators, state.registered) == ((HOLDER,), (HOLDER, PEER))
    bench.target.ensure_export(wanted)
    assert bench.target.list_exports()[VOLUME].registered == (HOLDER,)
    bench.lose()
    assert bench.list_registered() == [(HOLDER, True)]
