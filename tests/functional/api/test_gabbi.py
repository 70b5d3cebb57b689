# SPDX-License-Identifier: Apache-2.0
"""Runs the tables of ``tests/functional/gabbi``, each against a deployment of its own."""

import pathlib
import unittest

import pytest
from gabbi import handlers, suitemaker, utils

from multiattach.api.faults import WsgiApp

TABLES = pathlib.Path(__file__).parents[1] / 'gabbi'


@pytest.mark.parametrize('path', sorted(TABLES.glob('*.yaml')), ids=lambda path: path.stem)
def test_table(path: pathlib.Path, application: WsgiApp) -> None:
    table = utils.load_yaml(yaml_file=str(path))
    suite = suitemaker.test_suite_from_dict(
        unittest.TestLoader(),
        path.stem,
        table,
        str(TABLES),
        'localhost',
        80,
        None,
        lambda: application,
        handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
    )
    result = unittest.TestResult()
    suite.run(result)
    for name, text in result.failures + result.errors:
        print(f'--- {name}\n{text}')
    assert [str(name) for name, _ in result.failures + result.errors] == []
    assert not result.skipped
    assert result.testsRun == len(table['tests']) > 0
