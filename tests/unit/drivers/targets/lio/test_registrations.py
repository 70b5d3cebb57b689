# SPDX-License-Identifier: Apache-2.0
"""Registrations as Linux 6.1 writes and shows them; the texts were copied from it."""

import pytest

from multiattach.domain.connection import wwn
from multiattach.drivers.errors import TargetRequestInvalid
from multiattach.drivers.targets.base import Registration, Reservations
from multiattach.drivers.targets.lio import identity, registrations
from multiattach.drivers.targets.lio.registrations import TornState

VOLUME = 'e86fec73-383d-4741-ab2e-6b30294ca723'
IQN = f'iqn.2010-10.org.openstack:volume-{VOLUME}'
ONE, TWO = 'iqn.2010-10.org.openstack.test:host-1', 'iqn.2010-10.org.openstack.test:host-2'
FILE = f"""\
PR_REG_START: 0
initiator_fabric=iSCSI
initiator_node={ONE}
initiator_sid=804ee7350000
sa_res_key=43969
res_holder=1
res_type=08
res_scope=00
res_all_tg_pt=0
mapped_lun=1
target_fabric=iSCSI
target_node={IQN}
tpgt=1
port_rtpi=1
target_lun=1
PR_REG_END: 0
PR_REG_START: 1
initiator_fabric=iSCSI
initiator_node={TWO}
sa_res_key=43970
res_holder=0
res_all_tg_pt=0
mapped_lun=1
target_fabric=iSCSI
target_node={IQN}
tpgt=1
port_rtpi=1
target_lun=1
PR_REG_END: 1
"""
REGISTERED = f"""\
SPC-3 PR Registrations:
iSCSI Node: {ONE},i,0x804ee7350000 Key: 0x000000000000abc1 PRgen: 0x00000000
iSCSI Node: {TWO} Key: 0x000000000000abc2 PRgen: 0x00000001
"""
HOLDER = f'SPC-3 Reservation: iSCSI Initiator: {ONE},i,0x804ee7350000\n'
NAMES = {
    1: 'Write Exclusive Access',
    3: 'Exclusive Access',
    5: 'Write Exclusive Access, Registrants Only',
    6: 'Exclusive Access, Registrants Only',
    7: 'Write Exclusive Access, All Registrants',
    8: 'Exclusive Access, All Registrants',
}


def hold(kind: int) -> str:
    return FILE.replace('res_type=08', f'res_type={kind:02x}')


def test_the_file_is_read_and_written_as_the_kernel_does() -> None:
    assert registrations.write_state(registrations.parse_state(FILE)) == FILE
    assert registrations.parse_state('No Registrations or Reservations\n\0') == []
    assert registrations.parse_state(registrations.write_state([])) == []


def test_what_is_cut_short_within_a_registration_is_not_taken_for_less() -> None:
    for end in range(len(FILE) - 1):
        if not FILE[:end].rstrip().endswith('PR_REG_END: 0'):
            with pytest.raises(TornState):
                registrations.parse_state(FILE[:end])


def test_the_kernel_is_given_a_type_that_it_can_read() -> None:
    """It writes two hex digits and reads a number of C: 08 would be none."""
    told = registrations.parse_state(FILE)[0].tell()
    assert ',res_type=8,' in told
    assert '\n' not in told


@pytest.mark.parametrize('kind', NAMES)
def test_what_the_kernel_shows_is_what_it_wrote(kind: int) -> None:
    shown = registrations.parse_shown(REGISTERED, HOLDER, f'SPC-3 Reservation Type: {NAMES[kind]}\n', '0x00000002')
    assert shown.reservations == registrations.tell(2, registrations.parse_state(hold(kind)))
    assert [one.is_holder for one in shown.reservations.registrations] == [True, kind in (7, 8)]
    assert shown.is_whole
    described = registrations.describe(shown, IQN)
    assert registrations.write_state(described) == hold(kind)


def test_nobody_is_registered() -> None:
    none = 'No SPC-3 Reservation holder\n'
    shown = registrations.parse_shown('SPC-3 PR Registrations:\nNone\n', none, none, '0x00000000')
    assert shown.reservations == Reservations()


def test_a_page_that_is_full_is_not_all() -> None:
    line = REGISTERED.splitlines()[1] + '\n'
    shown = registrations.parse_shown('SPC-3 PR Registrations:\n' + line * 36, HOLDER, '', '1')
    assert not shown.is_whole


@pytest.mark.parametrize('kind', NAMES)
def test_a_reservation_for_registrants_goes_on(kind: int) -> None:
    nexuses = registrations.parse_state(hold(kind))
    left = registrations.without(nexuses, [ONE])
    goes_on = kind in registrations.FOR_REGISTRANTS
    assert registrations.tell(0, left) == Reservations(
        0, kind if goes_on else None, (Registration(TWO, '000000000000abc2', goes_on),)
    )
    assert registrations.hands_over(nexuses, ONE) is goes_on
    assert not registrations.hands_over(nexuses, TWO)
    assert registrations.without(nexuses, [ONE, TWO]) == []
    assert registrations.parse_state(registrations.write_state(left)) == left


def test_the_wwn_is_that_of_every_target() -> None:
    """As spc_gen_naa_6h_vendor_specific makes it: 6, the company, and 25 hex digits of the serial number."""
    serial, company = identity.make_serial(VOLUME), int(identity.make_company(VOLUME), 16)
    specific = ''.join(sign for sign in serial if sign in '0123456789abcdef')[:25]
    assert f'6{company:06x}{specific}' == wwn(VOLUME)
    assert identity.read_serial(serial) == VOLUME.replace('-', '')
    with pytest.raises(TargetRequestInvalid):
        identity.make_serial('../' + VOLUME[3:])


def test_an_initiator_is_registered_once_for_any_session_and_goes_on_holding() -> None:
    """The holder came back as another session and registered a new key: the kernel has both."""
    later = FILE.split('PR_REG_START: 1')[0].replace('804ee7350000', '8018f9ae0000').replace('43969', '43999')
    later = later.replace('res_holder=1\nres_type=08\nres_scope=00\n', 'res_holder=0\n').replace(': 0', ': 2')
    found = registrations.for_any_session(registrations.parse_state(FILE + later))
    assert registrations.tell(0, found) == Reservations(
        0, 8, (Registration(ONE, f'{43999:016x}', True), Registration(TWO, f'{43970:016x}', True))
    )
    assert 'initiator_sid' not in registrations.write_state(found)
    assert [one.is_holder for one in found] == [True, False]
