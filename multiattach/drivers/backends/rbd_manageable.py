# SPDX-License-Identifier: Apache-2.0
"""Images of a pool that may become volumes, and snapshots of its volumes that may be managed."""

import contextlib
from typing import Any

from multiattach.drivers.backends.manageable import (
    Found,
    FoundSnapshot,
    check_obstacle,
    check_size,
    check_snapshot_size,
    is_passing,
    missing,
)
from multiattach.drivers.backends.rbd_images import CLONE, Images
from multiattach.drivers.backends.rbd_snapshots import name_snapshot
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import StorageError

_VOLUME = 'volume-'


class ManageableImages:
    def __init__(self, pool: Pool, images: Images) -> None:
        self._pool = pool
        self._images = images

    def list(self) -> list[Found]:
        names = self._pool.run('list images', lambda io, _progress: list(self._pool.rbd.RBD().list(io)))
        found = (self._look(name) for name in names if not is_passing(name))
        return [one for one in found if one is not None]

    def find(self, name: str) -> Found:
        found = None if is_passing(name) or not _is_name(name) else self._look(name)
        if found is None:
            raise missing(name, 'the pool')
        return found

    def _look(self, name: str) -> Found | None:
        def look(io: Any, _progress: Any) -> Found | None:
            with (
                contextlib.suppress(self._pool.rbd.ImageNotFound),
                self._images.open(io, name, read_only=True) as image,
            ):
                return Found(name, int(image.size()), self._find_obstacle(image))
            return None

        return self._pool.run(f'look at image {name}', look)

    def _find_obstacle(self, image: Any) -> str:
        rbd = self._pool.rbd
        if watchers := self._images.describe_watchers(image):
            return f'it is in use: open at {watchers}'
        if image.features() & rbd.RBD_FEATURE_JOURNALING or image.mirror_image_get_info()['global_id']:
            return 'it is mirrored, or has a journal'
        return check_size(int(image.size()))

    def take(self, volume_id: str, name: str) -> None:
        target = f'volume-{volume_id}'

        def take(io: Any, _progress: Any) -> None:
            there = self._images.find_size(io, target) is not None
            if self._images.find_size(io, name) is None or name == target:
                if not there:
                    raise missing(name, 'the pool')
                return
            if there:
                raise StorageError(f'There is an image {target} already, which is not {name}.')
            with self._images.open(io, name) as image:
                self._share(image)
            self._images.rename(io, name, target)

        if is_passing(name) or not _is_name(name):
            raise missing(name, 'the pool')
        found = self._look(name)
        if found is not None:
            check_obstacle(found)
        self._pool.run(f'rename image {name}', take)

    def _share(self, image: Any) -> None:
        """Take from an image what makes its clients take turns, so that several servers can write."""
        rbd = self._pool.rbd
        for feature in (rbd.RBD_FEATURE_FAST_DIFF, rbd.RBD_FEATURE_OBJECT_MAP, rbd.RBD_FEATURE_EXCLUSIVE_LOCK):
            if image.features() & feature:
                image.update_features(feature, False)


class ManageableImageSnapshots:
    """Snapshots of images ``volume-UUID``, by the names that Ceph has for them."""

    def __init__(self, pool: Pool, images: Images) -> None:
        self._pool = pool
        self._images = images

    def _list_of(self, image: Any, name: str) -> list[FoundSnapshot]:
        size = int(image.size())
        return [
            FoundSnapshot(one['name'], int(one['size']), check_snapshot_size(int(one['size']), size), name)
            for one in image.list_snaps()
            if one['namespace'] == self._pool.rbd.RBD_SNAP_NAMESPACE_TYPE_USER and not one['name'].startswith(CLONE)
        ]

    def find(self, volume_id: str, name: str) -> FoundSnapshot:
        image_name = f'{_VOLUME}{volume_id}'

        def look(io: Any, _progress: Any) -> FoundSnapshot | None:
            with (
                contextlib.suppress(self._pool.rbd.ImageNotFound),
                self._images.open(io, image_name, read_only=True) as image,
            ):
                return next((one for one in self._list_of(image, image_name) if one.name == name), None)
            return None

        found = self._pool.run(f'look at the snapshots of image {image_name}', look)
        if found is None:
            raise missing(name, f'the snapshots of image {image_name}')
        return found

    def take(self, snapshot_id: str, volume_id: str, name: str) -> None:
        image_name, target = f'{_VOLUME}{volume_id}', name_snapshot(snapshot_id)

        def take(io: Any, _progress: Any) -> None:
            with self._images.open(io, image_name) as image:
                known = {one.name: one for one in self._list_of(image, image_name)}
                if target in known:
                    if name in known and name != target:
                        raise StorageError(f'There is a snapshot {target} already, which is not {name[:64]}.')
                    return
                if name not in known:
                    raise missing(name, f'the snapshots of image {image_name}')
                check_obstacle(known[name])
                image.rename_snap(name, target)

        self._pool.run(f'rename a snapshot of image {image_name}', take)

    def list(self) -> list[FoundSnapshot]:
        found: list[FoundSnapshot] = []

        def look(io: Any, _progress: Any) -> None:
            for name in self._pool.rbd.RBD().list(io):
                if name.startswith(_VOLUME):
                    # One may go meanwhile.
                    with (
                        contextlib.suppress(self._pool.rbd.ImageNotFound),
                        self._images.open(io, name, read_only=True) as image,
                    ):
                        found.extend(self._list_of(image, name))

        self._pool.run('list snapshots', look)
        return found


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 255 and name.isprintable() and not set(name) & set('/@')
