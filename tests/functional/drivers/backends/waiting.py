# SPDX-License-Identifier: Apache-2.0
"""Backends on a Ceph that comes and goes."""

import pathlib
from collections.abc import Callable

from multiattach.drivers.backends.rbd import RbdBackend
from multiattach.drivers.errors import ClearAborted, StorageError, StorageUnavailable
from tests.functional.drivers.stores import RbdStore, make_backend
from tests.testbed.polling import wait_until

SHORT = 3  # s until a hasty backend takes Ceph for silent; on a busy machine it may be wrong


def make_hasty(store: RbdStore, tmp_path: pathlib.Path) -> RbdBackend:
    """Make another backend on a pool, which soon takes Ceph for silent."""
    made = make_backend({**store.options, 'rados_connect_timeout': SHORT}, tmp_path)
    repeat(made.check)
    return made


def repeat(step: Callable[[], None]) -> None:
    """Do a step, again and again as a worker does, until it is done."""

    def attempt() -> bool:
        try:
            step()
        except (StorageError, StorageUnavailable, ClearAborted):
            return False
        return True

    wait_until(attempt, 90, 'the step')
