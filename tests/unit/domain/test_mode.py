# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain.mode import decide_mode


@pytest.mark.parametrize(
    ('requested', 'connector', 'readonly', 'mode'),
    [
        (None, None, False, 'rw'),
        ('rw', None, False, 'rw'),
        ('ro', None, False, 'ro'),
        (None, 'ro', False, 'ro'),
        ('rw', 'ro', False, 'rw'),
        ('ro', 'rw', False, 'ro'),
        ('rw', 'rw', True, 'ro'),
        (None, None, True, 'ro'),
    ],
)
def test_one_source_of_truth(requested, connector, readonly, mode):
    assert decide_mode(requested, connector, readonly) == mode
