# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest

from multiattach.domain.services import is_up

NOW = datetime.datetime(2026, 1, 1, 12)


@pytest.mark.parametrize(
    ('ago', 'expected'), [(0, True), (60, True), (61, False), (-60, True), (-61, False), (3600, False), (-3600, False)]
)
def test_a_heartbeat_of_the_future_is_none(ago: int, expected: bool) -> None:
    assert is_up(NOW - datetime.timedelta(seconds=ago), NOW, 60) is expected


def test_who_never_reported_is_down() -> None:
    assert not is_up(None, NOW, 60)
