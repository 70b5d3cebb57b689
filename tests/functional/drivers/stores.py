# SPDX-License-Identifier: Apache-2.0
"""Storage of each kind, as tests see it beside the backend."""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any, Protocol, cast

from multiattach.conf import plugins, volume as volume_conf
from multiattach.drivers.backends.base import Capacity
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.backends.lvm import LvmBackend
from multiattach.drivers.backends.rbd import RbdBackend
from multiattach.drivers.ceph import library
from multiattach.drivers.errors import StorageUnavailable
from tests.testbed import processes
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until

#: names a volume group: the tests of all kinds then run on that, and on nothing else (see tests/e2e/test_lvm.py)
GROUP_VARIABLE = 'MULTIATTACH_TEST_VOLUME_GROUP'
#: names the configuration of a cluster of Ceph: the same, with images of that (see tests/e2e/test_lio.py)
CEPH_VARIABLE = 'MULTIATTACH_TEST_CEPH'
_NUMBERS = itertools.count()


class Store(Protocol):
    """A backend, and its volumes seen from behind it."""

    backend: Any
    #: bytes that a size is a multiple of
    grain: int

    def make(self, volume_id: str, size: int) -> None:
        """Make a small volume.

        :param size: bytes
        """

    def resize(self, volume_id: str, size: int) -> None:
        """Make it larger.

        :param size: bytes
        """

    def read(self, volume_id: str, start: int, length: int) -> bytes:
        """Read what is stored."""

    def write(self, volume_id: str, start: int, data: bytes) -> None:
        """Write behind the back of whoever exports it."""

    def size(self, volume_id: str) -> int:
        """Tell the size in bytes."""

    def put_away(self, volume_id: str) -> None:
        """Have an operator make trash of it by hand."""

    def names(self) -> list[str]:
        """List all that takes room; of trash without its number."""


class FileStore:
    """Files of a folder."""

    grain = 512

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self.backend: Any = FileBackend(directory)
        self.backend.check()

    def make(self, volume_id: str, size: int) -> None:
        pathlib.Path(self.backend.path(volume_id)).touch()
        self.resize(volume_id, size)

    def resize(self, volume_id: str, size: int) -> None:
        os.truncate(self.backend.path(volume_id), size)

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

    def put_away(self, volume_id: str) -> None:
        (self._directory / f'volume-{volume_id}').rename(self._directory / f'trash-{volume_id}.1f')

    def names(self) -> list[str]:
        return sorted(path.name.partition('.')[0] for path in self._directory.iterdir())


class LvmStore(FileStore):
    """Logical volumes of a group that is there and empty."""

    grain = 4 << 20

    def __init__(self, group: str) -> None:
        self._group = group
        self.backend = LvmBackend(group)
        self.backend.check()

    def make(self, volume_id: str, size: int) -> None:
        words = ('--yes', '--wipesignatures', 'y', '--zero', 'y', '--size', f'{size}b')
        processes.run(['lvcreate', *words, '--name', f'volume-{volume_id}', self._group])
        self.write(volume_id, 0, bytes(size))

    def resize(self, volume_id: str, size: int) -> None:
        processes.run(['lvextend', '--size', f'{size}b', f'{self._group}/volume-{volume_id}'])

    def read(self, volume_id: str, start: int, length: int) -> bytes:
        with open(self.backend.path(volume_id), 'rb') as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # the kernel's target does without the cache
            file.seek(start)
            return file.read(length)

    def write(self, volume_id: str, start: int, data: bytes) -> None:
        with open(self.backend.path(volume_id), 'r+b') as file:
            file.seek(start)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def size(self, volume_id: str) -> int:
        with open(self.backend.path(volume_id), 'rb') as file:
            return file.seek(0, os.SEEK_END)

    def put_away(self, volume_id: str) -> None:
        processes.run(['lvrename', self._group, f'volume-{volume_id}', f'trash-{volume_id}.1f'])

    def names(self) -> list[str]:
        shown = processes.run(['lvs', '--noheadings', '--options', 'lv_name', self._group])
        return sorted(name.partition('.')[0] for name in shown.split())

    def clear(self) -> None:
        """Remove all that a test has left."""
        if self.names():
            processes.run(['lvremove', '--yes', '--force', self._group])


class RbdStore:
    """Images of a pool, seen by Ceph's administrator."""

    grain = 512

    def __init__(self, ceph: Ceph, backend: RbdBackend, options: dict[str, Any]) -> None:
        self.ceph = ceph
        self.pool: str = options['rbd_pool']
        self.options = options
        self.backend: Any = backend
        self.rados, self.rbd = library.load()

    @classmethod
    def open_pool(cls, ceph: Ceph, folder: pathlib.Path, *lines: str, **options: Any) -> 'RbdStore':
        """Make a pool, and a user for it.

        :param folder: for what the backend keeps
        :param lines: of the user's ceph.conf
        :param options: of the backend
        """
        name = f'p{next(_NUMBERS)}'
        ceph.make_pool(name)
        conf = ceph.make_user(name, f'profile rbd pool={name}', *lines)
        options |= {'rbd_pool': name, 'rbd_user': name, 'rbd_ceph_conf': str(conf)}
        backend = make_backend(options, folder)
        backend.check()
        return cls(ceph, backend, options)

    @contextlib.contextmanager
    def open(self, volume_id: str, **named: Any) -> Iterator[Any]:
        with self.io() as io, self.rbd.Image(io, f'volume-{volume_id}', **named) as image:
            yield image

    def io(self) -> contextlib.AbstractContextManager[Any]:
        return self.ceph.open_pool(self.pool)

    def make(self, volume_id: str, size: int) -> None:
        with self.io() as io:
            self.rbd.RBD().create(io, f'volume-{volume_id}', size, old_format=False, features=1)

    def resize(self, volume_id: str, size: int) -> None:
        with self.open(volume_id) as image:
            image.resize(size)

    def read(self, volume_id: str, start: int, length: int) -> bytes:
        with self.open(volume_id) as image:
            return bytes(image.read(start, length))

    def write(self, volume_id: str, start: int, data: bytes) -> None:
        with self.open(volume_id) as image:
            image.write(data, start)

    def size(self, volume_id: str) -> int:
        with self.open(volume_id) as image:
            return int(image.size())

    def limit(self, size: int) -> None:
        """Limit what the pool takes, and wait until the cluster knows.

        :param size: bytes; 0 for no limit
        """
        self.ceph.ask('osd pool set-quota', pool=self.pool, field='max_bytes', val=str(size))
        wait_until(lambda: self._is_full() == bool(size), 60, 'the monitor to see it')

    def _is_full(self) -> bool:
        [pool] = [one for one in self.ceph.ask('osd dump')['pools'] if one['pool_name'] == self.pool]
        return 'full' in pool['flags_names']

    def put_away(self, volume_id: str) -> None:
        with self.io() as io:
            self.rbd.RBD().trash_move(io, f'volume-{volume_id}')

    def names(self) -> list[str]:
        with self.io() as io:
            trash = [f'trash-{one["name"].removeprefix("volume-")}' for one in self.rbd.RBD().trash_list(io)]
            return sorted([*self.rbd.RBD().list(io), *trash])


def make_backend(options: dict[str, Any], folder: pathlib.Path) -> RbdBackend:
    values = {opt.dest: opt.default for opt in volume_conf.RBD_OPTS} | {'rados_connect_timeout': 30} | options
    return RbdBackend.from_options(
        type('Options', (), values)(), plugins.Surroundings('fast', 'host', folder / 'state')
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
