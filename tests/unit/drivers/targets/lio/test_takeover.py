# SPDX-License-Identifier: Apache-2.0
"""A folder of volumes that another machine had before, whose links are not here; nothing was exported here yet."""

from pathlib import Path

import pytest

from .test_interrupted import HOLDER, PEER, VOLUME, Bench, register


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.write(register(HOLDER, holds=True), register(PEER))
    made.target.learn_devices(lambda volume_id: f'/dev/others/volume-{volume_id}')
    made.target.learn_devices(lambda volume_id: str(tmp_path / f'volume-{volume_id}'))
    return made


def test_a_fence_ends_what_would_be_in_force_with_the_next_export(bench: Bench) -> None:
    assert bench.list_registered() == [(HOLDER, True), (PEER, False)]
    cut = bench.target.fence(VOLUME, HOLDER, 'user')
    assert (cut.registration, cut.left_registration) == (True, False)
    bench.admit(PEER)
    assert bench.list_registered() == [(PEER, True)]


def test_the_last_one_leaves_nothing_to_who_comes_next(bench: Bench) -> None:
    bench.target.revoke(VOLUME, HOLDER, 'user', alone=True)
    assert not bench.file.exists()
    bench.admit(PEER)
    assert bench.list_registered() == []
