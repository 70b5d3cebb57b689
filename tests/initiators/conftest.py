# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest

from multiattach.drivers.targets.tgt.process import PrivateTgtd
from tests.functional.drivers.conftest import ceph, make_rbd, rbd, store  # noqa: F401 - fixtures
from tests.functional.drivers.targets.tgt.conftest import make_tgtd, make_volume, target, tgtd, volume  # noqa: F401 - fixtures
from tests.testbed import processes


@pytest.fixture
def tune(tgtd: PrivateTgtd) -> Callable[[int, str, str], None]:  # noqa: F811
    """Set a parameter of a target, by its own tool."""

    def tune(tid: int, name: str, value: str) -> None:
        processes.run(
            [
                'tgtadm',
                '-C',
                str(tgtd.daemon.control_port),
                '--lld',
                'iscsi',
                '--op',
                'update',
                '--mode',
                'target',
                '--tid',
                str(tid),
                '--name',
                name,
                '--value',
                value,
            ]
        )

    return tune
