# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph that are to become volumes."""

import contextlib
import dataclasses
import errno
import urllib.parse
from collections.abc import Callable, Collection, Iterator
from typing import Any

from oslo_log import log

from multiattach.domain import images
from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.rbd_images import Images
from multiattach.drivers.ceph.calls import Cancelled, Progress
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import CopyAborted, DriverError, StorageError

LOG = log.getLogger(__name__)
_WORDS = 4
_NOTHING = 'multiattach.nothing'
# There is no such pool or image, or the worker's user may not read it; or the pool is full.
_ELSEWHERE = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EDQUOT)
Proceed = Callable[[], bool]


@dataclasses.dataclass(frozen=True)
class Origin:
    """A snapshot of an image of the Image service."""

    fsid: str
    pool: str
    image: str
    snapshot: str


def parse_location(location: str) -> Origin | None:
    """Read a location as Glance writes it, ``rbd://FSID/POOL/IMAGE/SNAPSHOT``; None for another one."""
    scheme, _, rest = location.partition('://')
    words = [urllib.parse.unquote(word) for word in rest.split('/')]
    return Origin(*words) if scheme == 'rbd' and len(words) == _WORDS and all(words) else None


class RbdDraft:
    """An image without the volume's name.

    :param ident: its id: another worker may have taken over, and made another one of this name.
    """

    def __init__(self, pool: Pool, images: Images, volume_id: str, ident: str, path: str) -> None:
        self._pool = pool
        self._images = images
        self._volume_id = volume_id
        self.ident = ident
        self.path = path

    def adopt(self) -> None:
        draft, name = f'draft-{self._volume_id}', f'volume-{self._volume_id}'

        def adopt(io: Any, _progress: Any) -> None:
            with self._images.open(io, ident=self.ident) as image:
                if not self._images.is_named(io, draft, image):
                    raise CopyAborted
                self._images.move_to_trash(io, name)
                self._images.rename(io, draft, name)

        self._pool.run(f'rename image {draft}', adopt)


class RbdImports:
    """Images ``draft-UUID`` of a pool.

    :param name_path: names an image as targets have it.
    :param drop: removes the draft of a volume, and what it may share blocks with.
    :param order: objects of new images have 2 to that power bytes.
    :param depth: generations of images that may share blocks.
    :param image_pools: names of the pools that the Image service has its images in.
    """

    def __init__(
        self,
        pool: Pool,
        name_path: Callable[[str], str],
        drop: Callable[[str, Proceed], None],
        *,
        order: int,
        depth: int,
        image_pools: Collection[str],
    ) -> None:
        self._pool = pool
        self._images = Images(pool)
        self._name_path = name_path
        self._drop = drop
        self._order = order
        self._depth = depth
        self._image_pools = image_pools

    @contextlib.contextmanager
    def open(self, volume_id: str, size_gb: int, proceed: Proceed) -> Iterator[RbdDraft]:
        def make(io: Any, _progress: Any) -> str:
            if not self._images.create(io, name, size_gb * GIB, self._order):
                raise CopyAborted  # another worker made it since
            with self._images.open(io, name, read_only=True) as image:
                return str(image.id())

        name = f'draft-{volume_id}'
        with self._hold(volume_id, name, make, proceed) as draft:
            yield draft

    def find_shareable(self, image: images.Image) -> Origin | None:
        """Find what the Image service keeps of an image in this cluster, if a volume can share its blocks.

        A location is what somebody has told the Image service: only what has the image's own id for its name, in a pool
        of that service, is the image's for sure.
        """
        if image.disk_format != images.RAW:
            return None
        for location in image.locations:
            found = parse_location(location)
            if found is None or found.pool not in self._image_pools or found.image != image.id:
                continue
            if found.fsid == self._pool.find_fsid() and self._can_read(found, image.size):
                return found
        return None

    def _can_read(self, origin: Origin, size: int | None) -> bool:
        def look(_io: Any, _progress: Any) -> str:
            try:
                with self._pool.open_other(origin.pool) as theirs:
                    self._check_write(theirs)
                with (
                    self._pool.open_other(origin.pool) as io,
                    self._pool.rbd.Image(io, origin.image, snapshot=origin.snapshot, read_only=True) as image,
                ):
                    if image.size() != size:
                        return f'it has {image.size()} bytes'
                    return '' if image.is_protected_snap(origin.snapshot) else 'its snapshot is not protected'
            except (self._pool.rados.Error, self._pool.rbd.Error) as exc:
                if getattr(exc, 'errno', None) not in _ELSEWHERE:
                    raise
                return str(exc)

        obstacle = self._pool.run(f'look at image {origin.image}', look)
        if obstacle:
            LOG.warning('Image %s/%s is fetched, and shares no blocks: %s', origin.pool, origin.image, obstacle)
        return not obstacle

    def _check_write(self, io: Any) -> None:
        """See that the user may write to a pool, by what changes nothing.

        librbd 16.2 destroys its process, now and then, while it makes clones of images that it may only read.
        """
        with contextlib.suppress(self._pool.rados.ObjectNotFound):
            io.remove_object(_NOTHING)

    @contextlib.contextmanager
    def share(self, volume_id: str, size_gb: int, origin: Origin, proceed: Proceed) -> Iterator[RbdDraft]:
        """Have a draft as :meth:`open` does, with the blocks of an image in it."""

        def make(io: Any, progress: Progress) -> str:
            with self._pool.open_other(origin.pool) as theirs:
                try:
                    self._pool.rbd.RBD().clone(
                        theirs, origin.image, origin.snapshot, io, name, features=self._images.features
                    )
                except self._pool.rbd.ImageExists as exc:
                    raise CopyAborted from exc
            with self._images.open(io, name) as image:
                self._images.grow(image, size_gb * GIB)
                if self._images.count_ancestors(image) > self._depth:
                    image.flatten(on_progress=progress)
                return str(image.id())

        name = f'draft-{volume_id}'
        with self._hold(volume_id, name, make, proceed) as draft:
            yield draft

    @contextlib.contextmanager
    def _hold(
        self, volume_id: str, name: str, make: Callable[[Any, Progress], str], proceed: Proceed
    ) -> Iterator[RbdDraft]:
        """Have a draft for the length of a block.

        :param make: makes it, and returns its id.
        """

        def is_left(io: Any, _progress: Any) -> bool:
            try:
                with self._images.open(io, name, read_only=True) as image:
                    return bool(image.id() == draft.ident)
            except self._pool.rbd.ImageNotFound:
                return False

        self._drop(volume_id, proceed)
        try:
            ident = self._pool.run(f'make image {name}', make, proceed=proceed)
        except (Cancelled, StorageError) as exc:
            self._drop(volume_id, lambda: True)  # it may fill the pool
            if isinstance(exc, Cancelled):
                raise CopyAborted from exc
            raise
        draft = RbdDraft(self._pool, self._images, volume_id, ident, self._name_path(name))
        try:
            yield draft
        except BaseException:
            with contextlib.suppress(DriverError):  # else whoever makes it anew removes it
                if self._pool.run(f'find image {name}', is_left):
                    self._drop(volume_id, lambda: True)
            raise
