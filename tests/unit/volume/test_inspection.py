# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from multiattach.domain import errors
from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.null import NullTarget
from multiattach.volume.inspection import Inspection

SECRET = 'x' * 16


def test_a_target_as_a_message_carries_it() -> None:
    target = NullTarget()
    for volume_id in 'cab':
        target.grant(volume_id, '/dev/x', Grant('iqn.one', f'user-{volume_id}', SECRET))
    inspection = Inspection(target)
    shown = inspection.show('a')
    assert shown is not None
    assert set(shown) == {'volume_id', 'iqn', 'luns', 'initiators', 'accounts', 'addresses', 'sessions', 'registered'}
    assert (shown['initiators'], shown['accounts']) == (['iqn.one'], ['user-a'])
    assert SECRET not in json.dumps(inspection.list_page(None, 10))
    assert [one['volume_id'] for one in inspection.list_page(None, 2)] == ['a', 'b']
    assert [one['volume_id'] for one in inspection.list_page('b', 2)] == ['c']
    assert inspection.show('z') is None


def test_a_target_that_does_not_answer() -> None:
    class Silent(NullTarget):
        def list_exports(self) -> dict[str, object]:  # type: ignore[override]
            raise TargetUnavailable('tgtd does not answer')

    with pytest.raises(errors.Unavailable, match='tgtd does not answer'):
        Inspection(Silent()).show('a')
