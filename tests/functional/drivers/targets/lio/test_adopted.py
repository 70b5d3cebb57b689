# SPDX-License-Identifier: Apache-2.0
"""The driver with targets that Cinder made: whoever it let in goes on, and others come beside them."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Export, Grant
from multiattach.drivers.targets.lio.configfs import ROOT
from multiattach.drivers.targets.lio.target import LioTarget
from tests.functional.drivers.stores import Store
from tests.functional.drivers.targets.tgt.conftest import Volume
from tests.functional.drivers.targets.tgt.initiator import BLOCK, REGISTER, RESERVE, IoFailed, LoginRefused, Session
from tests.functional.takeover import lio_targets

pytestmark = [
    pytest.mark.kernel_target,
    pytest.mark.slow,
    pytest.mark.skipif(lio_targets.PROGRAMS_VARIABLE not in os.environ, reason='there is no Cinder'),
]
ACCOUNT = 'CinderUser', 'CinderSecret0123'
_LUN = 0


class Adopted:
    """A volume whose target Cinder made, with initiators that it let in: they have one account."""

    def __init__(self, target: LioTarget, volume: Volume) -> None:
        self.target = target
        self.volume = volume
        lio_targets.make_target(target._portal, volume.id, volume.device, ACCOUNT)
        self.info = target._info(volume.id)

    def admit(self, *numbers: int) -> list[Grant]:
        names = [f'iqn.1994-05.com.example:Old-{number}' for number in numbers]
        lio_targets.admit(self.volume.id, ACCOUNT, *names)
        return [Grant(name, *ACCOUNT, luns=(_LUN,)) for name in names]

    def login(self, grant: Grant, *, comes_back: bool = False) -> Session:
        return self.volume.login(self.info, grant, lun=grant.luns[0], comes_back=comes_back)

    def let_in(self, number: int) -> Grant:
        """Grant the volume to one that comes new."""
        grant = self.volume.grant(number)
        assert self.target.grant(self.volume.id, self.volume.device, grant) == self.info
        return grant

    @property
    def serial(self) -> str:
        place = self.target._stores.find(self.volume.id)
        assert place is not None
        return self.target._stores.read_serial(place)


def data(number: int) -> bytes:
    return bytes([number]) * BLOCK


def list_storage(volume: Volume) -> list[Path]:
    return [place for folder in (ROOT / 'core').iterdir() for place in folder.glob(f'*{volume.id}')]


@pytest.fixture
def adopted(target: LioTarget, volume: Volume) -> Adopted:
    return Adopted(target, volume)


def test_old_and_new_share_the_volume(adopted: Adopted) -> None:
    (old,) = adopted.admit(1)
    before = adopted.serial
    with adopted.login(old) as first:
        first.write(1, data(1))
        new = adopted.let_in(1)
        with adopted.login(new) as second:
            assert second.read(1) == data(1)
            second.write(2, data(2))
        assert first.read(2) == data(2)
        state = adopted.target.list_exports()[adopted.volume.id]
        assert state.is_foreign
        assert [(one.lun, one.device, one.online) for one in state.luns] == [(_LUN, adopted.volume.device, True)]
        assert {*state.initiators} == {old.initiator.lower(), new.initiator}
        assert adopted.serial == before  # by which the first one knows it
    with pytest.raises(LoginRefused):
        adopted.volume.login(adopted.info, old, initiator='iqn.1994-05.com.example:stranger')


def test_what_an_old_one_is_granted_again_keeps_its_number(adopted: Adopted) -> None:
    (old,) = adopted.admit(1)
    with adopted.login(old) as session:
        adopted.target.ensure_export(Export(adopted.volume.id, adopted.volume.device, (old,)))
        session.write(1, data(1))
        # By the name that the database has, capitals included.
        assert adopted.target.list_exports()[adopted.volume.id].initiators == (old.initiator,)
        reader = dataclasses.replace(old, mode='ro')
        adopted.target.grant(adopted.volume.id, adopted.volume.device, reader)
        with pytest.raises(IoFailed, match='WRITE_PROTECTED'):
            session.write(1, data(2))
    # Another server of the same host knows it by the driver's number.
    adopted.target.grant(adopted.volume.id, adopted.volume.device, dataclasses.replace(old, luns=(_LUN, 1)))
    for lun in (_LUN, 1):
        with adopted.volume.login(adopted.info, old, lun=lun) as session:
            assert session.read(1) == data(1)


def test_when_the_last_old_one_has_gone_it_is_made_anew(adopted: Adopted) -> None:
    old, second = adopted.admit(1, 2)
    new = adopted.let_in(1)
    adopted.target.revoke(adopted.volume.id, old.initiator, '')
    adopted.let_in(2)
    assert adopted.target.list_exports()[adopted.volume.id].is_foreign
    with adopted.login(second) as session:
        session.write(1, data(1))
    adopted.target.revoke(adopted.volume.id, second.initiator, second.username)
    with adopted.login(new) as session:
        adopted.let_in(3)
        session.write(2, data(2))  # nobody takes from it what it knows the volume by
        assert adopted.target.list_exports()[adopted.volume.id].is_foreign
    adopted.let_in(4)
    state = adopted.target.list_exports()[adopted.volume.id]
    assert not state.is_foreign
    assert state.luns[0].scsi_id == adopted.volume.id.replace('-', '')
    assert len(state.initiators) == 4
    with adopted.login(new) as session:
        assert session.read(1) == data(1)
    assert len(list_storage(adopted.volume)) == 1


def test_one_that_nobody_uses_is_made_anew(adopted: Adopted) -> None:
    new = adopted.let_in(1)
    assert not adopted.target.list_exports()[adopted.volume.id].is_foreign
    adopted.login(new).close()


def test_one_that_is_made_anew_keeps_the_number_of_old_ones(adopted: Adopted) -> None:
    """The machine lost its power, and nobody restored what Cinder made."""
    (old,) = adopted.admit(1)
    new = adopted.let_in(1)
    with adopted.login(old) as session:
        session.write(1, data(1))
    adopted.target._remove(adopted.target._group(adopted.volume.id), adopted.volume.id)
    assert list_storage(adopted.volume) == []
    for grant in (old, new):
        adopted.target.grant(adopted.volume.id, adopted.volume.device, grant)
        with adopted.login(grant) as session:
            assert session.read(1) == data(1)


def test_a_fence_cuts_one_and_no_other(adopted: Adopted) -> None:
    one, two = adopted.admit(1, 2)
    with adopted.login(two) as stays, adopted.login(one) as session:
        cut = adopted.target.fence(adopted.volume.id, one.initiator, '')
        assert (cut.acl, len(cut.sessions), cut.whole, cut.is_left) == (True, 1, False, False)
        with pytest.raises(IoFailed):
            session.read(0)
        stays.write(1, data(1))
    with pytest.raises(LoginRefused):
        adopted.login(one)
    adopted.login(two).close()


def test_a_fence_ends_what_an_old_one_has_reserved(adopted: Adopted) -> None:
    one, two = adopted.admit(1, 2)
    with adopted.login(one) as holder, adopted.login(two, comes_back=True) as other:
        holder.reserve_out(REGISTER, 0, 0xA1)
        holder.reserve_out(RESERVE, 0xA1, kind=1)
        with pytest.raises(IoFailed, match='RESERVATION'):
            other.write(1, data(1))
        found = adopted.target.read_reservations(adopted.volume.id)
        assert [(item.initiator, item.is_holder) for item in found.registrations] == [(one.initiator.lower(), True)]
        cut = adopted.target.fence(adopted.volume.id, one.initiator, '')
        assert (cut.registration, cut.is_left) == (True, False)
        other.write(1, data(1))
    assert adopted.target.read_reservations(adopted.volume.id).registrations == ()


def test_a_reservation_of_registrants_goes_on_without_the_one_that_held_it(adopted: Adopted) -> None:
    holder, other, outsider = adopted.admit(0, 1, 2)
    with adopted.login(holder) as one, adopted.login(other, comes_back=True) as two:
        one.reserve_out(REGISTER, 0, 0xA1)
        two.reserve_out(REGISTER, 0, 0xA2)
        one.reserve_out(RESERVE, 0xA1, kind=5)
        assert not adopted.target.fence(adopted.volume.id, holder.initiator, '').is_left
        two.write(1, data(1))
    with adopted.login(outsider) as session, pytest.raises(IoFailed, match='RESERVATION'):
        session.write(1, data(2))


@pytest.mark.parametrize('left', ['all', 'storage alone', 'no link', 'an entry without its number'])
def test_remove_leaves_nothing(adopted: Adopted, left: str) -> None:
    (old,) = adopted.admit(1)
    group = adopted.target._group(adopted.volume.id)
    if left == 'storage alone':
        group.remove()
    elif left == 'no link':
        group.shut_out(old.initiator)
        for link in adopted.target._configfs.list_links(group._lun):
            os.unlink(link)
    elif left == 'an entry without its number':
        entry = group._entry(old.initiator) / 'lun_0'
        for link in adopted.target._configfs.list_links(entry):
            os.unlink(link)
    assert list_storage(adopted.volume)
    adopted.target.remove_export(adopted.volume.id)
    assert adopted.target.list_exports() == {}
    assert not (ROOT / 'iscsi' / adopted.info.iqn).exists()
    assert list_storage(adopted.volume) == []


@pytest.mark.parametrize('left', ['storage alone', 'no link', 'no entry'])
def test_half_of_one_is_made_anew(adopted: Adopted, left: str) -> None:
    group = adopted.target._group(adopted.volume.id)
    if left == 'storage alone':
        group.remove()
    elif left == 'no link':
        for link in adopted.target._configfs.list_links(group._lun):
            os.unlink(link)
    new = adopted.let_in(1)
    adopted.login(new).close()
    assert len(list_storage(adopted.volume)) == 1


def test_cinder_has_it_again(adopted: Adopted) -> None:
    """The way back: what Cinder then does at the target succeeds."""
    (old,) = adopted.admit(1)
    new = adopted.let_in(1)
    adopted.target.revoke(adopted.volume.id, new.initiator, new.username)
    with adopted.login(old) as session:
        session.write(1, data(1))
        (other,) = adopted.admit(2)
        adopted.login(other).close()
        lio_targets.run(['delete-initiator', adopted.info.iqn, other.initiator])
        with pytest.raises(LoginRefused):
            adopted.login(other)
        assert session.read(1) == data(1)
    lio_targets.run(['delete', adopted.info.iqn])
    assert list_storage(adopted.volume) == []


def test_an_extension_is_shown(adopted: Adopted) -> None:
    (old,) = adopted.admit(1)
    with adopted.login(old, comes_back=True) as session:
        adopted.volume.grow()
        adopted.target.extend(adopted.volume.id, adopted.volume.device)
        session.write(0, data(1))
        assert session.capacity() == adopted.volume.size


def test_more_registrations_than_the_kernel_shows_are_told_as_unknown(
    adopted: Adopted, make_volume: Callable[[], Volume], store: Store
) -> None:
    """It writes them down for its own targets only."""
    for number, grant in enumerate(adopted.admit(*range(48))):
        with adopted.login(grant) as session:
            session.reserve_out(REGISTER, 0, number + 1)
    with pytest.raises(TargetError, match='has more'):
        adopted.target.read_reservations(adopted.volume.id)
