# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph that are to become volumes."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.rbd_images import Images
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import CopyAborted, DriverError

Proceed = Callable[[], bool]


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

    :param order: objects of new images have 2 to that power bytes.
    :param name_path: names an image as targets have it.
    :param drop: removes the draft of a volume, and what it may share blocks with.
    """

    def __init__(
        self, pool: Pool, order: int, name_path: Callable[[str], str], drop: Callable[[str, Proceed], None]
    ) -> None:
        self._pool = pool
        self._images = Images(pool)
        self._order = order
        self._name_path = name_path
        self._drop = drop

    @contextlib.contextmanager
    def open(self, volume_id: str, size_gb: int, proceed: Proceed) -> Iterator[RbdDraft]:
        name = f'draft-{volume_id}'

        def make(io: Any, _progress: Any) -> str:
            if not self._images.create(io, name, size_gb * GIB, self._order):
                raise CopyAborted  # another worker made it since
            with self._images.open(io, name, read_only=True) as image:
                return str(image.id())

        def is_left(io: Any, _progress: Any) -> bool:
            try:
                with self._images.open(io, name, read_only=True) as image:
                    return bool(image.id() == draft.ident)
            except self._pool.rbd.ImageNotFound:
                return False

        self._drop(volume_id, proceed)
        ident = self._pool.run(f'make image {name}', make)
        draft = RbdDraft(self._pool, self._images, volume_id, ident, self._name_path(name))
        try:
            yield draft
        except BaseException:
            with contextlib.suppress(DriverError):  # else whoever makes it anew removes it
                if self._pool.run(f'find image {name}', is_left):
                    self._drop(volume_id, lambda: True)
            raise
