# SPDX-License-Identifier: Apache-2.0
"""Where an image's blocks can be shared, judged before anything is made; Ceph is in tests/functional."""

import errno
import types
from typing import Any
from unittest import mock

import pytest

from multiattach.drivers.backends.rbd_imports import Origin, RbdImports
from multiattach.drivers.ceph.pool import Cluster, Pool


class RadosError(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(f'[errno {number}]')
        self.errno = number


class ObjectNotFound(RadosError):
    pass


class FullPool:
    """A pool that has reached its quota: whatever writes waits, or is refused if it asked for that."""

    def __init__(self) -> None:
        self.waits = True

    def set_osdmap_full_try(self) -> None:
        self.waits = False

    def remove_object(self, _name: str) -> None:
        raise RadosError(errno.ETIMEDOUT if self.waits else errno.EDQUOT)

    def close(self) -> None: ...


def test_an_image_in_a_full_pool_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    rados = types.SimpleNamespace(Error=RadosError, ObjectNotFound=ObjectNotFound)
    rbd: Any = types.SimpleNamespace(Error=RadosError, Image=mock.MagicMock())
    pool = Pool((rados, rbd), Cluster('/etc/ceph/ceph.conf', 'multiattach', 'ceph', 'volumes'), 5)
    connection = types.SimpleNamespace(open_ioctx=lambda _name: FullPool())

    def run(_what: str, work: Any, **_more: Any) -> Any:
        pool._mine.connection = connection
        return work(None, None)

    monkeypatch.setattr(pool, 'run', run)
    monkeypatch.setattr('multiattach.drivers.backends.rbd_imports.Images', mock.Mock())
    imports = RbdImports(pool, str, mock.Mock(), order=22, depth=5, image_pools=['images'])
    assert not imports._can_read(Origin('fsid', 'images', 'image', 'snap'), 1 << 30)
