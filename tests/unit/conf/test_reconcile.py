# SPDX-License-Identifier: Apache-2.0
"""The options of drift: a kind or a word that is none ends the program, and the message names the option."""

import pathlib

import pytest

from multiattach import conf as configuration
from multiattach.cmd import parts
from multiattach.domain import errors
from multiattach.domain.drift import Action, Drift
from multiattach.domain.findings import DriftRules


def load(folder: pathlib.Path, text: str) -> DriftRules:
    path = folder / 'multiattach.conf'
    path.write_text(f'[reconcile]\n{text}\n')
    return parts.make_rules(configuration.load(['--config-file', str(path)], program='t', description='t'))


def test_the_table_holds_by_default(tmp_path: pathlib.Path) -> None:
    assert load(tmp_path, '') == DriftRules()
    rules = DriftRules()
    assert rules.find_action(Drift.NO_TARGET) is Action.REPAIR
    assert rules.find_action(Drift.LOST_DISK) is Action.REPORT
    assert rules.find_grace(Drift.STRAY_DISK) == 60
    assert [rules.find_limit(there) for there in (0, 1, 25, 30, 40, 50, 1000)] == [5, 5, 5, 6, 8, 10, 10]
    assert load(tmp_path, 'most_at_once = 0').find_limit(1000) == 0
    assert load(tmp_path, 'most_at_once = 1000\nmost_percent = 100').find_limit(30) == 30


def test_what_the_operator_says(tmp_path: pathlib.Path) -> None:
    rules = load(
        tmp_path,
        'actions = lost_disk:repair, no_file:ignore\ngraces = stray_disk:600\n'
        'reservation_age = 0\nmost_gone = 3\nstuck_after = 5',
    )
    assert rules.find_action(Drift.LOST_DISK) is Action.REPAIR
    assert rules.find_action(Drift.NO_FILE) is Action.IGNORE
    assert rules.find_action(Drift.NO_TARGET) is Action.REPAIR
    assert rules.find_grace(Drift.STRAY_DISK) == 600
    assert (rules.reservation_age, rules.most, rules.stuck_after) == (0, 3, 5), 'most_gone is its old name'


@pytest.mark.parametrize(
    ('text', 'named', 'word'),
    [
        ('actions = nothing:repair', 'actions', 'nothing'),
        ('actions = status:mend', 'actions', 'mend'),
        ('actions = status', 'actions', 'not valid'),
        ('graces = status:soon', 'graces', 'soon'),
        ('actions = old_database:repair', 'actions', 'accepts'),
        ('most_at_once = -1', 'most_at_once', 'greater'),
        ('most_percent = 101', 'most_percent', '100'),
        ('window = -1', 'window', 'greater'),
        ('graces = status:-1', 'graces', 'greater'),
        ('graces = some:1', 'graces', 'some'),
        ('interval = often', 'interval', 'often'),
        ('interval = -1', 'interval', 'greater'),
    ],
)
def test_a_wrong_word_is_named(tmp_path: pathlib.Path, text: str, named: str, word: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=rf'Option {named} in \[reconcile\].*{word}'):
        load(tmp_path, text)
