# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pathlib

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('name', ['state_tables', 'drift_table', 'openapi', 'api_ref'])
def test_a_generated_file_is_what_its_tool_gives(name):
    spec = importlib.util.spec_from_file_location(name, TOP / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.render(), f'run: python tools/{name}.py'
