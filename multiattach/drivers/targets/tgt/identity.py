# SPDX-License-Identifier: Apache-2.0
"""What an initiator sees of a volume, measured with libiscsi's tools.

- VPD page 0x83 has three designators: T10 with the ``scsi_id`` text, NAA 3 made from tgtd's
  own numbers (the same for equal numbers on different hosts: not to be used), and NAA 6 with
  16 bytes made from ``scsi_id``. The last is the WWN: see :func:`multiattach.domain.connection.wwn`.
- VPD page 0x80, the serial number, has the 36 octets of :func:`scsi_serial`.
- Vendor ``IET``, product ``VIRTUAL-DISK``.
- Mode page 8 has WCE=1 with ``write_cache``, else 0; then tgtd syncs each write to the device.
"""

import re

from multiattach.drivers.errors import TargetRequestInvalid

_UUID = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_SERIAL_LENGTH = 36
_MODE_PAGE_CACHING = '8:0:18:{flags}:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0'
_WRITE_CACHE_ON, _WRITE_CACHE_OFF = '0x14', '0x10'


def scsi_id(volume_id: str) -> str:
    """Derive the ``scsi_id`` of a volume: its 32 hex digits.

    :raises TargetRequestInvalid: it is not a UUID.
    """
    # One spelling only: the id becomes part of names and of a file's path.
    if not _UUID.fullmatch(volume_id):
        raise TargetRequestInvalid("the volume's id is not a UUID in lower case with dashes")
    return volume_id.replace('-', '')


def scsi_serial(volume_id: str) -> str:
    """Derive the serial number: ``volume-UUID`` as far as tgtd keeps it, 36 characters, so without the last 7."""
    return f'volume-{volume_id}'[:_SERIAL_LENGTH]


def lun_parameters(volume_id: str, *, write_cache: bool) -> tuple[tuple[str, str], ...]:
    """Return what to set at a new logical unit; mode page 8 has WCE=1 with *write_cache*."""
    flags = _WRITE_CACHE_ON if write_cache else _WRITE_CACHE_OFF
    return (
        ('scsi_id', scsi_id(volume_id)),
        ('scsi_sn', scsi_serial(volume_id)),
        ('mode_page', _MODE_PAGE_CACHING.format(flags=flags)),
    )
