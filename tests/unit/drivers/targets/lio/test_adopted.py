# SPDX-License-Identifier: Apache-2.0
"""Targets that Cinder made, with more registrations than the kernel shows: it writes none of them down."""

from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError

from .test_interrupted import HOLDER, PEER, STRANGER, VOLUME, Bench

_SERIAL = '01234567-89ab-cdef-0123-456789abcdef'


class Adopted(Bench):
    """Several initiators that Cinder let in; one of them has registered again and again, with another session each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        make, root, iqn = self.kernel.make, self.kernel.root, self.target.iqn(VOLUME)
        self.place, group = root / 'core' / 'fileio_0' / iqn, root / 'iscsi' / iqn / 'tpgt_1'
        unit = group / 'lun' / 'lun_0'
        for one in (self.place.parent, self.place, group.parent, group, unit, group / 'np' / '192.0.2.1:3260'):
            make(one)
        for name, value in {'udev_path': str(self.device), 'enable': '1', 'wwn/vpd_unit_serial': _SERIAL}.items():
            (self.place / name).write_text(value)
        (group / 'enable').write_text('1')
        self.kernel.link(unit / 'a', self.place)
        for name in (HOLDER, PEER, STRANGER):
            make(entry := group / 'acls' / name)
            make(entry / 'lun_0')
            self.kernel.link(entry / 'lun_0' / 'b', unit)

    def register(self, *names: str, holder: str) -> None:
        shown = ((name, f'{number:012x}') for number, name in enumerate(names))
        lines = (f'iSCSI Node: {name},i,0x{isid} Key: 0x00000000000000a1 PRgen: 0x00000001\n' for name, isid in shown)
        told = {
            'res_pr_registered_i_pts': f'SPC-3 PR Registrations:\n{"".join(lines)}',
            'res_holder': f'SPC-3 Reservation: iSCSI Initiator: {holder},i,0x{names.index(holder):012x}\n',
            'res_pr_type': 'SPC-3 Reservation Type: Write Exclusive Access, Registrants Only\n',
        }
        for name, text in told.items():
            (self.place / 'pr' / name).write_text(text)

    def list_initiators(self) -> tuple[str, ...]:
        return self.target.list_exports()[VOLUME].initiators


@pytest.fixture
def adopted(tmp_path: Path) -> Adopted:
    return Adopted(tmp_path)


def test_one_that_fills_the_page_is_cut_off(adopted: Adopted) -> None:
    adopted.register(PEER, *[HOLDER] * 48, holder=PEER)
    with pytest.raises(TargetError, match='has more'):
        adopted.target.read_reservations(VOLUME)
    cut = adopted.target.fence(VOLUME, HOLDER, '')
    assert (cut.acl, cut.registration, cut.is_left) == (True, True, False)
    assert adopted.list_initiators() == (PEER, STRANGER)
    assert adopted.list_registered() == [(PEER, True)]


def test_what_it_held_goes_on_with_another(adopted: Adopted) -> None:
    adopted.register(PEER, *[HOLDER] * 48, holder=HOLDER)
    assert not adopted.target.fence(VOLUME, HOLDER, '').is_left
    assert adopted.list_initiators() == (PEER, STRANGER)
    assert adopted.list_registered() == [(PEER, True)]


def test_the_last_one_is_cut_off_as_well(adopted: Adopted) -> None:
    adopted.register(*[HOLDER] * 48, holder=HOLDER)
    assert not adopted.target.fence(VOLUME, HOLDER, '', alone=True).is_left
    assert adopted.target.list_exports() == {}


def test_all_of_them_can_be_cleared(adopted: Adopted) -> None:
    adopted.register(PEER, *[HOLDER] * 48, holder=PEER)
    assert adopted.target.clear_reservations(VOLUME, None).registrations == ()
    assert adopted.list_initiators() == (HOLDER, PEER, STRANGER)
