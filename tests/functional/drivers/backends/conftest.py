# SPDX-License-Identifier: Apache-2.0
import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from multiattach.conf import plugins
from multiattach.conf import volume as volume_conf
from multiattach.drivers.backends.base import Capacity
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.backends.rbd import RbdBackend
from multiattach.drivers.ceph import library
from multiattach.drivers.errors import ClearAborted, StorageError, StorageUnavailable
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until

SHORT = 3  # s until a hasty backend takes Ceph for silent; on a busy machine it may be wrong
_NUMBERS = itertools.count()


class FileStore:
    """Volumes as a test sees them beside the backend."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self.backend: Any = FileBackend(directory)

    def read(self, volume_id: str, start: int, length: int) -> bytes:
        with open(self.backend.path(volume_id), 'rb') as file:
            file.seek(start)
            return file.read(length)

    def write(self, volume_id: str, start: int, data: bytes) -> None:
        with open(self.backend.path(volume_id), 'r+b') as file:
            file.seek(start)
            file.write(data)

    def size(self, volume_id: str) -> int:
        return pathlib.Path(self.backend.path(volume_id)).stat().st_size

    def names(self) -> list[str]:
        """All that takes room; of trash without its number."""
        return sorted(path.name.partition('.')[0] for path in self._directory.iterdir())


class RbdStore:
    """The same, asked as Ceph's administrator."""

    def __init__(self, ceph: Ceph, backend: RbdBackend, options: dict[str, Any]) -> None:
        self.ceph = ceph
        self.pool: str = options['rbd_pool']
        self.options = options
        self.backend: Any = backend
        self.rados, self.rbd = library.load()

    @contextlib.contextmanager
    def open(self, volume_id: str, **named: Any) -> Iterator[Any]:
        with self.io() as io, self.rbd.Image(io, f'volume-{volume_id}', **named) as image:
            yield image

    def io(self) -> contextlib.AbstractContextManager[Any]:
        return self.ceph.open_pool(self.pool)

    def read(self, volume_id: str, start: int, length: int) -> bytes:
        with self.open(volume_id) as image:
            return bytes(image.read(start, length))

    def write(self, volume_id: str, start: int, data: bytes) -> None:
        with self.open(volume_id) as image:
            image.write(data, start)

    def size(self, volume_id: str) -> int:
        with self.open(volume_id) as image:
            return int(image.size())

    def names(self) -> list[str]:
        with self.io() as io:
            trash = [f'trash-{one["name"].removeprefix("volume-")}' for one in self.rbd.RBD().trash_list(io)]
            return sorted([*self.rbd.RBD().list(io), *trash])


def make_hasty(store: 'RbdStore', tmp_path: pathlib.Path) -> RbdBackend:
    """Make another backend on a pool, which soon takes Ceph for silent."""
    made = make_backend({**store.options, 'rados_connect_timeout': SHORT}, tmp_path)
    repeat(made.check)
    return made


def repeat(step: Callable[[], None]) -> None:
    """Do a step, again and again as a worker does, until it is done."""

    def attempt() -> bool:
        try:
            step()
        except (StorageError, StorageUnavailable, ClearAborted):
            return False
        return True

    wait_until(attempt, 90, 'the step')


def make_backend(options: dict[str, Any], tmp_path: pathlib.Path) -> RbdBackend:
    values = {opt.dest: opt.default for opt in volume_conf.RBD_OPTS} | {'rados_connect_timeout': 30} | options
    return RbdBackend.from_options(
        type('Options', (), values)(), plugins.Surroundings('fast', 'host', tmp_path / 'state')
    )


def wait_for_capacity(backend: Any) -> Capacity:
    """Read the capacity; of a new pool Ceph's manager has no figures for some seconds."""

    def look() -> Capacity | None:
        try:
            return cast(Capacity, backend.capacity())
        except StorageUnavailable:
            return None

    found = wait_until(look, 30, 'figures of the pool')
    assert found is not None
    return found


@pytest.fixture
def make_rbd(ceph: Ceph, tmp_path: pathlib.Path) -> Iterator[Callable[..., RbdStore]]:
    """Make a backend with a pool and a user of its own."""
    made = []

    def make(*lines: str, **options: Any) -> RbdStore:
        name = f'p{next(_NUMBERS)}'
        ceph.make_pool(name)
        conf = ceph.make_user(name, f'profile rbd pool={name}', *lines)
        made.append(name)
        options |= {'rbd_pool': name, 'rbd_user': name, 'rbd_ceph_conf': str(conf)}
        backend = make_backend(options, tmp_path)
        backend.check()
        return RbdStore(ceph, backend, options)

    yield make
    for name in made:
        ceph.remove_pool(name)


@pytest.fixture
def rbd(make_rbd: Callable[..., RbdStore]) -> RbdStore:
    return make_rbd()
