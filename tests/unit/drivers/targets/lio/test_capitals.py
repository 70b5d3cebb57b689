# SPDX-License-Identifier: Apache-2.0
"""Initiators whose names have capitals: the kernel's file has small letters, and forgets the name with the entry."""

from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Export

from .test_interrupted import PEER, VOLUME, Bench, grant, register

HOLDER = 'iqn.1991-05.com.microsoft:NODE-1'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.write(register(HOLDER, holds=True), register(PEER))
    return made


def test_a_registration_is_kept_when_the_target_is_made_exact(bench: Bench) -> None:
    bench.target.ensure_export(Export(VOLUME, str(bench.device), (grant(HOLDER), grant(PEER))))
    assert bench.list_registered() == [(HOLDER, True), (PEER, False)]


def test_a_proof_says_what_was_registered(bench: Bench) -> None:
    bench.lose()
    assert bench.target.fence(VOLUME, HOLDER, 'user').registration
    assert bench.list_registered() == [(PEER, True)]


def test_a_proof_does_not_say_that_nothing_is_left_of_what_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.lose()
    monkeypatch.setattr(bench.target._memory, 'forget', lambda *_words: True)
    with pytest.raises(TargetError, match='a registration'):
        bench.target.fence(VOLUME, HOLDER, 'user')
