# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest
import yaml

TOP = pathlib.Path(__file__).resolve().parents[2] / 'releasenotes'
NOTES = sorted(TOP.joinpath('notes').glob('*.yaml'))


@pytest.mark.parametrize('path', NOTES, ids=lambda path: path.stem)
def test_a_note_has_known_sections_of_texts(path):
    sections = {name for name, _title in yaml.safe_load((TOP / 'config.yaml').read_text())['sections']}
    note = yaml.safe_load(path.read_text())
    assert note.keys() <= sections | {'prelude'}
    assert isinstance(note.get('prelude', ''), str)
    for name in note.keys() - {'prelude'}:
        assert all(isinstance(text, str) for text in note[name])


def test_names_end_as_reno_makes_them():
    assert NOTES
    for path in NOTES:
        unique = path.stem.rpartition('-')[2]
        assert len(unique) == 16
        int(unique, 16)
