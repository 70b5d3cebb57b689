# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pathlib

TOP = pathlib.Path(__file__).resolve().parents[2]


def test_the_page_of_states_is_the_one_that_the_tables_give():
    spec = importlib.util.spec_from_file_location('state_tables', TOP / 'tools' / 'state_tables.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.render(), 'run: python tools/state_tables.py'
