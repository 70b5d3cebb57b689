# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph that are copied to or from another backend.

Each piece is a call of its own, which is bounded in time, with the image opened by its name: what was renamed, or made
anew by another worker, is not found any more.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.rbd_images import Images
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import ClearAborted, StorageError

_WINDOW = 4 << 30  # bytes whose objects one call looks for
R = TypeVar('R')


class RemoteImage:
    def __init__(self, pool: Pool, images: Images, name: str) -> None:
        self._pool = pool
        self._images = images
        self._name = name
        self.size: int = self._run('look at', lambda image: int(image.size()))

    def _run(self, verb: str, work: Callable[[Any], R], *, writes: bool = False) -> R:
        def run(io: Any, _progress: Any) -> R:
            with self._images.open(io, self._name, read_only=not writes) as image:
                return work(image)

        return self._pool.run(f'{verb} image {self._name}', run)

    def extents(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.size, _WINDOW):
            length, found = min(_WINDOW, self.size - start), list[tuple[int, int]]()

            def note(begin: int, size: int, exists: bool, found: list[tuple[int, int]] = found) -> None:
                if exists:
                    found.append((begin, begin + size))

            def look(image: Any, start: int = start, length: int = length, note: Callable[..., None] = note) -> None:
                image.diff_iterate(start, length, None, note)

            self._run('look through', look)
            yield from found

    def read(self, start: int, length: int) -> bytes:
        data = self._run('read', lambda image: image.read(start, length))
        if len(data) != length:
            raise StorageError(f'Image {self._name} ends early.')
        return bytes(data)

    def write(self, start: int, data: bytes) -> None:
        def write(image: Any) -> None:
            image.write(data, start)
            image.flush()

        self._run('write', write, writes=True)

    def zero(self, start: int, end: int) -> None:
        """Leave it: a new image reads as zeros."""

    def flush(self) -> None:
        """Nothing waits: each piece was flushed before its image was closed."""


class MovableImages:
    """:param make: makes an image of a name and of a size in bytes.
    :param drop: moves an image to the trash; absent is success.
    """

    def __init__(
        self, pool: Pool, images: Images, make: Callable[[str, int], None], drop: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._images = images
        self._make = make
        self._drop = drop

    @contextlib.contextmanager
    def open_reader(self, volume_id: str) -> Iterator[RemoteImage]:
        yield RemoteImage(self._pool, self._images, f'volume-{volume_id}')

    @contextlib.contextmanager
    def open_draft(self, volume_id: str, size_gb: int) -> Iterator[RemoteImage]:
        if self._find_size(f'volume-{volume_id}') is not None:
            raise StorageError(f'There is an image volume-{volume_id} already.')
        name = f'draft-{volume_id}'
        self._drop(name)
        self._make(name, size_gb * GIB)
        yield RemoteImage(self._pool, self._images, name)

    def _find_size(self, name: str) -> int | None:
        return self._pool.run(f'look at image {name}', lambda io, _progress: self._images.find_size(io, name))

    def adopt(self, volume_id: str) -> None:
        draft, name = f'draft-{volume_id}', f'volume-{volume_id}'
        there = self._find_size(name) is not None
        if self._find_size(draft) is None:
            if not there:
                raise StorageError(f'The copy of volume {volume_id} is missing.')
            return
        if there:
            raise StorageError(f'There is an image {name} already, which is not the copy.')

        def rename(io: Any, _progress: Any) -> None:
            with self._images.open(io, draft, read_only=True) as image:
                if watchers := self._images.describe_watchers(image):  # of a worker that was thought to be dead
                    raise ClearAborted(f'image {draft} is still open at {watchers}')
            self._images.rename(io, draft, name)

        self._pool.run(f'rename image {draft}', rename)

    def drop_draft(self, volume_id: str) -> None:
        self._drop(f'draft-{volume_id}')
