# SPDX-License-Identifier: Apache-2.0
"""Which volume a SCSI device is, as the kernel read it from the device.

VPD page 0x83 (SPC-4 section 7.8.6) lists designators. The one that counts is the logical
unit's NAA name of 16 bytes (NAA 6); tgtd makes a NAA 3 name too, which is not unique.
"""

from pathlib import Path

from multiattach.domain.connection import wwn
from multiattach.drivers.errors import WrongDevice

_SYS = Path('/sys')
_HEADER = 4
_NAA, _LOGICAL_UNIT, _BINARY = 3, 0, 1
_NAA_6_LENGTH = 16


def parse_names(page: bytes) -> list[str]:
    """Read the NAA names of 16 bytes from VPD page 0x83.

    :param page: the page with its header.
    :returns: names, 32 hex digits each.
    """
    names = []
    end = min(len(page), _HEADER + int.from_bytes(page[2:_HEADER]))
    at = _HEADER
    while at + _HEADER <= end:
        code_set, kind, length = page[at] & 0x0F, page[at + 1], page[at + 3]
        value = page[at + _HEADER : at + _HEADER + length]
        if (
            code_set == _BINARY
            and kind & 0x0F == _NAA
            and (kind >> 4) & 3 == _LOGICAL_UNIT
            and len(value) == _NAA_6_LENGTH
        ):
            names.append(value.hex())
        at += _HEADER + length
    return names


def read_names(device: str, sys: Path = _SYS) -> list[str]:
    """Read the names of a device.

    :param device: device node, or a link to one.
    :returns: names, 32 hex digits each; empty if the device has none.
    """
    block = sys / 'block' / Path(device).resolve().name
    # A device of several paths has the name of each of them.
    folder = next(iter(sorted(block.glob('slaves/*/device'))), block / 'device')
    page = folder / 'vpd_pg83'
    if page.exists():
        return parse_names(page.read_bytes())
    wwid = folder / 'wwid'
    if wwid.exists():
        text = wwid.read_text().strip()
        return [text.removeprefix('naa.')] if text.startswith('naa.6') else []
    return []


def check_device(device: str, volume_id: str, sys: Path = _SYS) -> None:
    """Check that a device is a volume.

    :param device: device node, or a link to one.
    :raises WrongDevice: it is another one, or it does not say which.
    """
    expected = wwn(volume_id)
    names = read_names(device, sys)
    if expected not in names:
        found = ', '.join(names) or 'nothing'
        raise WrongDevice(
            f'The device {device} is not the volume {volume_id}: it should call itself '
            f'{expected} and calls itself {found}. It was not attached.'
        )
