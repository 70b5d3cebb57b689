# SPDX-License-Identifier: Apache-2.0
"""Images of one pool: what is done to them within one call, in a real thread."""

import contextlib
import dataclasses
import secrets
from typing import Any

from multiattach.drivers.ceph.images import ascend, learn_data_pool
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import ClearAborted, StorageError

_PREFIXES = ('volume-', 'draft-')
CLONE = 'clone-'
_CACHE = 'conf_rbd_cache'  # key in an image's metadata that librbd takes for the option rbd_cache
_PROBED = 'multiattach_probed'  # key in the pool's own metadata


@dataclasses.dataclass(frozen=True)
class Child:
    """A clone that shares blocks with an image.

    :param ident: id of its image, which stays the same in the trash.
    :param is_trash: it is in the trash.
    """

    ident: str
    name: str
    is_trash: bool


class Images:
    """Images, by name and by id. The I/O context is that of the call."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rbd = pool.rbd
        # The others make clients take turns at writing, or need that: those who share a volume must not.
        # With deep-flatten an image lets go of its parent though it has clones itself.
        self.features: int = self._rbd.RBD_FEATURE_LAYERING | self._rbd.RBD_FEATURE_DEEP_FLATTEN

    def probe(self, io: Any) -> None:
        """See that images can be made and deleted; once in a pool's life, and then that something can be written.

        It also makes the trash: in a pool that is full already nothing could be moved there.
        """
        known = dict(self._rbd.RBD().pool_metadata_list(io))
        if _PROBED not in known:
            name = f'probe-{secrets.token_hex(8)}'
            self._rbd.RBD().create(io, name, 0, old_format=False, features=self.features)
            self._rbd.RBD().trash_move(io, name)
            for ident in self.list_trash(io, {name}):
                self._rbd.RBD().trash_remove(io, ident)
        self._rbd.RBD().pool_metadata_set(io, _PROBED, 'yes')

    def open(self, io: Any, name: str | None = None, *, ident: str | None = None, read_only: bool = False) -> Any:
        """Open an image; without ``read_only`` it has a watcher."""
        return self._rbd.Image(io, name, image_id=ident, read_only=read_only)

    def find_size(self, io: Any, name: str) -> int | None:
        """Return an image's size in bytes, None if there is no such image."""
        try:
            with self.open(io, name, read_only=True) as image:
                return int(image.size())
        except self._rbd.ImageNotFound:
            return None

    def create(self, io: Any, name: str, size: int, order: int) -> bool:
        """Make an image.

        :param size: bytes.
        :param order: its objects have 2 to that power bytes.
        :returns: False if there is one already.
        """
        for _ in range(2):
            try:
                self._rbd.RBD().create(io, name, size, order, old_format=False, features=self.features)
            except self._rbd.ImageExists:
                if self.find_size(io, name) is not None:
                    return False
                self.remove_remnants(io, name)
            else:
                return True
        raise StorageError(f'Image {name} is made and removed by somebody else.')

    def grow(self, image: Any, size: int) -> None:
        """Resize an image if it is smaller.

        :param size: bytes.
        """
        if image.size() < size:
            image.resize(size)

    def prepare_export(self, io: Any, name: str) -> None:
        """See that an image can be opened, and have every client of it write through.

        librbd's cache answers writes before they are done: another client would not see them, and no fence.
        """
        with self.open(io, name, read_only=True) as image:
            learn_data_pool(self._pool, io, image)
            if dict(image.metadata_list()).get(_CACHE) == 'false':
                return
        with self.open(io, name) as image:
            image.metadata_set(_CACHE, 'false')

    def is_named(self, io: Any, name: str, image: Any) -> bool:
        """Tell whether an open image, and no other one, has a name."""
        try:
            with self.open(io, name, read_only=True) as found:
                return bool(found.id() == image.id())
        except self._rbd.ImageNotFound:
            return False

    def rename(self, io: Any, name: str, new: str) -> None:
        self._rbd.RBD().rename(io, name, new)

    def remove_remnants(self, io: Any, name: str) -> None:
        """Remove what a crash left of the making of an image: it has a name, and cannot be opened."""
        with contextlib.suppress(self._rbd.ImageNotFound):
            self._rbd.RBD().remove(io, name)

    def move_to_trash(self, io: Any, name: str) -> None:
        """Take an image away from its name; absent is success.

        :raises ClearAborted: somebody has it open.
        :raises StorageError: it has snapshots, or clones, that are not this service's.
        """
        try:
            with self.open(io, name, read_only=True) as image:
                self.check_unused(name, image)
        except self._rbd.ImageNotFound:
            self.remove_remnants(io, name)
            return
        try:
            self._rbd.RBD().trash_move(io, name)
        except self._rbd.ImageNotFound as exc:
            # librbd says the same where there is no room for the list of the trash.
            if self.find_size(io, name) is not None:
                raise StorageError(
                    f'Image {self._pool.cluster.pool}/{name} cannot be moved to the trash: is the pool full?'
                ) from exc

    def check_unused(self, name: str, image: Any) -> None:
        """See that an image can be deleted.

        :raises ClearAborted: others have it open.
        :raises StorageError: others have made snapshots or clones of it.
        """
        if watchers := self.describe_watchers(image):
            raise ClearAborted(f'image {self._pool.cluster.pool}/{name} is still open at {watchers}')
        strangers = [
            snap['name']
            for snap in image.list_snaps()
            if snap['namespace'] == self._rbd.RBD_SNAP_NAMESPACE_TYPE_USER and not snap['name'].startswith(CLONE)
        ]
        if strangers:
            raise StorageError(
                f'Image {self._pool.cluster.pool}/{name} has snapshots that this service did not make: '
                f'{", ".join(strangers)}. Remove them ("rbd snap rm").'
            )
        self.list_children(name, image)

    def describe_watchers(self, image: Any) -> str:
        """Name the clients besides this process that have an image open."""
        return ', '.join(
            f'{one["addr"]} (client.{one["id"]})' for one in image.watchers_list() if not self._pool.is_mine(one['id'])
        )

    def list_children(self, name: str, image: Any) -> list[Child]:
        """List the clones of an image.

        :raises StorageError: there are some that are not this service's.
        """
        found, strangers = [], []
        for one in image.list_children2():
            if one['pool'] == self._pool.cluster.pool and one['image'].startswith(_PREFIXES):
                found.append(Child(one['id'], one['image'], one['trash']))
            else:
                strangers.append(f'{one["pool"]}/{one["image"]}')
        if strangers:
            raise StorageError(
                f'Image {self._pool.cluster.pool}/{name} has clones that this service did not make: '
                f'{", ".join(strangers)}. Flatten them ("rbd flatten") or remove them.'
            )
        return found

    def list_trash(self, io: Any, names: set[str]) -> list[str]:
        """List the ids of the images in the trash that had these names."""
        return [one['id'] for one in self._rbd.RBD().trash_list(io) if one['name'] in names]

    # Clones -----------------------------------------------------------------------------

    def clone(self, io: Any, source: str, volume_id: str, draft: str) -> bool:
        """Make an image that shares its blocks with another one.

        :param volume_id: what it is made for, which names the snapshot that is taken of the source.
        :returns: whether it can stay so; else it must be flattened, and :meth:`drop_snapshot` comes after that.
        """
        with self.open(io, source) as image:
            self._drop_snapshot(image, volume_id)
            name = f'{CLONE}{volume_id}'
            image.create_snap(name)
            try:
                self.clone_snapshot(io, source, name, draft)
            except self._rbd.InvalidArgument:
                # This cluster takes clients that know clones of the first kind only. Of these a source is never free.
                image.protect_snap(name)
                self.clone_snapshot(io, source, name, draft)
                return False
            # It goes out of sight, and with the last image that needs it.
            image.remove_snap(name)
            return True

    def clone_snapshot(self, io: Any, source: str, snapshot: str, draft: str) -> None:
        self._rbd.RBD().clone(io, source, snapshot, io, draft, features=self.features)

    def drop_snapshot(self, io: Any, source: str, volume_id: str) -> None:
        """Remove the snapshot of a source that was taken for a clone; absent is success."""
        with contextlib.suppress(self._rbd.ImageNotFound), self.open(io, source) as image:
            self._drop_snapshot(image, volume_id)

    def _drop_snapshot(self, image: Any, volume_id: str) -> None:
        self._remove_snapshots(image, [f'{CLONE}{volume_id}'])

    def release(self, io: Any, ident: str) -> tuple[str, str] | None:
        """Remove the snapshots of an image that were taken for clones which were never finished.

        :returns: as :meth:`find_origin`; None, too, for an image of which a crash has left but its place in the trash.
        """
        try:
            with self.open(io, ident=ident, read_only=True) as image:
                origin = self.find_origin(image)
                names = [one['name'] for one in image.list_snaps() if one['name'].startswith(CLONE)]
            if names:
                with self.open(io, ident=ident) as image:
                    self._remove_snapshots(image, names)
        except self._rbd.ImageNotFound:
            return None
        return origin

    def _remove_snapshots(self, image: Any, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(self._rbd.ImageNotFound):
                if image.is_protected_snap(name):
                    image.unprotect_snap(name)
                image.remove_snap(name)

    def find_origin(self, image: Any) -> tuple[str, str] | None:
        """Return the id of the image that this one is a clone of, and the name of the snapshot; None for none."""
        try:
            return image.parent_id(), image.get_parent_image_spec()['snap_name']
        except self._rbd.ImageNotFound:
            return None

    def drop_origin(self, io: Any, origin: tuple[str, str]) -> None:
        """Remove the snapshot that a clone was made of, if it was taken for that: most are gone already."""
        ident, snapshot = origin
        if snapshot.startswith(CLONE):
            with contextlib.suppress(self._rbd.ImageNotFound), self.open(io, ident=ident) as image:
                self._remove_snapshots(image, [snapshot])

    def count_ancestors(self, image: Any) -> int:
        """Count the images whose blocks an image may have to read."""
        return sum(1 for _ in ascend(self._pool, image))
