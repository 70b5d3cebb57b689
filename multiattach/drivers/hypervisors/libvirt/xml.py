# SPDX-License-Identifier: Apache-2.0
"""libvirt's XML of disks, domains and secrets: built and read, nothing else."""

import base64
import dataclasses
import itertools
import os
import string
from collections.abc import Collection, Iterator
from xml.etree import ElementTree

from multiattach.domain import sharing
from multiattach.drivers.errors import HypervisorError
from multiattach.drivers.hypervisors.base import Disk, FoundDisk

BLOCK, NETWORK = 'block', 'network'
_DISK, _LUN = 'disk', 'lun'
# libvirt takes an alias from a user only with this prefix (formatdomain, "Device aliases").
_ALIAS_PREFIX = 'ua-'
# Of a disk, and of one whose SCSI commands go to the storage (formatdomain, "lun"): bus, and how names on it begin.
_SCSI, _SCSI_MODEL, _DRIVE = 'scsi', 'virtio-scsi', 'drive'
_BUSES = {False: ('virtio', 'vd'), True: (_SCSI, 'sd')}
#: what the usage of a secret of this service begins with, before the attachment's id
SECRET_PREFIX = 'multiattach-'  # noqa: S105 - a name
# Namespace of what a domain's metadata says for this service.
METADATA = 'urn:multiattach:server:1'
_MOST_PROJECT = 255


@dataclasses.dataclass(frozen=True)
class _SecretKind:
    """A type of usage, the element that names who uses it, and what the secret is (formatsecret)."""

    usage: str
    name: str
    what: str


_SECRETS = {'iscsi': _SecretKind('iscsi', 'target', 'CHAP'), 'rbd': _SecretKind('ceph', 'name', 'Key of Ceph')}


@dataclasses.dataclass(frozen=True)
class DrivePlace:
    """Where a disk is on a SCSI controller: index of the controller, and unit."""

    controller: int
    unit: int


@dataclasses.dataclass(frozen=True)
class DiskElement:
    """A disk as a domain has it.

    :param target: device name, ``vdb``.
    :param alias: name of the device in events, "" if it has none.
    :param source: what tells one source from another.
    :param text: the whole element.
    :param is_readonly: its server may only read.
    """

    target: str
    alias: str
    source: tuple[str, ...]
    text: str
    is_readonly: bool


def build_disk(disk: Disk, target: str, place: DrivePlace | None = None) -> str:
    """Build the element of requirement row 14, as Nova renders it (clients chapter 1).

    :param place: where a disk with reservations is to be, None to leave that to libvirt.
    """
    network = disk.source.source_type == NETWORK
    root = ElementTree.Element('disk', type=NETWORK if network else BLOCK, device=_LUN if disk.reservations else _DISK)
    # Sharers see each other's writes only if no host caches; io=native needs a device node.
    driver = {'name': 'qemu', 'type': 'raw', 'cache': 'none'}
    if disk.source.details.get('discard', True):
        driver['discard'] = 'unmap'
    ElementTree.SubElement(root, 'driver', driver if network else driver | {'io': 'native'})
    if network:
        _add_network_source(root, disk)
    else:
        source = ElementTree.SubElement(root, 'source', dev=disk.source.path)
        if disk.reservations:  # the kernel lets only root reserve; QEMU's own initiator needs nobody
            ElementTree.SubElement(source, 'reservations', managed='yes')
    ElementTree.SubElement(root, 'target', dev=target, bus=_BUSES[disk.reservations][0])
    if disk.rates:
        tune = ElementTree.SubElement(root, 'iotune')
        for name, value in disk.rates.items():
            ElementTree.SubElement(tune, name).text = str(value)
    if disk.mode == sharing.READ_ONLY:
        ElementTree.SubElement(root, 'readonly')
    if disk.multiattach:
        ElementTree.SubElement(root, 'shareable')
    if not disk.reservations:  # libvirt takes none for a lun, which has the storage's own
        ElementTree.SubElement(root, 'serial').text = disk.volume_id
    ElementTree.SubElement(root, 'alias', name=_ALIAS_PREFIX + disk.volume_id)
    if place is not None:
        where = {'controller': str(place.controller), 'bus': '0', 'target': '0', 'unit': str(place.unit)}
        ElementTree.SubElement(root, 'address', {'type': _DRIVE, **where})
    return ElementTree.tostring(root, encoding='unicode')


def choose_place(*domains: str | None) -> DrivePlace:
    """Choose a place on a virtio-scsi controller that is free in all states of a domain."""
    found = [_list_controllers(domain) for domain in domains if domain is not None]
    taken = {index for one in found for index in one}
    fit = sorted(i for i in taken if all(one.get(i, _SCSI_MODEL) == _SCSI_MODEL for one in found))
    controller = fit[0] if fit else next(i for i in itertools.count() if i not in taken)
    units = {unit for domain in domains for unit in _list_units(domain, controller)}
    return DrivePlace(controller, next(unit for unit in itertools.count() if unit not in units))


def has_controller(domain: str | None, place: DrivePlace) -> bool:
    return place.controller in _list_controllers(domain)


def build_controller(place: DrivePlace) -> str:
    root = ElementTree.Element('controller', type=_SCSI, model=_SCSI_MODEL, index=str(place.controller))
    return ElementTree.tostring(root, encoding='unicode')


def _list_controllers(domain: str | None) -> dict[int, str]:
    """List the models of a domain's SCSI controllers by index."""
    found = [] if domain is None else ElementTree.fromstring(domain).findall('./devices/controller')  # noqa: S314
    return {int(one.get('index', '0')): one.get('model', '') for one in found if one.get('type') == _SCSI}


def _list_units(domain: str | None, controller: int) -> Iterator[int]:
    for element in _disks(domain):
        address = element.find('address')
        if address is not None and address.get('type') == _DRIVE and address.get('controller') == str(controller):
            yield int(address.get('unit', '0'))


def _add_network_source(root: ElementTree.Element, disk: Disk) -> None:
    details = disk.source.details
    source = ElementTree.SubElement(root, 'source', protocol=details['protocol'], name=details['name'])
    for host, port in details.get('hosts') or ((details['host'], details['port']),):
        ElementTree.SubElement(source, 'host', name=host, port=str(port))
    if 'conf' in details:
        ElementTree.SubElement(source, 'config', file=details['conf'])
    if details.get('username'):
        auth = ElementTree.SubElement(source, 'auth', username=details['username'])
        secret = details.get('secret_uuid') or disk.attachment_id
        ElementTree.SubElement(auth, 'secret', type=_SECRETS[details['protocol']].usage, uuid=secret)
    if 'initiator' in details:
        initiator = ElementTree.SubElement(source, 'initiator')
        ElementTree.SubElement(initiator, 'iqn', name=details['initiator'])


def find_secret(disk: Disk) -> bytes | None:
    """Return the value of the secret that a disk needs, as libvirt takes it; None if it needs none, or has it."""
    details = disk.source.details
    if password := details.get('password'):
        return str(password).encode()
    key = details.get('key')
    return base64.b64decode(key) if key else None


def build_secret(disk: Disk, *, ephemeral: bool) -> str:
    """Build a secret that nobody can read back; its UUID is the attachment's.

    So whatever is left of an attachment after a crash can be found. An ephemeral one is in libvirtd's memory only.
    """
    ident, kind = disk.attachment_id, _SECRETS[disk.source.details['protocol']]
    root = ElementTree.Element('secret', ephemeral='yes' if ephemeral else 'no', private='yes')
    ElementTree.SubElement(root, 'uuid').text = ident
    ElementTree.SubElement(root, 'description').text = f'{kind.what} of attachment {ident}'
    usage = ElementTree.SubElement(root, 'usage', type=kind.usage)
    ElementTree.SubElement(usage, kind.name).text = SECRET_PREFIX + ident
    return ElementTree.tostring(root, encoding='unicode')


def find_disk(domain: str | None, volume_id: str) -> DiskElement | None:
    for element in _disks(domain):
        if _find_volume(element) == volume_id:
            return _read_disk(element)
    return None


def _find_volume(element: ElementTree.Element) -> str | None:
    """Find the volume of a disk: by its serial number, or by the alias of one that can have none."""
    if element.get('device') != _LUN:
        return element.findtext('serial')
    alias = element.find('alias')
    name = '' if alias is None else alias.get('name', '')
    return name.removeprefix(_ALIAS_PREFIX) if name.startswith(_ALIAS_PREFIX) else None


def list_targets(domain: str | None, without: str | None = None) -> list[str]:
    """List the device names of a domain's disks, all but that of the volume *without*."""
    return [
        target.get('dev', '')
        for element in _disks(domain)
        if (target := element.find('target')) is not None and (without is None or _find_volume(element) != without)
    ]


def find_project(domain: str | None) -> str | None:
    """Find the project that a domain's metadata names, None if it names none that can be one."""
    root = None if domain is None else ElementTree.fromstring(domain)  # noqa: S314 - of libvirt
    element = None if root is None else root.find(f'metadata/{{{METADATA}}}server')
    # Some tools give the namespace to the outer element only.
    names = ('project', f'{{{METADATA}}}project')
    found = () if element is None else [text for name in names if (text := element.findtext(name))]
    project = found[0].strip() if found else ''
    return project if project.isprintable() and 0 < len(project) <= _MOST_PROJECT else None


def list_own(live: str | None, config: str | None) -> tuple[FoundDisk, ...]:
    """List the disks that are marked as this service marks them; their secrets are not looked for."""
    now, later = _find_own(live), _find_own(config)
    return tuple(_describe(serial, now.get(serial), later.get(serial)) for serial in sorted({*now, *later}))


def _find_own(domain: str | None) -> dict[str, ElementTree.Element]:
    found = {}
    for element in _disks(domain):
        volume_id, alias = _find_volume(element), element.find('alias')
        if volume_id and alias is not None and alias.get('name') == _ALIAS_PREFIX + volume_id:
            found[volume_id] = element
    return found


def _describe(serial: str, live: ElementTree.Element | None, config: ElementTree.Element | None) -> FoundDisk:
    element = config if live is None else live
    assert element is not None
    secret = element.find('.//auth/secret')  # Nova has it beside the source
    return FoundDisk(
        serial,
        _read_disk(element).target,
        live is not None,
        config is not None,
        None if secret is None else secret.get('uuid'),
        is_network=element.get('type') == NETWORK,
    )


def source_of(disk: Disk) -> tuple[str, ...]:
    """Return what tells a disk's source from another's, see :attr:`DiskElement.source`."""
    found = _read_disk(ElementTree.fromstring(build_disk(disk, '')))  # noqa: S314 - our own
    return found.source


def choose_device(wished: str, taken: Collection[str], *, reservations: bool = False) -> str:
    """Choose a device name: the wished one if it is free, else the next free one after ``vda``, or from ``sda`` on.

    :param wished: ``vdb`` or ``/dev/vdb``; that of another bus is no wish.
    :raises HypervisorError: none is left.
    """
    name, stem = wished.removeprefix('/dev/'), _BUSES[reservations][1]
    wish = (name,) if name.startswith(stem) else ()
    for candidate in itertools.chain(wish, itertools.islice(_names(stem), 0 if reservations else 1, None)):
        if candidate not in taken:
            return candidate
    raise HypervisorError('The server has no device name left.')


def _names(stem: str) -> Iterator[str]:
    letters = string.ascii_lowercase
    yield from (stem + letter for letter in letters)
    yield from (stem + one + two for one in letters for two in letters)


def _disks(domain: str | None) -> list[ElementTree.Element]:
    if domain is None:
        return []
    return ElementTree.fromstring(domain).findall('./devices/disk')  # noqa: S314 - libvirtd's own


def _read_disk(element: ElementTree.Element) -> DiskElement:
    target, alias = element.find('target'), element.find('alias')
    return DiskElement(
        target=target.get('dev', '') if target is not None else '',
        alias=alias.get('name', '') if alias is not None else '',
        source=_read_source(element.find('source')),
        text=ElementTree.tostring(element, encoding='unicode'),
        is_readonly=element.find('readonly') is not None,
    )


def _read_source(source: ElementTree.Element | None) -> tuple[str, ...]:
    if source is None:
        return ()
    if (device := source.get('dev')) is not None:
        return (os.path.realpath(device),)
    auth = source.find('auth')
    if source.get('protocol') == 'rbd':  # monitors come and go; the user is the attachment's
        return 'rbd', source.get('name', ''), '' if auth is None else auth.get('username', '')
    host, initiator = source.find('host'), source.find('./initiator/iqn')
    return (
        source.get('protocol', ''),
        source.get('name', ''),
        host.get('name', '') if host is not None else '',
        host.get('port', '') if host is not None else '',
        initiator.get('name', '') if initiator is not None else '',
    )
