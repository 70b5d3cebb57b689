# SPDX-License-Identifier: Apache-2.0
"""The documentation names each failpoint and what comes of a death there, as the functional tests see it."""

from multiattach import failpoints
from tests.functional.failpoints import table


def test_each_failpoint_has_a_case_and_no_other() -> None:
    assert list(table.CASES) == list(failpoints.POINTS)


def test_each_outcome_is_of_some_case() -> None:
    assert {case.outcome for case in table.CASES.values()} == set(table.OUTCOMES)


def test_the_documentation_has_the_table() -> None:
    assert table.read() == table.render(), 'run: python -m tests.functional.failpoints.table'
