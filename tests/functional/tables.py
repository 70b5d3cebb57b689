# SPDX-License-Identifier: Apache-2.0
"""Requests and replies as gabbi's tables; they are in the folder ``tables`` beside the test that runs them."""

import pathlib
import unittest

from gabbi import handlers, suitemaker, utils

from multiattach.api.faults import WsgiApp


def find(test: str) -> list[pathlib.Path]:
    """List the tables of a test, by the path of its module."""
    return sorted((pathlib.Path(test).parent / 'tables').glob('*.yaml'))


def run(path: pathlib.Path, application: WsgiApp) -> None:
    """Send all requests of a table, in order, and compare the replies."""
    table = utils.load_yaml(yaml_file=str(path))
    suite = suitemaker.test_suite_from_dict(
        unittest.TestLoader(),
        path.stem,
        table,
        str(path.parent),
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
