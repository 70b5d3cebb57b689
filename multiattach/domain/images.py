# SPDX-License-Identifier: Apache-2.0
"""Images of the Image service: what a volume can be made of, and what it keeps of that."""

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any

from multiattach.domain import errors

GIB = 1024**3
ACTIVE = 'active'
# Disk formats, and what the program that converts them calls them.
RAW = 'raw'
FORMATS: Mapping[str, str] = {
    RAW: RAW,
    'iso': RAW,
    'ami': RAW,
    'qcow2': 'qcow2',
    'vmdk': 'vmdk',
    'vdi': 'vdi',
    'vhd': 'vpc',
    'vhdx': 'vhdx',
}
# Disk formats that volumes are written in.
MADE = (RAW, 'qcow2', 'vmdk', 'vdi', 'vhd', 'vhdx')
# Containers in which the disk is not what is stored.
PACKED = frozenset({'compressed', 'docker', 'ova'})
# What the Image service says of its own; the rest are properties.
_OWN = frozenset(
    {
        'id',
        'name',
        'status',
        'visibility',
        'protected',
        'owner',
        'tags',
        'created_at',
        'updated_at',
        'self',
        'file',
        'schema',
        'stores',
        'direct_url',
        'locations',
        'virtual_size',
        'os_hash_algo',
        'os_hash_value',
        'os_hidden',
    }
)
_KEPT = ('checksum', 'container_format', 'disk_format', 'min_disk', 'min_ram', 'size')
_SIGNATURE = 'img_signature'
_TYPE = 'cinder_img_volume_type'
# Properties that the Image service gives to nobody else, or that are true of one image only.
_RESERVED = ('os_glance', _SIGNATURE, 'signature_verified')
_ENCRYPTED = 'cinder_encryption_key_id'
_MAPPING = 'block_device_mapping'
_EMPTY: tuple[Any, ...] = (None, '', '[]', [])


class Purpose(enum.StrEnum):
    """Why something is copied between a volume and an image."""

    CREATE = 'create'
    REIMAGE = 'reimage'
    UPLOAD = 'upload'


@dataclasses.dataclass(frozen=True)
class ImageCopy:
    """What is to be copied.

    :param disk_format: of an image that is to be made.
    :param percent: how much is done.
    """

    image_id: str
    purpose: Purpose
    disk_format: str | None = None
    percent: int = 0


@dataclasses.dataclass(frozen=True)
class Image:
    """An image.

    :param size: bytes that are stored, None if the Image service does not know.
    :param virtual_size: bytes of the disk, None if it does not know.
    :param min_disk: GiB.
    :param hashes: digests in hexadecimal by algorithm, the best first.
    :param locations: where its data are, if the Image service tells.
    """

    id: str
    name: str | None
    status: str
    size: int | None
    virtual_size: int | None
    min_disk: int
    disk_format: str | None
    container_format: str | None
    hashes: Mapping[str, str]
    metadata: Mapping[str, str]
    properties: Mapping[str, Any]
    locations: tuple[str, ...] = ()

    @property
    def volume_type(self) -> str | None:
        """Name or id of the type that its volumes get if none is asked for."""
        return str(self.properties.get(_TYPE) or '') or None


def parse(found: Mapping[str, Any]) -> Image:
    """Read an image as the Image API shows it.

    :raises ValueError: it is none.
    """
    try:
        ident, status = str(found['id']), str(found['status'])
        size, virtual, least = (None if found.get(key) is None else int(found[key]) for key in _NUMBERS)
    except (LookupError, TypeError) as exc:
        raise ValueError('no image') from exc
    name = found.get('name')
    properties = {key: value for key, value in found.items() if key not in _OWN and key not in _KEPT}
    hashes = {}
    if found.get('os_hash_algo') and found.get('os_hash_value'):
        hashes[str(found['os_hash_algo'])] = str(found['os_hash_value'])
    if found.get('checksum'):
        hashes['md5'] = str(found['checksum'])
    kept = {key: found[key] for key in _KEPT if found.get(key) is not None}
    named = {'image_id': ident} | ({'image_name': name} if name else {})
    shown = {key: value for key, value in properties.items() if value is not None}
    places = [
        found.get('direct_url'),
        *(one.get('url') for one in found.get('locations') or () if isinstance(one, dict)),
    ]
    return Image(
        id=ident,
        name=None if name is None else str(name),
        status=status,
        size=size,
        virtual_size=virtual,
        min_disk=least or 0,
        disk_format=found.get('disk_format'),
        container_format=found.get('container_format'),
        hashes=hashes,
        metadata={str(key): str(value) for key, value in {**shown, **kept, **named}.items()},
        properties=properties,
        locations=tuple(dict.fromkeys(str(place) for place in places if place)),
    )


def choose_properties(metadata: Mapping[str, str]) -> dict[str, str]:
    """Choose what an image of a volume has of the image that the volume was made of."""
    core = {*_OWN, *_KEPT, 'image_id', 'image_name'}
    return {key: value for key, value in metadata.items() if key not in core and not key.startswith(_RESERVED)}


def find_boot_snapshot(image: Image) -> str | None:
    """Return the id of the snapshot that an image stands for, as Nova makes them of servers that boot from volumes."""
    found = image.properties.get(_MAPPING)
    try:
        mapping = json.loads(found) if isinstance(found, str) else found
    except (ValueError, RecursionError):
        return None
    for one in mapping if isinstance(mapping, list) else ():
        if isinstance(one, dict) and one.get('source_type') == 'snapshot' and one.get('boot_index') == 0:
            return str(one.get('snapshot_id'))
    return None


_NUMBERS = ('size', 'virtual_size', 'min_disk')


def check(image: Image, size_gb: int) -> None:
    """See that a volume can be made of an image.

    :param size_gb: GiB of the volume.
    :raises InvalidInput: it cannot, and why.
    """
    if image.status != ACTIVE:
        raise _refuse(f'Image {image.id} is not active.')
    if any(key.startswith(_SIGNATURE) for key in image.properties):
        raise _refuse(f'Image {image.id} is signed, and this service does not verify signatures.')
    if _ENCRYPTED in image.properties or image.disk_format == 'luks':
        raise _refuse(f'Image {image.id} is encrypted, and this service has no encrypted volumes.')
    if not image.size and image.properties.get(_MAPPING) not in _EMPTY:
        snapshot = find_boot_snapshot(image)
        raise _refuse(
            f'Image {image.id} has no data of its own: it stands for '
            f'{"snapshots of volumes" if snapshot is None else f"snapshot {snapshot}"} (block_device_mapping), and '
            'nothing can be replaced by it. Make a new volume of the snapshot, or of the image by microversion 3.46, '
            'and boot a server from that; or revert the volume that the snapshot is of (3.40).'
        )
    if image.disk_format not in FORMATS or image.container_format in PACKED:
        raise _refuse(
            f'Image {image.id} has disk format {image.disk_format} in container {image.container_format}; '
            f'volumes can be made of bare images in {", ".join(FORMATS)}.'
        )
    _check_size(image, size_gb)


def _check_size(image: Image, size_gb: int) -> None:
    stored = _round_up(image.size or 0)
    if stored > size_gb:
        raise _refuse(f'Size of specified image {stored}GB is larger than volume size {size_gb}GB.')
    if image.min_disk > size_gb:
        raise _refuse(f'Volume size {size_gb}GB cannot be smaller than the image minDisk size {image.min_disk}GB.')
    check_virtual_size(image.id, image.virtual_size or 0, size_gb)


def check_virtual_size(image_id: str, virtual_size: int, size_gb: int) -> None:
    """See that a disk fits.

    :param virtual_size: bytes.
    :raises InvalidInput: it does not.
    """
    if _round_up(virtual_size) > size_gb:
        raise _refuse(
            f"Image {image_id} is unacceptable: Image virtual size is {_round_up(virtual_size)}GB and doesn't fit in a "
            f'volume of size {size_gb}GB.'
        )


def _round_up(size: int) -> int:
    return -(-size // GIB)


def _refuse(text: str) -> errors.InvalidInput:
    return errors.InvalidInput(f'Invalid input received: {text}')
