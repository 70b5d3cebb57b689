# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Callable, Iterator

import pytest

from multiattach.drivers.targets.lio.configfs import ROOT, Configfs
from multiattach.drivers.targets.lio.target import LioTarget
from tests.functional.drivers.stores import Store
from tests.functional.drivers.targets.tgt.conftest import Volume, free_portal


@pytest.fixture
def make_target(tmp_path: pathlib.Path) -> Iterator[Callable[..., LioTarget]]:
    made: list[LioTarget] = []

    def make(**options: object) -> LioTarget:
        target = LioTarget(
            Configfs(timeout=float(str(options.pop('timeout', 30)))),
            portal=str(options.pop('portal', '') or free_portal()),
            reservations_dir=tmp_path / 'reservations',
            **options,  # type: ignore[arg-type]
        )
        target.check()
        made.append(target)
        return target

    if not ROOT.is_dir():
        pytest.fail(f'{ROOT} is missing: this test runs in a storage machine, see tests/e2e/test_lio.py')
    (ROOT / 'iscsi').mkdir(exist_ok=True)  # the kernel loads a module, whatever time a test gives its changes
    yield make
    for target in made:
        for volume_id in target.list_exports():
            target.remove_export(volume_id)


@pytest.fixture
def target(make_target: Callable[..., LioTarget]) -> LioTarget:
    return make_target()


@pytest.fixture
def make_volume(target: LioTarget, store: Store) -> Callable[[], Volume]:
    return lambda: Volume.make(store, target._portal)


@pytest.fixture
def volume(make_volume: Callable[[], Volume]) -> Volume:
    return make_volume()
