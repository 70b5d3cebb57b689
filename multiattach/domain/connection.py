# SPDX-License-Identifier: Apache-2.0
"""What a host says of itself, what a target answers, and the device that comes of it."""

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

from multiattach.domain import errors, gateways, host_names

# Keys of connection_info that only the attaching side, services and admins may see.
SECRET_KEYS = frozenset(
    {'auth_password', 'auth_username', 'discovery_auth_password', 'discovery_auth_username', 'keyring'}
)
# What workers report of their target: how hosts reach volumes.
ISCSI, RBD = 'iscsi', 'rbd'
# Initiators at Ceph. Of the first form the rest is the attachment's UUID, and it is a cephx user of that name; hosts
# that want it have this key and value in their connectors. Of the second form the rest is an IP address.
USER_PREFIX, _ADDRESS_PREFIX = 'multiattach-', 'address:'
_CEPHX, _OWN_USER = 'cephx', 'attachment'
# What a target can be told, whatever the form: names beside RFC 3720's iqn., eui. and naa. are in use, too.
INITIATOR_NAME = re.compile(r'(?!ALL\Z)[A-Za-z0-9:._-]{1,223}')
#: by which a host knows a volume that Cinder's LIO exports; with tgt that number is the controller's
LIO_LUN = 0
_MAX_MOUNTPOINT = 255
# Bytes of a whole connector as JSON; those of os-brick have less than 1000, with Fibre Channel a few more.
MOST_CONNECTOR = 16384


@dataclasses.dataclass(frozen=True)
class Connector:
    """A host as it presents itself to a target (contract 2.7).

    :param initiator: iSCSI initiator name, "" if it has none.
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
    if INITIATOR_NAME.fullmatch(text) is None or text.startswith(_ADDRESS_PREFIX):
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return True
    return False


def parse_connector(raw: Mapping[str, Any]) -> Connector:
    """Check a connector and take out what this service needs.

    :raises InvalidConnector: the host is missing, or something is malformed (contract 11.4
        number 23: 400 on create and on update alike). Whether an initiator is missing the volume's backend tells,
        see :func:`name_initiator`.
    """
    if len(json.dumps(raw)) > MOST_CONNECTOR:
        raise errors.InvalidConnector(f'Invalid connector: it has more than {MOST_CONNECTOR} bytes.')
    host, initiator = raw.get('host'), raw.get('initiator')
    if not isinstance(host, str) or not host_names.is_valid(host):
        raise errors.InvalidConnector(
            'Invalid connector: "host" is required, a text of 1 to 255 printable characters without blanks at its ends.'
        )
    if initiator and not (isinstance(initiator, str) and is_initiator_name(initiator)):
        raise errors.InvalidConnector(
            'Invalid connector: "initiator" must be a name of 1 to 223 letters, digits and .:-_ that is no address.'
        )
    found = Connector(host, initiator or '', raw)
    if len(found.mountpoint or '') > _MAX_MOUNTPOINT:
        raise errors.InvalidConnector('Invalid connector: "mountpoint" is longer than 255 characters.')
    check_mountpoint(found.mountpoint or '')
    return found


def name_initiator(protocol: str, attachment_id: str, wanted: Connector) -> str:
    """Name who uses a volume by an attachment, as the storage knows it: attachments of one name are cut off together.

    :param protocol: :data:`ISCSI`, :data:`RBD` or another one.
    :raises InvalidConnector: it lacks what the name is made of.
    """
    if protocol != RBD:
        if not wanted.initiator:
            raise errors.InvalidConnector('Invalid connector: "initiator" (an iSCSI initiator name) is required.')
        return wanted.initiator
    if wanted.raw.get(_CEPHX) == _OWN_USER:
        return f'{USER_PREFIX}{attachment_id}'
    try:
        return name_address(str(ipaddress.ip_address(str(wanted.raw['ip']))))
    except (KeyError, ValueError):
        raise errors.InvalidConnector(
            'Invalid connector: "ip" (the address from which the host reaches Ceph) is required.'
        ) from None


def name_address(address: str) -> str:
    """Name an initiator at Ceph that is known by an address only."""
    return f'{_ADDRESS_PREFIX}{address}'


def find_address(initiator: str) -> str | None:
    """Return the address that an initiator at Ceph is known by, None for one with a name of its own."""
    return initiator.removeprefix(_ADDRESS_PREFIX) if initiator.startswith(_ADDRESS_PREFIX) else None


def check_mountpoint(text: str) -> None:
    """Refuse a device name that would do something to the terminal on which it is read.

    :raises InvalidConnector: it has a character that cannot be printed.
    """
    if not text.isprintable():
        raise errors.InvalidConnector('Invalid mountpoint: it has characters that cannot be printed.')


def find_name_id(connection_info: Mapping[str, Any]) -> str:
    """Return the id after which a volume's target, device and image are named."""
    return str(connection_info.get('name_id') or connection_info.get('volume_id'))


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


class Address(Protocol):
    """Where initiators find a volume."""

    @property
    def portal(self) -> str | None:
        """Where all volumes of the backend are found, as a worker reports it; None if hosts need not be told."""

    def tell(self) -> dict[str, Any]:
        """Return the address as keys of a flat connection_info (contract 8.2)."""


@dataclasses.dataclass(frozen=True)
class TargetAddress:
    """Where iSCSI initiators find a volume."""

    iqn: str
    portal: str
    lun: int

    def tell(self) -> dict[str, Any]:
        return {'target_iqn': self.iqn, 'target_portal': self.portal, 'target_lun': self.lun}


@dataclasses.dataclass(frozen=True)
class ImageAddress:
    """Where clients of Ceph find a volume.

    :param name: ``POOL/IMAGE``.
    :param monitors: address and port of each.
    """

    name: str
    cluster: str
    monitors: tuple[tuple[str, str], ...]
    portal: None = None

    def tell(self) -> dict[str, Any]:
        return {
            'name': self.name,
            'cluster_name': self.cluster,
            'hosts': [host for host, _ in self.monitors],
            'ports': [port for _, port in self.monitors],
        }


@dataclasses.dataclass(frozen=True)
class GatewayAddress:
    """Where iSCSI initiators find a volume that several gateways export.

    :param portals: one of each gateway; name and number are the same at all.
    """

    iqn: str
    lun: int
    portals: tuple[str, ...]

    @classmethod
    def make(cls, address: TargetAddress, portals: Iterable[str]) -> Self:
        return cls(address.iqn, address.lun, tuple(portals))

    @property
    def portal(self) -> str:
        return self.portals[0]

    def put_first(self, key: str, portal: str | None) -> Self:
        """Return it with the portals in a host's order.

        :param key: what is told apart: a host's volume.
        :param portal: the one that the host uses.
        """
        return dataclasses.replace(self, portals=tuple(gateways.order_portals(key, self.portals, portal)))

    def tell(self) -> dict[str, Any]:
        number = len(self.portals)
        return {
            **TargetAddress(self.iqn, self.portal, self.lun).tell(),
            'target_iqns': [self.iqn] * number,
            'target_portals': list(self.portals),
            'target_luns': [self.lun] * number,
        }


def relocate(connection_info: Mapping[str, Any], address: Address) -> dict[str, Any] | None:
    """Return a connection_info with another address and the same credentials, None if it has that address."""
    if isinstance(address, GatewayAddress):
        address = address.put_first(str(connection_info.get('attachment_id')), connection_info.get('target_portal'))
    told = address.tell()
    if 'target_lun' in told and connection_info.get('target_lun') == LIO_LUN:
        told['target_lun'] = LIO_LUN  # by that number the host knows it, and the target still has it
    if all(connection_info.get(key) == value for key, value in told.items()):
        return None  # where Cinder told of more portals, its target has them
    lists = {f'{key}s': [value] for key, value in told.items() if f'{key}s' in connection_info}
    return {**connection_info, **lists, **told}


def hide_secrets(connection_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a connection_info without :data:`SECRET_KEYS`."""
    return {key: value for key, value in connection_info.items() if key not in SECRET_KEYS}
