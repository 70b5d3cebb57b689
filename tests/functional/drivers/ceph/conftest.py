# SPDX-License-Identifier: Apache-2.0
import contextlib
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.pool import MONITORS, Cluster, Pool
from multiattach.drivers.ceph.users import User
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until

SHORT = 3  # s until Ceph is taken for silent; on a busy machine that may be wrong
_NUMBERS = itertools.count()


class Store:
    """A pool, and the service's own user of it."""

    def __init__(self, ceph: Ceph, monitors: str = MONITORS) -> None:
        self.ceph = ceph
        self.name = f'c{next(_NUMBERS)}'
        ceph.make_pool(self.name)
        self.conf = str(ceph.make_user(self.name, f'profile rbd pool={self.name}'))
        ceph.ask(
            'auth caps', entity=f'client.{self.name}', caps=['mon', monitors, 'osd', f'profile rbd pool={self.name}']
        )
        self.pool = self.make_pool()

    def make_pool(self, timeout: int = 30) -> Pool:
        return Pool(library.load(), Cluster(self.conf, self.name, 'ceph', self.name), timeout)

    def make_image(self, source: str | None = None) -> str:
        """Make an image of 64 MiB, or a clone."""
        rbd = self.pool.rbd
        name = f'volume-{uuid.uuid4()}'
        with self.ceph.open_pool(self.name) as io:
            if source is None:
                rbd.RBD().create(io, name, 64 << 20, old_format=False, features=rbd.RBD_FEATURE_LAYERING)
                return name
            with rbd.Image(io, source) as image:
                image.create_snap('s')
                rbd.RBD().clone(io, source, 's', io, name, features=rbd.RBD_FEATURE_LAYERING)
                image.remove_snap('s')
        return name


class Client:
    """A client of one user, as a host has it; it writes without end once it is told to."""

    def __init__(self, store: Store, user: User, key: str | None = None) -> None:
        self.user = user
        self.rados, self.rbd = library.load()
        self.connection = self.rados.Rados(rados_id=user.name, conffile=str(store.ceph.conf))
        self.connection.conf_set('key', key or user.key)
        for name in ('client_mount_timeout', 'rados_mon_op_timeout', 'rados_osd_op_timeout'):
            self.connection.conf_set(name, '30')
        self.connection.connect()
        self.io = self.connection.open_ioctx(store.name)
        self.error: Exception | None = None
        self.written = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return str(self.connection.get_addrs())

    def open(self, name: str, **named: Any) -> Any:
        return self.rbd.Image(self.io, name, **named)

    def write(self, name: str, at: int = 0) -> None:
        """Begin to write, one block after the other, at one place."""

        def write() -> None:
            try:
                with self.open(name) as image:
                    while not self._stop.is_set():
                        image.write(b'%4096d' % self.written, at)
                        self.written += 1
            except Exception as exc:
                self.error = exc

        self._thread = threading.Thread(target=write, daemon=True)
        self._thread.start()
        self.go_on()

    def go_on(self) -> None:
        """Wait until it has written more, which it does without an error."""
        before = self.written
        wait_until(lambda: self.written > before + 5 or self.error, 30, 'the writer', 0.01)
        assert self.error is None

    def end(self) -> None:
        """Wait until an error has ended its writing."""
        assert self._thread is not None
        self._thread.join(30)
        assert self.error is not None

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)
        with contextlib.suppress(Exception):
            self.io.close()
            self.connection.shutdown()


@pytest.fixture
def make_store(ceph: Ceph) -> Iterator[Callable[..., Store]]:
    made = []

    def make(**options: Any) -> Store:
        made.append(Store(ceph, **options))
        return made[-1]

    yield make
    for one in made:
        ceph.remove_pool(one.name)


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store()


@pytest.fixture
def connect(store: Store) -> Iterator[Callable[..., Client]]:
    """Connect as a user of an attachment."""
    made = []

    def connect(user: User) -> Client:
        made.append(Client(store, user))
        return made[-1]

    yield connect
    for one in made:
        one.stop()
