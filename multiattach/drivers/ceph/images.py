# SPDX-License-Identifier: Apache-2.0
"""Images as others see them: what they are made of, and who has them open."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

from multiattach.drivers.ceph.addresses import strip_kind
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import StorageError

_PARALLEL = 8
_NOTHING = 'multiattach.nothing'


def name_image(volume_id: str) -> str:
    return f'volume-{volume_id}'


@dataclasses.dataclass(frozen=True)
class Watcher:
    """A client that has an image open to write, or had it: of one that died Ceph says so for 30 s.

    :param address: of its instance, ``ADDRESS:PORT/NONCE``.
    :param client: number of its instance; sessions have it, too.
    """

    address: str
    client: int


def list_watchers(pool: Pool, name: str, timeout: float | None = None) -> list[Watcher] | None:
    """List the clients, besides this process, that have an image open to write; None if there is no such image.

    Who has it open to read is not among them, nor is who was cut off.
    """

    def look(io: Any, _progress: Any) -> list[Watcher] | None:
        try:
            with pool.rbd.Image(io, name, read_only=True) as image:
                learn_data_pool(pool, io, image)
                found = [Watcher(strip_kind(one['addr']), one['id']) for one in image.watchers_list()]
        except pool.rbd.ImageNotFound:
            return None
        return [one for one in found if not pool.is_mine(one.client)]

    return pool.run(f'list who has image {name} open', look, timeout=timeout)


def list_watchers_of(pool: Pool, names: Collection[str]) -> dict[str, list[Watcher]]:
    """Do the same for several images, side by side; one that is not there has none."""
    if not names:
        return {}
    with concurrent.futures.ThreadPoolExecutor(min(_PARALLEL, len(names)), 'watchers') as workers:
        return dict(zip(names, workers.map(lambda one: list_watchers(pool, one) or [], names), strict=True))


@dataclasses.dataclass(frozen=True)
class Part:
    """An image whose blocks one reads: itself, or one that it shares them with; that of Glance is in another pool.

    :param objects: pool of its data, and how the names of the objects there begin.
    """

    pool: str
    ident: str
    objects: tuple[str, str]


def find_lineage(pool: Pool, io: Any, name: str) -> tuple[Part, list[Part]]:
    """Return what an image is, and all whose blocks it may have to read, the nearest first.

    :raises StorageError: there is no such image.
    """
    try:
        with pool.rbd.Image(io, name, read_only=True) as image:
            return _describe(pool, io, pool.cluster.pool, image), list(ascend(pool, image))
    except pool.rbd.ImageNotFound as exc:
        raise StorageError(f'There is no image {pool.cluster.pool}/{name}.') from exc


def ascend(pool: Pool, image: Any) -> Iterator[Part]:
    """Yield the images whose blocks an open image may have to read, the nearest first."""
    with contextlib.ExitStack() as opened:
        while True:
            try:
                where, ident = image.get_parent_image_spec()['pool_name'], image.parent_id()
            except pool.rbd.ImageNotFound:
                return
            io = opened.enter_context(pool.open_other(where))
            image = opened.enter_context(pool.rbd.Image(io, image_id=ident, read_only=True))
            yield _describe(pool, io, where, image)


def _describe(pool: Pool, io: Any, where: str, image: Any) -> Part:
    data = image.data_pool_id()
    return Part(
        where, image.id(), (where if data == io.get_pool_id() else pool.find_name(data), image.block_name_prefix())
    )


def learn_data_pool(pool: Pool, io: Any, image: Any) -> None:
    """Note where an image of the pool has its data: of another pool the OSDs are to be waited for, too."""
    if (data := image.data_pool_id()) != io.get_pool_id() and (name := pool.find_name(data)) not in pool.data_pools:
        with pool.open_other(name) as other, contextlib.suppress(pool.rados.ObjectNotFound):
            other.stat(_NOTHING)  # whether this user may
        pool.data_pools |= {name}
