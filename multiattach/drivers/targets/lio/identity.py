# SPDX-License-Identifier: Apache-2.0
"""What an initiator sees of a volume: the same as of tgtd, where the kernel lets it be so.

VPD page 0x83 has the WWN (NAA 6) that :func:`multiattach.domain.connection.wwn` names. The kernel makes it of the
IEEE company id, six digits, and of the first 25 hex digits in the serial number (``drivers/target/target_core_spc.c``,
spc_gen_naa_6h_vendor_specific). So the serial number, page 0x80, is another one than tgtd's: the UUID, turned round.
"""

from multiattach.drivers.targets.tgt.identity import scsi_id

VENDOR, PRODUCT, REVISION = 'IET', 'VIRTUAL-DISK', '0001'
_COMPANY = slice(1, 7)
_TURN = 7


def make_company(volume_id: str) -> str:
    """Return the company id of a volume, as the kernel shows it."""
    return f'{int(scsi_id(volume_id)[_COMPANY], 16):#x}'


def make_serial(volume_id: str) -> str:
    """Return the serial number of a volume.

    :raises TargetRequestInvalid: it is not a UUID.
    """
    digits = scsi_id(volume_id)
    return f'{digits[_TURN:]}-{digits[:_TURN]}'


def read_serial(serial: str) -> str:
    """Return the 32 hex digits of the volume that has a serial number."""
    rest, _, first = serial.partition('-')
    return first + rest
