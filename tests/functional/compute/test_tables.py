# SPDX-License-Identifier: Apache-2.0
"""Runs the tables of this folder, each against a deployment and a compute host of its own."""

import pathlib
import unittest

import pytest
from gabbi import handlers, suitemaker, utils

from multiattach.api.faults import WsgiApp

TABLES = pathlib.Path(__file__).parent / 'tables'


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
    assert not result.failures + result.errors, '\n'.join(text for _, text in result.failures + result.errors)
    assert not result.skipped
    assert result.testsRun == len(table['tests']) > 0
