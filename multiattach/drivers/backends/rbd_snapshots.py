# SPDX-License-Identifier: Apache-2.0
"""Snapshots of images. What is done to several images at once is in :mod:`multiattach.drivers.backends.rbd`."""

import contextlib
from typing import Any

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.rbd_images import Images
from multiattach.drivers.ceph.calls import Cancelled, Progress
from multiattach.drivers.ceph.pool import Pool

PREFIX = 'snapshot-'  # as Cinder names them
_VOLUME = 'volume-'
_PIECE = 4 << 20  # bytes, an object of most images


def name_snapshot(snapshot_id: str) -> str:
    return f'{PREFIX}{snapshot_id}'


class RbdSnapshots:
    """Snapshots ``snapshot-UUID`` of the images of a pool. The I/O context is that of the call."""

    def __init__(self, pool: Pool, images: Images) -> None:
        self._rbd = pool.rbd
        self._images = images

    def create(self, io: Any, image_name: str, snapshot: str) -> None:
        with self._images.open(io, image_name) as image, contextlib.suppress(self._rbd.ImageExists):
            image.create_snap(snapshot)

    def list_children(self, io: Any, image_name: str, snapshot: str) -> list[Any]:
        """List the clones that keep a snapshot from being removed: those of the first kind alone do.

        :raises StorageError: some are not this service's.
        """
        with contextlib.suppress(self._rbd.ImageNotFound), self._images.open(io, image_name, read_only=True) as image:
            if image.is_protected_snap(snapshot):
                image.set_snap(snapshot)
                return self._images.list_children(f'{image_name}@{snapshot}', image)
        return []

    def remove(self, io: Any, image_name: str, snapshot: str) -> None:
        """Remove a snapshot; absent is success. Ceph keeps what clones of it need out of sight."""
        with contextlib.suppress(self._rbd.ImageNotFound), self._images.open(io, image_name) as image:
            if image.is_protected_snap(snapshot):
                image.unprotect_snap(snapshot)
            image.remove_snap(snapshot)

    def clone(self, io: Any, image_name: str, snapshot: str, draft: str) -> bool:
        """Make an image of a snapshot.

        :returns: whether it can share its blocks; else it must be flattened, and :meth:`release` comes after that.
        """
        try:
            self._images.clone_snapshot(io, image_name, snapshot, draft)
        except self._rbd.InvalidArgument:
            # This cluster takes clients that know clones of the first kind only.
            with self._images.open(io, image_name) as image:
                if not image.is_protected_snap(snapshot):
                    image.protect_snap(snapshot)
            self._images.clone_snapshot(io, image_name, snapshot, draft)
            return False
        return True

    def release(self, io: Any, image_name: str, snapshot: str) -> None:
        """Let a snapshot be removed again, if no other clone needs it."""
        with (
            contextlib.suppress(self._rbd.ImageNotFound, self._rbd.ImageBusy),
            self._images.open(io, image_name) as image,
        ):
            if image.is_protected_snap(snapshot):
                image.unprotect_snap(snapshot)

    def revert(self, io: Any, progress: Progress, image_name: str, snapshot: str) -> None:
        """Write again what has changed since a snapshot; it may be repeated from the start.

        librbd's own way tells nothing of itself and cannot be broken off: nobody would know when it has ended.
        """
        with (
            self._images.open(io, image_name) as image,
            self._rbd.Image(io, image_name, snapshot=snapshot, read_only=True) as origin,
        ):
            size = origin.size()
            for start in range(0, size, GIB):
                changed: list[tuple[int, int]] = []
                image.diff_iterate(
                    start,
                    min(GIB, size - start),
                    snapshot,
                    lambda offset, length, _exists, found=changed: found.append((offset, length)),
                )
                for offset, length in changed:
                    self._copy(origin, image, offset, length, progress)
                progress(start, size)
                if progress.is_cancelled:
                    raise Cancelled

    def _copy(self, origin: Any, image: Any, start: int, length: int, progress: Progress) -> None:
        for place in range(start, start + length, _PIECE):
            if progress.is_cancelled:
                raise Cancelled
            data = origin.read(place, min(_PIECE, start + length - place))
            if any(data):
                image.write(data, place)
            else:
                image.write_zeroes(place, len(data))
            progress(place, start + length)

    def list(self, io: Any) -> dict[str, str | None]:
        """List the snapshots of all images, with the volume of each."""
        found: dict[str, str | None] = {}
        for name in self._rbd.RBD().list(io):
            if not name.startswith(_VOLUME):
                continue
            with contextlib.suppress(self._rbd.ImageNotFound), self._images.open(io, name, read_only=True) as image:
                found |= {
                    one['name'].removeprefix(PREFIX): name.removeprefix(_VOLUME)
                    for one in image.list_snaps()
                    if one['name'].startswith(PREFIX)
                }
        return found
