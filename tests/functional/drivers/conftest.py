# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deployments.targets import IS_KERNEL, KernelTarget
from tests.testbed.ceph import Ceph

from .stores import CEPH_VARIABLE, GROUP_VARIABLE, FileStore, LvmStore, RbdStore, Store


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test of storage run on each kind; what is so on one mostly is on another, so the gate leaves that out."""
    if 'store' not in metafunc.fixturenames:
        return
    if os.environ.get(GROUP_VARIABLE):
        kinds: list[Any] = ['lvm']
    elif os.environ.get(CEPH_VARIABLE):
        kinds = ['rbd']
    elif IS_KERNEL:
        kinds = ['file']
    else:
        everywhere = metafunc.definition.get_closest_marker('every_store')
        kinds = ['file', 'rbd' if everywhere else pytest.param('rbd', marks=pytest.mark.slow)]
    metafunc.parametrize('store', kinds, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Store]:
    """Storage of the kind that the test's parameter names."""
    kind = getattr(request, 'param', 'file')
    if kind == 'rbd':
        yield request.getfixturevalue('rbd')
    elif kind == 'lvm':
        made = LvmStore(os.environ[GROUP_VARIABLE])
        yield made
        if IS_KERNEL:  # it has them in use
            KernelTarget().clear()
        made.clear()
    else:
        yield FileStore(tmp_path / 'volumes')


@pytest.fixture(scope='session')
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    folder = tmp_path_factory.mktemp('ceph') / 'c'
    if CEPH_VARIABLE in os.environ:
        cluster = Ceph.join(pathlib.Path(os.environ[CEPH_VARIABLE]), folder)
        yield cluster
        cluster.leave()
        return
    with Ceph(folder) as cluster:
        # With it a clone need not be copied.
        cluster.ask('osd set-require-min-compat-client', version='mimic')
        yield cluster


@pytest.fixture
def make_rbd(ceph: Ceph, tmp_path: pathlib.Path) -> Iterator[Callable[..., RbdStore]]:
    """Make a backend with a pool and a user of its own."""
    made: list[RbdStore] = []

    def make(*lines: str, **options: Any) -> RbdStore:
        made.append(RbdStore.open_pool(ceph, tmp_path, *lines, **options))
        return made[-1]

    yield make
    for one in made:
        ceph.remove_pool(one.pool)


@pytest.fixture
def rbd(make_rbd: Callable[..., RbdStore]) -> RbdStore:
    return make_rbd()
