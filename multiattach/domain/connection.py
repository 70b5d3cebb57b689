# SPDX-License-Identifier: Apache-2.0
"""What a host says of itself, what a target answers, and the device that comes of it."""

import dataclasses
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

from multiattach.domain import errors, host_names

# Keys of connection_info that only the attaching side, services and admins may see.
SECRET_KEYS = frozenset({'auth_password', 'auth_username', 'discovery_auth_password', 'discovery_auth_username'})
# What a target can be told, whatever the form: names beside RFC 3720's iqn., eui. and naa. are in use, too.
INITIATOR_NAME = re.compile(r'(?!ALL\Z)[A-Za-z0-9:._-]{1,223}')
_MAX_MOUNTPOINT = 255
# Bytes of a whole connector as JSON; those of os-brick have less than 1000, with Fibre Channel a few more.
MOST_CONNECTOR = 16384


@dataclasses.dataclass(frozen=True)
class Connector:
    """A host as it presents itself to a target (contract 2.7).

    :param raw: the whole connector as it came.
    """

    host: str
    initiator: str
    raw: Mapping[str, Any] = dataclasses.field(repr=False, compare=False)

    @property
    def mountpoint(self) -> str | None:
        """Device name on the server, if the caller knows it."""
        value = self.raw.get('mountpoint')
        return value if isinstance(value, str) and value else None

    @property
    def mode(self) -> str | None:
        """Access mode that the caller asks for, ``rw`` or ``ro``."""
        value = self.raw.get('mode')
        return value if value in ('rw', 'ro') else None


def is_initiator_name(text: str) -> bool:
    """Return whether a text is a valid initiator name: 1 to 223 letters, digits and ``.:-_``, and no address.

    Asked at every door from the API to the target: a target lists addresses that may log in among names, so one
    that reads as an address would be taken for it.
    """
    if INITIATOR_NAME.fullmatch(text) is None:
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return True
    return False


def parse_connector(raw: Mapping[str, Any]) -> Connector:
    """Check a connector and take out what this service needs.

    :raises InvalidConnector: host or initiator is missing, or one is malformed (contract 11.4
        number 23: 400 on create and on update alike).
    """
    if len(json.dumps(raw)) > MOST_CONNECTOR:
        raise errors.InvalidConnector(f'Invalid connector: it has more than {MOST_CONNECTOR} bytes.')
    host, initiator = raw.get('host'), raw.get('initiator')
    if not isinstance(host, str) or not host_names.is_valid(host):
        raise errors.InvalidConnector(
            'Invalid connector: "host" is required, a text of 1 to 255 printable characters without blanks at its ends.'
        )
    if not isinstance(initiator, str) or not initiator:
        raise errors.InvalidConnector('Invalid connector: "initiator" (an iSCSI initiator name) is required.')
    if not is_initiator_name(initiator):
        raise errors.InvalidConnector(
            'Invalid connector: "initiator" must be a name of 1 to 223 letters, digits and .:-_ that is no address.'
        )
    found = Connector(host, initiator, raw)
    if len(found.mountpoint or '') > _MAX_MOUNTPOINT:
        raise errors.InvalidConnector('Invalid connector: "mountpoint" is longer than 255 characters.')
    check_mountpoint(found.mountpoint or '')
    return found


def check_mountpoint(text: str) -> None:
    """Refuse a device name that would do something to the terminal on which it is read.

    :raises InvalidConnector: it has a character that cannot be printed.
    """
    if not text.isprintable():
        raise errors.InvalidConnector('Invalid mountpoint: it has characters that cannot be printed.')


def wwn(volume_id: str) -> str:
    """Return the WWN under which every target shows a volume, and every host looks for it.

    32 hex digits: 6 and the UUID's last 31. sysfs ``wwid`` shows it as ``naa.WWN``, udev as ``ID_SERIAL=3WWN``,
    ``ID_WWN_WITH_EXTENSION=0xWWN`` and the link ``/dev/disk/by-id/wwn-0xWWN``.
    """
    return '6' + volume_id.replace('-', '')[1:]


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """What a connector made of a connection_info on a host.

    :param source_type: ``block`` (a device node) or ``network`` (QEMU's own initiator).
    :param path: device node for ``block``, else empty.
    :param details: what the libvirt XML of a network disk needs besides.
    """

    source_type: str
    path: str = ''
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class TargetAddress:
    """Where initiators find a volume."""

    iqn: str
    portal: str
    lun: int

    def tell(self) -> dict[str, Any]:
        """Return the address as keys of a flat connection_info (contract 8.2)."""
        return {'target_iqn': self.iqn, 'target_portal': self.portal, 'target_lun': self.lun}


def relocate(connection_info: Mapping[str, Any], address: TargetAddress) -> dict[str, Any] | None:
    """Return a connection_info with another address and the same credentials, None if it has that address."""
    told = address.tell()
    lists = {f'{key}s': [value] for key, value in told.items() if f'{key}s' in connection_info}
    new = {**connection_info, **told, **lists}
    return None if new == connection_info else new


def hide_secrets(connection_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a connection_info without :data:`SECRET_KEYS`."""
    return {key: value for key, value in connection_info.items() if key not in SECRET_KEYS}
