# SPDX-License-Identifier: Apache-2.0
"""Making an image of a volume. The image is there already, without data, under the id that the row has."""

import contextlib
import hashlib
import os
from collections.abc import Iterator

from multiattach import failpoints
from multiattach.domain import errors, images
from multiattach.domain.images import Image, ImageCopy
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.conversion.qemu import Disk
from multiattach.drivers.errors import CopyAborted, ImageRefused, StorageError
from multiattach.drivers.glance.client import PIECE
from multiattach.volume.workshop import Look, Workshop

_CONVERTED = 50  # percent when an image is made and not yet sent
_QUEUED, _SAVING = 'queued', 'saving'


class Body:
    """The bytes of an open file, read in pieces by whoever sends them.

    :param handle: descriptor of the file.
    :param start: percent that are done when it begins.
    """

    def __init__(self, handle: int, size: int, look: Look, start: int) -> None:
        self._handle = handle
        self._size = size
        self._look = look
        self._start = start
        self.digest = hashlib.sha512()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        while done < self._size:
            if not self._look.proceed():
                raise CopyAborted
            try:
                piece = os.pread(self._handle, min(PIECE, self._size - done), done)
            except OSError as exc:
                raise StorageError(f'The volume cannot be read: {exc.strerror}.') from exc
            if not piece:
                raise StorageError('The volume is shorter than it should be.')
            self.digest.update(piece)
            done += len(piece)
            self._look.note(self._start, 100, done / self._size)
            yield piece


def upload(workshop: Workshop, backend: Backend, volume_id: str, size_gb: int, copy: ImageCopy, look: Look) -> None:
    """Give an image the contents of a volume.

    :raises ImageRefused: the Image service does not take them.
    :raises OutcomeUnknown: an attempt before has not ended there.
    :raises CopyAborted: nobody wants it any more.
    """
    api = workshop.connect()
    image = api.show(copy.image_id)
    if image.status == images.ACTIVE:  # sent by who did not live to write it down
        return
    if image.status == _SAVING:
        raise errors.OutcomeUnknown('The Image service has not ended an upload before.')
    if image.status != _QUEUED:
        raise ImageRefused(f'Image {image.id} is {image.status}.')
    with _open(workshop, backend, volume_id, size_gb, str(copy.disk_format), look) as body:
        failpoints.reach('volume.image.made')
        api.upload(image.id, body)
    failpoints.reach('volume.image.sent')
    _compare(api.show(image.id), body)


def abandon(workshop: Workshop, copy: ImageCopy) -> None:
    """Delete an image that did not get its data; one that has them is somebody's."""
    api = workshop.connect()
    with contextlib.suppress(errors.NotFound):
        if api.show(copy.image_id).status != images.ACTIVE:
            api.delete(copy.image_id)


def _compare(image: Image, body: Body) -> None:
    hashes = {'sha512': body.digest.hexdigest()}
    if image.status != images.ACTIVE or image.size != len(body):
        raise ImageRefused(f'Image {image.id} is {image.status} and has {image.size} bytes; {len(body)} were sent.')
    if any(value != hashes[name] for name, value in image.hashes.items() if name in hashes):
        raise ImageRefused(f'Image {image.id} is damaged: its sha512 is not that of the data that were sent.')


@contextlib.contextmanager
def _open(
    workshop: Workshop, backend: Backend, volume_id: str, size_gb: int, disk_format: str, look: Look
) -> Iterator[Body]:
    path, size = backend.path(volume_id), size_gb * images.GIB
    if path.startswith('/'):
        handle = _open_anew(path)
        try:
            if disk_format == images.RAW:
                yield Body(handle, size, look, 0)
                return
        finally:
            os.close(handle)
    with workshop.open_file() as file:
        workshop.converter.make(
            Disk(path, images.RAW),
            Disk(f'/proc/self/fd/{file.fileno()}', images.FORMATS[disk_format]),
            size,
            look.proceed,
            [file.fileno()],
            lambda percent: look.note(0, _CONVERTED, percent / 100),
        )
        yield Body(file.fileno(), os.fstat(file.fileno()).st_size, look, _CONVERTED)


def _open_anew(path: str) -> int:
    """Open a volume to read what its storage has.

    The kernel's target writes to a logical volume past the cache, where an earlier read has left the blocks of then.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise StorageError(f'The volume cannot be read: {exc.strerror}.') from exc
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    return handle
