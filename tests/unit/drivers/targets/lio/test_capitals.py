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


def test_one_of_two_spellings_is_admitted_and_the_other_takes_nothing_from_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.admit(HOLDER)
    other = HOLDER.lower()
    with pytest.raises(TargetError, match='capitals'):
        bench.target.grant(VOLUME, str(bench.device), grant(other))
    bench.target.revoke(VOLUME, other, f'user-{other}')  # as whoever was refused is turned away
    assert not bench.target.fence(VOLUME, other, f'user-{other}').acl
    state = bench.target.list_exports()[VOLUME]
    assert (state.initiators, state.accounts) == ((HOLDER,), (f'user-{HOLDER}',))
    bench.admit(HOLDER)
    assert bench.target.fence(VOLUME, HOLDER, f'user-{HOLDER}').acl
    bench.admit(other)
    assert bench.target.list_exports()[VOLUME].initiators == (other,)
