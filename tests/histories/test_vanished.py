# SPDX-License-Identifier: Apache-2.0
"""Trials with a libvirt that has lost its servers: what they accept, and what they must see."""

import pathlib
import random

import pytest

from tests.histories import truth
from tests.histories.quick import Quick
from tests.histories.runner import tidy
from tests.histories.vanished import VanishedLibvirt

# An agent that believes libvirt, and repairs at once.
_CREDULOUS = """
import multiattach.cmd
from multiattach.steps import breaker
from multiattach.host import reconciler
breaker.Breaker.judge = lambda self, wanted, there, find_key: {}
reconciler.HostReconciler._hold_gone = lambda self, seen, rows, servers: seen
"""


def carry_out(folder: pathlib.Path, patience: float = 60.0) -> list[str]:
    field = Quick(folder)
    field.prepare(['libvirt'])
    with field.run():
        trial = VanishedLibvirt(field, random.Random(1), patience)
        trial.begin()
        trial.act()
        found = trial.end()
        assert truth.check(field, trial.volumes) == []
        assert tidy(field, trial.volumes) == []
    return found


def test_an_empty_libvirt_takes_nothing_away(tmp_path: pathlib.Path) -> None:
    assert carry_out(tmp_path) == []


def test_what_is_taken_away_is_seen(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = tmp_path / 'mutant'
    mutant.mkdir()
    (mutant / 'sitecustomize.py').write_text(_CREDULOUS)
    monkeypatch.setenv('PYTHONPATH', f'{mutant}:{pathlib.Path(__file__).parents[2]}')
    found = '\n'.join(carry_out(tmp_path, patience=15.0))
    # Who repairs first, the agent in its round or the doctor, is left to chance; see test_looks.py.
    for words in ('attachments were cut', 'and admits []'):
        assert words in found, found
