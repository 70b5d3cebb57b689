# SPDX-License-Identifier: Apache-2.0
"""Filling a volume from an image.

An image is a stranger's: it is fetched to a file without a name, and compared with what the Image service wrote down
of it, before anything looks at it; and it is looked at before a program follows what it says.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from typing import IO, Any

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import images
from multiattach.domain.images import Image, ImageCopy
from multiattach.drivers.backends.base import Backend, Imports
from multiattach.drivers.conversion import inspection
from multiattach.drivers.conversion.qemu import Disk
from multiattach.drivers.errors import CopyAborted, ImageRefused, ImageUnavailable
from multiattach.drivers.glance.client import PIECE, ImageApi
from multiattach.volume.workshop import Look, Workshop

LOG = log.getLogger(__name__)

_ZEROS = bytes(PIECE)
_FETCHED = 50  # percent when an image is fetched and not yet converted


def download(
    workshop: Workshop, backend: Backend, imports: Imports, volume_id: str, size_gb: int, copy: ImageCopy, look: Look
) -> Image:
    """Give a volume the contents of an image, all or none.

    :returns: the image.
    :raises InvalidInput: it cannot be used.
    :raises CopyAborted: nobody wants it any more.
    """
    api = workshop.connect()
    image = api.show(copy.image_id)
    images.check(image, size_gb)
    find = getattr(imports, 'find_shareable', None)
    origin = None if find is None else find(image)
    if origin is None:
        _fetch_and_fill(workshop, api, image, imports, volume_id, size_gb, look)
    else:
        LOG.info('Volume %s shares the blocks of image %s', volume_id, image.id)
        with imports.share(volume_id, size_gb, origin, look.proceed) as draft:  # type: ignore[attr-defined]
            failpoints.reach('volume.image.filled')
            draft.adopt()
    failpoints.reach('volume.image.adopted')
    backend.clear(volume_id, look.proceed)  # what was there before
    return image


def _fetch_and_fill(
    workshop: Workshop, api: ImageApi, image: Image, imports: Imports, volume_id: str, size_gb: int, look: Look
) -> None:
    form, size = images.FORMATS[str(image.disk_format)], size_gb * images.GIB
    with workshop.open_file() as file:
        with api.open(image.id) as data:
            fetch(image, data, file, size, look)
        failpoints.reach('volume.image.fetched')
        virtual = inspection.inspect(image.id, file, str(image.disk_format))
        images.check_virtual_size(image.id, virtual, size_gb)
        with imports.open(volume_id, size_gb, look.proceed) as draft:
            workshop.converter.fill(
                Disk(f'/proc/self/fd/{file.fileno()}', form),
                Disk(draft.path, images.RAW),
                size,
                look.proceed,
                [file.fileno()],
                lambda percent: look.note(_FETCHED, 100, percent / 100),
            )
            failpoints.reach('volume.image.filled')
            draft.adopt()


def fetch(image: Image, data: Iterable[bytes], file: IO[bytes], most: int, look: Look) -> None:
    """Write an image's data to a file, and see that they are what the Image service wrote down.

    :param most: bytes that they may have where it does not know how many there are.
    :raises ImageRefused: they are not.
    :raises ImageUnavailable: they end early.
    """
    digest, expected = _choose_hash(image)
    size, limit = 0, most if image.size is None else image.size
    for piece in data:
        size += len(piece)
        if size > limit:
            raise ImageRefused(f'Image {image.id} has more data than the {limit} bytes that it should have.')
        digest.update(piece)
        _write_sparse(file, piece)
        look.note(0, _FETCHED, size / max(limit, 1))
        if not look.proceed():
            raise CopyAborted
    if image.size is not None and size < image.size:
        raise ImageUnavailable(f'The data of image {image.id} ended after {size} of {image.size} bytes.')
    if expected is not None and digest.hexdigest() != expected:
        raise ImageRefused(
            f'Image {image.id} is damaged: the {digest.name} of its data is not what the Image service recorded.'
        )
    file.truncate(size)
    file.flush()
    file.seek(0)


def _write_sparse(file: IO[bytes], piece: bytes) -> None:
    if piece == _ZEROS[: len(piece)]:
        file.seek(len(piece), os.SEEK_CUR)
    else:
        file.write(piece)


def _choose_hash(image: Image) -> tuple[Any, str | None]:
    for name, value in image.hashes.items():
        with contextlib.suppress(ValueError):
            return hashlib.new(name, usedforsecurity=False), value.lower()
    LOG.warning('The Image service has no checksum of image %s', image.id)
    return hashlib.sha512(), None
