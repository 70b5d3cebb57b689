# SPDX-License-Identifier: Apache-2.0
"""Targets that Cinder made, of which only folders are there."""

from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Export, Grant

from .test_interrupted import HOLDER, PEER, STRANGER, VOLUME, Bench, grant

SECOND = '192.0.2.2:3260'
SERIAL = '01234567-89ab-cdef-0123-456789abcdef'


class Adopted(Bench):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        kernel, self.iqn = self.kernel, self.target.iqn(VOLUME)
        kernel.make(kernel.root / 'core' / 'fileio_0')
        self.place = kernel.root / 'core' / 'fileio_0' / self.iqn
        kernel.make(self.place)
        for name, value in {'udev_path': str(self.device), 'enable': '1', 'wwn/vpd_unit_serial': SERIAL}.items():
            (self.place / name).write_text(value)
        self.tpg = kernel.root / 'iscsi' / self.iqn / 'tpgt_1'
        kernel.make(self.tpg.parent)
        kernel.make(self.tpg)
        kernel.make(self.tpg / 'lun' / 'lun_0')
        kernel.link(self.tpg / 'lun' / 'lun_0' / 'x', self.place)
        (self.tpg / 'enable').write_text('1')
        for portal in ('192.0.2.1:3260', SECOND):
            kernel.make(self.tpg / 'np' / portal)

    def let_in(self, *names: str) -> None:
        for name in names:
            entry = self.tpg / 'acls' / name
            self.kernel.make(entry)
            self.kernel.make(entry / 'lun_0')
            self.kernel.link(entry / 'lun_0' / 'y', self.tpg / 'lun' / 'lun_0')
            (entry / 'auth' / 'userid').write_text('cinder')
            (entry / 'auth' / 'password').write_text('secret')

    def register(self, *names: str, kind: str = 'Write Exclusive Access, Registrants Only', fill: int = 0) -> None:
        pr = self.place / 'pr'
        lines = [f'iSCSI Node: {name},i,0x804ee7350000 Key: 0x00000000000000a1 PRgen: 0x00000001\n' for name in names]
        lines += [f'iSCSI Node: {names[0]},i,0x{n:012x} Key: 0x00000000000000a1 PRgen: 0x00000001\n' for n in range(fill)]
        (pr / 'res_pr_registered_i_pts').write_text('SPC-3 PR Registrations:\n' + ''.join(lines))
        (pr / 'res_holder').write_text(f'SPC-3 Reservation: iSCSI Initiator: {names[0]},i,0x804ee7350000\n')
        (pr / 'res_pr_type').write_text(f'SPC-3 Reservation Type: {kind}\n')
        (pr / 'res_pr_generation').write_text('0x00000001')

    @property
    def serial(self) -> str:
        place = self.target._stores.find(VOLUME)
        return self.target._stores.read_serial(place)

    @property
    def portals(self):
        return sorted(p.name for p in (self.tpg / 'np').iterdir())


@pytest.fixture
def adopted(tmp_path: Path) -> Adopted:
    return Adopted(tmp_path)


def test_grant(adopted: Adopted) -> None:
    adopted.let_in(HOLDER)
    adopted.admit(PEER)
    assert adopted.serial == SERIAL
    assert adopted.portals == ['192.0.2.1:3260', SECOND]


def test_fence_hands_over(adopted: Adopted) -> None:
    adopted.let_in(HOLDER, PEER)
    adopted.register(HOLDER, PEER)
    adopted.target.fence(VOLUME, HOLDER, '')
    print(adopted.target.list_exports()[VOLUME], adopted.target._group(VOLUME).list_luns(PEER))
    assert adopted.target._group(VOLUME).list_luns(PEER) == [0]
    assert adopted.serial == SERIAL
    assert adopted.portals == ['192.0.2.1:3260', SECOND]


def test_clear(adopted: Adopted) -> None:
    adopted.let_in(HOLDER, PEER)
    adopted.register(HOLDER, PEER)
    adopted.target.clear_reservations(VOLUME, None)
    assert adopted.target._group(VOLUME).list_luns(PEER) == [0]
    assert adopted.serial == SERIAL
    assert adopted.portals == ['192.0.2.1:3260', SECOND]


@pytest.mark.parametrize('alone', [False, True])
def test_fence_of_one_who_fills_the_page(adopted: Adopted, alone: bool) -> None:
    adopted.let_in(HOLDER, PEER)
    adopted.register(HOLDER, PEER, fill=48)
    cut = adopted.target.fence(VOLUME, HOLDER, '', alone=alone)
    assert not cut.is_left


@pytest.mark.parametrize('luns', [(), (0,)])
def test_entry_without_mapping(adopted: Adopted, luns) -> None:
    adopted.let_in(HOLDER)
    adopted.target.ensure_export(Export(VOLUME, str(adopted.device), (Grant(HOLDER, 'cinder', 'secret', luns=(0,)),)))
    assert adopted.target._group(VOLUME).list_luns(HOLDER) == [0]
