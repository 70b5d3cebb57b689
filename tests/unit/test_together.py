# SPDX-License-Identifier: Apache-2.0
"""Tests that share servers run in one process."""

import pathlib
import types
from typing import Any

import pytest

from tests import together

TOP = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize('place', together.SHARED)
def test_each_place_has_tests(place: str) -> None:
    folder, _, name = place.rpartition('/')
    assert any(TOP.joinpath('tests/functional', folder).rglob(f'{name}*.py'))


def test_files_of_one_place_go_together_and_others_do_not() -> None:
    scheduling = together.Scheduling.__new__(together.Scheduling)  # its nodes are none of this
    backends, blocklist, tgt = (
        scheduling._split_scope(f'tests/functional/drivers/{name}.py::test_x[1::2]')
        for name in ('backends/test_rbd', 'ceph/test_blocklist', 'targets/tgt/test_fence')
    )
    assert backends == blocklist
    assert tgt == 'tests/functional/drivers/targets/tgt/test_fence.py'


def test_the_longest_comes_first_and_the_rest_stays_in_order() -> None:
    names = ['api/test_a', 'drivers/ceph/test_b', 'drivers/targets/tgt/test_c', 'drivers/backends/test_d']
    items: list[Any] = [types.SimpleNamespace(nodeid=f'tests/functional/{name}.py::test') for name in names]
    first = items[1], items[3], items[0], items[2]
    together.begin_with_longest(items)
    assert tuple(items) == first
