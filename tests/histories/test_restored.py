# SPDX-License-Identifier: Apache-2.0
"""Trials with an older copy of the database: what they accept, and what they must see."""

import pathlib
import random
import re
from collections.abc import Iterator

import pytest

from tests.histories import truth
from tests.histories.quick import Quick
from tests.histories.restored import RestoredDatabase
from tests.histories.runner import tidy

# A service that believes any database, and repairs whatever it sees at once.
_CREDULOUS = """
import multiattach.cmd
from multiattach.steps import breaker
from multiattach.volume import epoch, reconciler
breaker.Breaker.judge = lambda self, wanted, there, find_key: {}
epoch.Epoch.check = lambda self: None
reconciler.VolumeReconciler._hold_all = lambda self, seen: seen
"""


def carry_out(field: Quick, trial: RestoredDatabase) -> list[str]:
    trial.begin()
    trial.act()
    assert truth.wait_quiet(field, trial.volumes) == []
    return trial.end()


@pytest.fixture
def credulous(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Quick]:
    mutant = tmp_path / 'mutant'
    mutant.mkdir()
    (mutant / 'sitecustomize.py').write_text(_CREDULOUS)
    monkeypatch.setenv('PYTHONPATH', f'{mutant}:{pathlib.Path(__file__).parents[2]}')
    with Quick(tmp_path).run() as made:
        yield made


def test_an_older_copy_cuts_nobody_off(tmp_path: pathlib.Path) -> None:
    with Quick(tmp_path).run() as field:
        trial = RestoredDatabase(field, random.Random(1))
        assert carry_out(field, trial) == []
        assert len(trial.writers) > 5
        assert all(len(writer.ledger) > 10 for writer in trial.writers)
        assert truth.check(field, trial.volumes) == []
        assert tidy(field, trial.volumes) == []


def test_whoever_is_cut_off_is_seen(credulous: Quick) -> None:
    found = '\n'.join(carry_out(credulous, RestoredDatabase(credulous, random.Random(1), patience=5.0)))
    # Who repairs first, the worker in its round or the doctor, is left to chance; see test_looks.py.
    for words in ('is not noticed', 'nobody says why things wait', 'does not name the older copy'):
        assert words in found, found
    # It depends on when its target is there again.
    assert re.search('redhat:late6 (was cut off: it logged in|writes no more)', found), found


def test_rows_are_swapped_as_they_are(tmp_path: pathlib.Path) -> None:
    with Quick(tmp_path).run() as field:
        before = field.swap_rows()
        (volume,) = field.make_volumes(['plain'])
        newest = field.swap_rows(before)
        assert field.show(volume) is None
        assert volume in {row['id'] for row in newest['volumes']}
        field.swap_rows(newest)
        assert field.show(volume) == 'available'
        assert field.swap_rows()['volumes'] == newest['volumes']
