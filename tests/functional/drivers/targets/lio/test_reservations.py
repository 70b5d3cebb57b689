# SPDX-License-Identifier: Apache-2.0
"""SCSI-3 persistent reservations on the kernel's target: who is kept off, and what the kernel's next life knows."""

import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Export, Grant, Registration, Reservations, TargetInfo
from multiattach.drivers.targets.lio import registrations
from multiattach.drivers.targets.lio.target import LioTarget
from tests.functional.drivers.targets.tgt.conftest import Volume
from tests.functional.drivers.targets.tgt.initiator import (
    BLOCK,
    PREEMPT,
    REGISTER,
    REGISTER_AND_IGNORE,
    RESERVE,
    IoFailed,
    LoginRefused,
    Session,
)

pytestmark = [pytest.mark.kernel_target, pytest.mark.slow]

KINDS = (1, 3, 5, 6, 7, 8)
WRITE_EXCLUSIVE, EXCLUSIVE = (1, 5, 7), (3, 6, 8)
FOR_ALL = (7, 8)
KEYS = [0xABC0, 0xABC1, 0xABC2]


def data(number: int) -> bytes:
    return bytes([number]) * BLOCK


def is_let(act: Callable[[], object]) -> bool:
    try:
        act()
    except IoFailed as exc:
        if 'RESERVATION CONFLICT' not in str(exc):
            raise
        return False
    return True


@dataclasses.dataclass
class Cluster:
    """Initiators of one volume; the first two are registered, and the first reserves."""

    target: LioTarget
    volume: Volume
    grants: list[Grant]
    info: TargetInfo

    def login(self, number: int) -> Session:
        # The same nexus each time, as a kernel's session that comes back.
        return self.volume.login(self.info, self.grants[number], isid=number + 1)

    def register(self, *numbers: int, aptpl: bool = False) -> None:
        for number in numbers:
            with self.login(number) as session:
                session.reserve_out(REGISTER, 0, KEYS[number], aptpl=aptpl)

    def reserve(self, number: int, kind: int) -> None:
        with self.login(number) as session:
            session.reserve_out(RESERVE, KEYS[number], kind=kind)

    def may_write(self, number: int) -> bool:
        with self.login(number) as session:
            return is_let(lambda: session.write(number, data(number)))

    def may_read(self, number: int) -> bool:
        with self.login(number) as session:
            return is_let(lambda: session.read(0))

    def lose(self) -> None:
        """Have the kernel forget the target, as it does when the machine loses its power."""
        self.target._remove(self.target._group(self.volume.id), self.volume.id)
        assert self.target.list_exports() == {}

    @property
    def state(self) -> list[registrations.Nexus]:
        return self.target._memory.read(self.volume.id)

    def expected(self, kind: int | None, *numbers: int, holder: int = 0) -> tuple[int | None, tuple[Registration, ...]]:
        return kind, tuple(
            Registration(
                self.grants[number].initiator,
                f'{KEYS[number]:016x}',
                kind is not None and (kind in FOR_ALL or number == holder),
            )
            for number in numbers
        )


def facts(found: Reservations) -> tuple[int | None, tuple[Registration, ...]]:
    return found.kind, found.registrations


@pytest.fixture
def cluster(target: LioTarget, volume: Volume) -> Cluster:
    grants = [volume.grant(number) for number in range(3)]
    return Cluster(target, volume, grants, volume.grant_all(target, grants))  # type: ignore[arg-type]


@pytest.mark.parametrize('kind', KINDS)
def test_it_is_told_and_kept_over_the_loss_of_everything(cluster: Cluster, kind: int) -> None:
    cluster.register(0, 1)
    cluster.reserve(0, kind)
    expected = cluster.expected(kind, 0, 1)
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == expected
    rights = [(cluster.may_write(number), cluster.may_read(number)) for number in range(3)]
    assert rights[0] == (True, True)
    assert rights[1][0] == (kind not in (1, 3))
    assert rights[2] == (False, kind in WRITE_EXCLUSIVE)
    cluster.lose()
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == expected
    # Whoever is not registered comes first: it is kept off before the others are back.
    for number in (2, 1, 0):
        cluster.target.grant(cluster.volume.id, cluster.volume.device, cluster.grants[number])
        assert (cluster.may_write(number), cluster.may_read(number)) == rights[number]
        if number:
            with pytest.raises(LoginRefused):
                cluster.login(0)
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == expected
    assert registrations.tell(0, cluster.state).registrations == expected[1]


def test_another_machine_takes_it_over(cluster: Cluster) -> None:
    cluster.register(0)
    cluster.reserve(0, 5)
    link = Path('/var/target/pr') / f'aptpl_{registrations_serial(cluster.volume.id)}'
    assert link.is_symlink()
    is_beside = link.readlink().parent == Path(cluster.volume.device).parent
    cluster.lose()
    if is_beside:  # of a block device it is in a folder that both have
        link.unlink()
    cluster.target.ensure_export(Export(cluster.volume.id, cluster.volume.device, tuple(cluster.grants)))
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == cluster.expected(5, 0)
    assert not cluster.may_write(2)
    assert link.is_symlink()


def registrations_serial(volume_id: str) -> str:
    digits = volume_id.replace('-', '')
    return f'{digits[7:]}-{digits[:7]}'


@pytest.mark.parametrize('kind', KINDS)
def test_a_fence_ends_the_registration_and_keeps_off_whom_it_kept_off(cluster: Cluster, kind: int) -> None:
    cluster.register(0, 1)
    cluster.reserve(0, kind)
    who = cluster.grants[0]
    cut = cluster.target.fence(cluster.volume.id, who.initiator, who.username)
    assert (cut.registration, cut.left_registration, cut.is_left) == (True, False, False)
    goes_on = kind if kind not in (1, 3) else None
    expected = cluster.expected(goes_on, 1, holder=1)
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == expected
    assert [one.initiator for one in cluster.state] == [cluster.grants[1].initiator]
    assert cluster.may_write(1)
    assert cluster.may_write(2) is (goes_on is None)
    with pytest.raises(LoginRefused):
        cluster.login(0)
    # Attached anew it is nobody: also after the loss of everything.
    cluster.target.grant(cluster.volume.id, cluster.volume.device, who)
    assert cluster.may_write(0) is (goes_on is None)
    cluster.lose()
    for grant in cluster.grants:
        cluster.target.grant(cluster.volume.id, cluster.volume.device, grant)
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == expected


def test_a_fence_of_one_that_only_registered_disturbs_nobody(cluster: Cluster) -> None:
    cluster.register(0, 1)
    cluster.reserve(0, 5)
    who = cluster.grants[1]
    with cluster.login(0) as holder:
        assert cluster.target.fence(cluster.volume.id, who.initiator, who.username).registration
        holder.write(0, data(1))
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == cluster.expected(5, 0)
    assert [one.initiator for one in cluster.state] == [cluster.grants[0].initiator]


def test_a_fence_while_there_is_no_target_is_kept_in_mind(cluster: Cluster) -> None:
    cluster.register(0, 1)
    cluster.reserve(0, 5)
    cluster.lose()
    who = cluster.grants[0]
    assert cluster.target.fence(cluster.volume.id, who.initiator, who.username).registration
    cluster.target.ensure_export(Export(cluster.volume.id, cluster.volume.device, tuple(cluster.grants)))
    found = cluster.target.read_reservations(cluster.volume.id)
    assert not found.has(who.initiator)
    assert not cluster.may_write(2)


def test_the_survivor_preempts(cluster: Cluster) -> None:
    cluster.register(0, 1)
    cluster.reserve(0, 5)
    with cluster.login(1) as survivor:
        survivor.reserve_out(PREEMPT, KEYS[1], KEYS[0], kind=5)
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == cluster.expected(5, 1, holder=1)
    assert not cluster.may_write(0)
    cluster.lose()
    for grant in cluster.grants:
        cluster.target.grant(cluster.volume.id, cluster.volume.device, grant)
    assert not cluster.may_write(0)
    assert cluster.may_write(1)


def test_clear_ends_one_or_all(cluster: Cluster) -> None:
    cluster.register(0, 1)
    cluster.reserve(0, 6)
    volume_id = cluster.volume.id
    left = cluster.target.clear_reservations(volume_id, cluster.grants[0].initiator)
    assert facts(left) == cluster.expected(6, 1, holder=1)
    assert facts(cluster.target.clear_reservations(volume_id, 'iqn.2010-10.org.openstack.test:x')) == facts(left)
    assert not cluster.may_write(0)
    assert facts(cluster.target.clear_reservations(volume_id, None)) == (None, ())
    assert all(cluster.may_write(number) for number in range(3))
    assert cluster.state == []
    cluster.lose()
    assert facts(cluster.target.clear_reservations(volume_id, None)) == (None, ())


def test_sessions_come_back_after_a_clear(cluster: Cluster) -> None:
    cluster.register(0)
    with cluster.volume.login(cluster.info, cluster.grants[1], comes_back=True, isid=2) as session:
        session.write(0, data(1))
        cluster.target.clear_reservations(cluster.volume.id, None)
        assert session.read(0) == data(1)


@pytest.mark.parametrize('rest', ['', 'PR_REG_START: 0\ninitiator_fabric=iSCSI\ninitiator_node=iqn.x:y\n'])
def test_nobody_is_let_in_by_half_a_file_until_it_is_cleared(cluster: Cluster, rest: str) -> None:
    """The kernel writes it in place: a loss of power may have come between."""
    cluster.register(0)
    cluster.lose()
    link = Path('/var/target/pr') / f'aptpl_{registrations_serial(cluster.volume.id)}'
    link.write_text(rest)
    with pytest.raises(TargetError, match='cleared'):
        cluster.target.grant(cluster.volume.id, cluster.volume.device, cluster.grants[0])
    assert cluster.target.list_exports() == {}
    cluster.target.clear_reservations(cluster.volume.id, None)
    cluster.target.grant(cluster.volume.id, cluster.volume.device, cluster.grants[0])
    assert cluster.may_write(0)


def test_more_than_the_kernel_shows(target: LioTarget, volume: Volume) -> None:
    grants = [volume.grant(number) for number in range(45)]
    info = volume.grant_all(target, grants)  # type: ignore[arg-type]
    for number, grant in enumerate(grants):
        with volume.login(info, grant) as session:
            session.reserve_out(REGISTER, 0, number + 1)
    found = target.read_reservations(volume.id)
    assert {one.initiator for one in found.registrations} == {grant.initiator for grant in grants}
    for grant in grants[:3]:
        assert target.fence(volume.id, grant.initiator, grant.username).registration
    found = target.read_reservations(volume.id)
    assert {one.initiator for one in found.registrations} == {grant.initiator for grant in grants[3:]}
    assert len(target._memory.read(volume.id)) == 42


def test_what_others_register_meanwhile_is_not_lost(cluster: Cluster) -> None:
    """The kernel and the driver write the same file."""
    stop = threading.Event()

    def register_on() -> None:
        with cluster.volume.login(cluster.info, cluster.grants[1], isid=2, comes_back=True) as session:
            key = 0
            while not stop.is_set():
                key += 1
                session.reserve_out(REGISTER_AND_IGNORE, 0, key)  # it may have to be sent twice

    other = threading.Thread(target=register_on)
    other.start()
    who = cluster.grants[0]
    try:
        for _ in range(15):
            cluster.register(0)
            assert cluster.target.fence(cluster.volume.id, who.initiator, who.username).registration
            assert not cluster.target.read_reservations(cluster.volume.id).has(who.initiator)
            cluster.target.grant(cluster.volume.id, cluster.volume.device, who)
    finally:
        stop.set()
        other.join()
    found = cluster.target.read_reservations(cluster.volume.id)
    assert registrations.tell(found.generation, cluster.state) == found


def test_nothing_is_left_of_a_volume(cluster: Cluster) -> None:
    cluster.register(0)
    place = cluster.target._stores.find(cluster.volume.id)
    assert place is not None
    link = Path('/var/target/pr') / f'aptpl_{registrations_serial(cluster.volume.id)}'
    file = link.readlink()
    assert file.stat().st_mode & 0o077 == 0
    cluster.target.remove_export(cluster.volume.id)
    assert not os.path.lexists(link)
    assert not file.exists()
    assert not place.exists()
    assert facts(cluster.target.read_reservations(cluster.volume.id)) == (None, ())
