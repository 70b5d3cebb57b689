# SPDX-License-Identifier: Apache-2.0
"""Volumes as images of a pool of Ceph."""

import contextlib
import re
import time
from collections.abc import Callable, Collection
from typing import Any, Self

from oslo_log import log

from multiattach.conf import plugins, volume as volume_conf
from multiattach.domain import errors
from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.backends.names import Stored, sort_names
from multiattach.drivers.backends.rbd_capacity import read_capacity
from multiattach.drivers.backends.rbd_images import Images
from multiattach.drivers.backends.rbd_imports import RbdImports
from multiattach.drivers.backends.rbd_manageable import ManageableImages, ManageableImageSnapshots
from multiattach.drivers.backends.rbd_moving import MovableImages
from multiattach.drivers.backends.rbd_snapshots import RbdSnapshots, name_snapshot
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.calls import Cancelled, Progress
from multiattach.drivers.ceph.pool import Cluster, Pool
from multiattach.drivers.errors import ClearAborted, CopyAborted, DriverError, StorageError, StorageUnavailable

LOG = log.getLogger(__name__)

_CLUSTER_NAME = 'ceph'  # what everybody takes it for who is not told another one
_MIB_ORDER = 20
_PATIENCE = 10.0  # s; a volume's lock is held meanwhile, and a fence may wait for it
# They become part of a target's path and options, where other characters would mean something.
_NAME = re.compile(r'[A-Za-z0-9_.-]+')
_PATH = re.compile(r'/[A-Za-z0-9_./+-]+')

Proceed = Callable[[], bool]


class RbdBackend:
    """Images ``volume-UUID`` of a pool.

    ``draft-UUID`` is one that is being cloned; what is to be removed is in the pool's trash. A clone shares blocks
    with its source, as long as there is one: to clear a source gives its clones these blocks first.

    :param order: objects of new images have 2 to that power bytes.
    :param depth: generations of clones that may share blocks.
    :param patience: seconds to wait for an image that is to be exported.
    :param image_pools: names of the pools of the Image service.
    """

    OPTS = volume_conf.RBD_OPTS
    IS_REMOTE = True

    def __init__(self, pool: Pool, order: int, depth: int, patience: float, image_pools: Collection[str] = ()) -> None:
        self._pool = pool
        self._images = Images(pool)
        self.manageable = ManageableImages(pool, self._images)
        self.manageable_snapshots = ManageableImageSnapshots(pool, self._images)
        self.movable = MovableImages(pool, self._images, self._make, self._move_to_trash)
        self._snapshots = RbdSnapshots(pool, self._images)
        self._order = order
        self._depth = depth
        self._patience = patience
        self._silent_until = 0.0
        self._has_row: Callable[[str], bool] = lambda _ident: True
        self.imports = RbdImports(
            pool, self._name_path, self._drop_draft, order=order, depth=depth, image_pools=image_pools
        )

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        for name in ('rbd_pool', 'rbd_user', 'rbd_cluster_name', 'rbd_ceph_conf'):
            value = getattr(options, name)
            if not (_PATH if name == 'rbd_ceph_conf' else _NAME).fullmatch(value or ''):
                raise errors.ConfigurationError(
                    f'Option {name} in [{surroundings.section}]: {value!r} is no name or path that targets can take.'
                )
        chunk = options.rbd_store_chunk_size
        if chunk & (chunk - 1):
            raise errors.ConfigurationError(
                f'Option rbd_store_chunk_size in [{surroundings.section}] must be a power of two, not {chunk}.'
            )
        cluster = Cluster(options.rbd_ceph_conf, options.rbd_user, options.rbd_cluster_name, options.rbd_pool)
        pool = Pool(library.load(), cluster, options.rados_connect_timeout)
        order = _MIB_ORDER + chunk.bit_length() - 1
        return cls(pool, order, options.rbd_max_clone_depth, _PATIENCE, options.rbd_image_pools)

    @property
    def pool(self) -> Pool:
        return self._pool

    def learn_rows(self, has_row: Callable[[str], bool]) -> None:
        """Learn how to ask whether an image that is named after an id is, or was, this service's."""
        self._has_row = has_row

    def check(self) -> None:
        def check(io: Any, _progress: Any) -> None:
            self._pool.rbd.RBD().list(io)
            try:
                self._images.probe(io)
            except (self._pool.rbd.NoSpace, self._pool.rbd.DiskQuotaExceeded):
                LOG.warning('Pool %s is full: its images can be deleted only', self._pool.cluster.pool)

        try:
            self._pool.run('list and change images', check)
        except DriverError as exc:
            raise StorageError(f'The pool of an rbd backend cannot be used. {exc}') from exc

    def create(self, volume_id: str, size_gb: int) -> None:
        self._make(_name(volume_id), size_gb * GIB)

    def _make(self, name: str, size: int) -> None:
        def create(io: Any, _progress: Any) -> None:
            if not self._images.create(io, name, size, self._order):
                with self._images.open(io, name) as image:
                    self._images.grow(image, size)

        self._pool.run(f'make image {name}', create)

    def extend(self, volume_id: str, size_gb: int) -> None:
        name = _name(volume_id)

        def extend(io: Any, _progress: Any) -> None:
            with self._images.open(io, name) as image:
                self._images.grow(image, size_gb * GIB)

        self._pool.run(f'extend image {name}', extend)

    def path(self, volume_id: str) -> str:
        """Name the image for targets, once it can be opened: a target that waits for Ceph may serve nobody meanwhile.

        :raises StorageUnavailable: Ceph does not answer, or did not a moment ago.
        """
        name = _name(volume_id)
        if time.monotonic() < self._silent_until:
            raise StorageUnavailable(f'Ceph is not asked for image {name}: it did not answer a moment ago.')
        try:
            self._pool.run(
                f'open image {name}',
                lambda io, _progress: self._images.prepare_export(io, name),
                timeout=self._patience,
            )
        except StorageUnavailable:
            self._silent_until = time.monotonic() + self._patience
            raise
        return self._name_path(name)

    def _name_path(self, name: str) -> str:
        cluster = self._pool.cluster
        words = [f'rbd:{cluster.pool}/{name}', f'id={cluster.user}', f'conf={cluster.conf}']
        if cluster.name != _CLUSTER_NAME:
            words.append(f'cluster={cluster.name}')
        return ':'.join(words)

    def list_storage(self) -> Stored:
        def look(io: Any, _progress: Any) -> Stored:
            rbd = self._pool.rbd.RBD()
            return sort_names(rbd.list(io), [one['name'] for one in rbd.trash_list(io)])

        return self._pool.run('list images', look)

    def capacity(self) -> Capacity:
        return read_capacity(self._pool)

    # Deletion ---------------------------------------------------------------------------

    def discard(self, volume_id: str) -> None:
        for name in (_draft(volume_id), _name(volume_id)):
            self._move_to_trash(name)

    def _move_to_trash(self, name: str) -> None:
        self._pool.run(f'move image {name} to the trash', lambda io, _progress: self._images.move_to_trash(io, name))

    def clear(self, volume_id: str, proceed: Proceed) -> None:
        names = {_draft(volume_id), _name(volume_id)}
        found = self._pool.run('list its trash', lambda io, _progress: self._images.list_trash(io, names))
        for ident in found:
            try:
                self._remove(ident, proceed)
            except Cancelled as exc:
                raise ClearAborted('the worker stops') from exc

    def _remove(self, ident: str, proceed: Proceed) -> None:
        """Remove an image from the trash, once its clones have all blocks of their own."""

        def look(io: Any, _progress: Any) -> list[Any]:
            try:
                with self._images.open(io, ident=ident, read_only=True) as image:
                    return self._images.list_children(image.get_name(), image)
            except self._pool.rbd.ImageNotFound:
                return []

        def remove(io: Any, progress: Any) -> None:
            origin = self._images.release(io, ident)
            try:
                with contextlib.suppress(self._pool.rbd.ImageNotFound):
                    self._pool.rbd.RBD().trash_remove(io, ident, on_progress=progress)
                if origin is not None:
                    self._images.drop_origin(io, origin)
            except self._pool.rbd.ImageBusy as exc:
                with self._images.open(io, ident=ident, read_only=True) as image:
                    watchers = self._images.describe_watchers(image) or 'another step of this worker'
                raise ClearAborted(f'image {ident} in the trash is still open at {watchers}') from exc

        for child in self._pool.run('list clones', look):
            # What was given back may be in the trash, too: somebody else put it there.
            if child.is_trash and self._has_row(child.name.partition('-')[2]):
                self._remove(child.ident, proceed)
            else:
                self._flatten(child.name, child.ident, proceed)
        self._pool.run(f'remove image {ident} from the trash', remove, proceed=proceed)

    def _flatten(self, name: str, ident: str, proceed: Proceed) -> None:
        """Give an image all blocks of its own; it may be in use."""

        def flatten(io: Any, progress: Any) -> None:
            try:
                with self._images.open(io, ident=ident) as image:
                    if self._images.count_ancestors(image):
                        image.flatten(on_progress=progress)
            except self._pool.rbd.ImageNotFound:
                return  # deleted meanwhile

        LOG.info('Image %s gets the blocks that it shared with its source', name)
        self._pool.run(f'flatten image {name}', flatten, proceed=proceed)

    # Clones -----------------------------------------------------------------------------

    def clone(self, volume_id: str, source_id: str, size_gb: int, proceed: Proceed) -> None:
        source = _name(source_id)
        self._clone(
            volume_id,
            source,
            size_gb,
            proceed,
            lambda io, draft: self._images.clone(io, source, volume_id, draft),
            lambda io: self._images.drop_snapshot(io, source, volume_id),
        )

    def _clone(
        self,
        volume_id: str,
        source: str,
        size_gb: int,
        proceed: Proceed,
        make: Callable[[Any, str], bool],
        let_go: Callable[[Any], None],
    ) -> None:
        """Make an image of another one.

        :param make: makes it under a name, and returns whether it can share blocks.
        :param let_go: frees the source of what was needed only to make it; it may be repeated.
        """
        name, draft = _name(volume_id), _draft(volume_id)

        def clone(io: Any, progress: Progress) -> None:
            stays = make(io, draft)
            # Open up to its new name: another worker that takes over sees that, and leaves it alone.
            with self._images.open(io, draft) as image:
                self._images.grow(image, size_gb * GIB)
                if not stays or self._images.count_ancestors(image) > self._depth:
                    image.flatten(on_progress=progress)
                if progress.is_cancelled or not self._images.is_named(io, draft, image):
                    raise CopyAborted
                self._images.rename(io, draft, name)
            if not stays:
                let_go(io)

        def is_made(io: Any, _progress: Any) -> bool:
            if self._images.find_size(io, name) is None:
                return False
            let_go(io)
            return True

        if self._pool.run(f'find image {name}', is_made):
            return
        self._drop_draft(volume_id, proceed)
        try:
            self._pool.run(f'clone image {source}', clone, proceed=proceed)
        except (Cancelled, StorageError) as exc:
            self._drop_draft(volume_id, lambda: True)  # it may fill the pool
            if isinstance(exc, Cancelled):
                raise CopyAborted from exc
            raise

    def _drop_draft(self, volume_id: str, proceed: Proceed) -> None:
        """Remove what there is of a clone.

        :raises CopyAborted: somebody else is at it.
        """
        draft = _draft(volume_id)

        def drop(io: Any, _progress: Any) -> list[str]:
            self._images.move_to_trash(io, draft)
            return self._images.list_trash(io, {draft})

        try:
            for ident in self._pool.run(f'move image {draft} to the trash', drop):
                self._remove(ident, proceed)
        except (Cancelled, ClearAborted) as exc:
            raise CopyAborted from exc

    # Snapshots --------------------------------------------------------------------------

    def can_snapshot_in_use(self) -> bool:
        return True

    def create_snapshot(self, snapshot_id: str, volume_id: str, _proceed: Proceed) -> None:
        name, snapshot = _name(volume_id), name_snapshot(snapshot_id)
        self._pool.run(
            f'take {snapshot} of image {name}', lambda io, _progress: self._snapshots.create(io, name, snapshot)
        )

    def delete_snapshot(self, snapshot_id: str, volume_id: str, proceed: Proceed) -> None:
        name, snapshot = _name(volume_id), name_snapshot(snapshot_id)
        children = self._pool.run(
            'list clones', lambda io, _progress: self._snapshots.list_children(io, name, snapshot)
        )
        try:
            for child in children:
                self._flatten(child.name, child.ident, proceed)
        except Cancelled as exc:
            raise ClearAborted('the worker stops') from exc
        self._pool.run(
            f'remove {snapshot} of image {name}', lambda io, _progress: self._snapshots.remove(io, name, snapshot)
        )

    def clone_snapshot(self, volume_id: str, snapshot_id: str, source_id: str, size_gb: int, proceed: Proceed) -> None:
        source, snapshot = _name(source_id), name_snapshot(snapshot_id)
        self._clone(
            volume_id,
            source,
            size_gb,
            proceed,
            lambda io, draft: self._snapshots.clone(io, source, snapshot, draft),
            lambda io: self._snapshots.release(io, source, snapshot),
        )

    def revert(self, volume_id: str, snapshot_id: str, proceed: Proceed) -> None:
        name, snapshot = _name(volume_id), name_snapshot(snapshot_id)
        try:
            self._pool.run(
                f'revert image {name} to {snapshot}',
                lambda io, progress: self._snapshots.revert(io, progress, name, snapshot),
                proceed=proceed,
            )
        except Cancelled as exc:
            raise CopyAborted from exc

    def list_snapshots(self) -> dict[str, str | None]:
        return self._pool.run('list snapshots', lambda io, _progress: self._snapshots.list(io))


def _name(volume_id: str) -> str:
    return f'volume-{volume_id}'


def _draft(volume_id: str) -> str:
    return f'draft-{volume_id}'
