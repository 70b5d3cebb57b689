# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an answer of the doctor while part of the truth is gone."""

import pytest

from multiattach.domain.findings import Outcome
from tests.histories.looks import find_repairs


@pytest.mark.parametrize(
    ('outcome', 'is_wrong'),
    [(Outcome.REPAIRED, True), (Outcome.FAILED, True), (Outcome.WAITING, False), (Outcome.FOUND, False)],
)
def test_a_repair_is_seen(outcome, is_wrong):
    found = {'findings': [{'kind': 'domain_gone', 'about': 'x', 'outcome': outcome, 'error': 'because'}]}
    assert find_repairs(found, 'with an empty libvirt') == (
        [f'with an empty libvirt domain_gone x is {outcome}: because'] if is_wrong else []
    )
