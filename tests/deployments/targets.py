# SPDX-License-Identifier: Apache-2.0
"""The target of tests that need none in particular: one that does nothing, or in a storage machine its kernel's."""

import os
import pathlib
import tempfile

from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.target import LioTarget
from multiattach.drivers.targets.null import NullTarget
from tests.testbed.servers import pick_port

#: set in a storage machine: tests of every target are then of its kernel's (see tests/e2e/test_lio.py)
KERNEL_VARIABLE = 'MULTIATTACH_TEST_KERNEL_TARGET'
IS_KERNEL = KERNEL_VARIABLE in os.environ


class IdleTarget(NullTarget):
    def lose(self) -> None:
        """Have it forget all, as a daemon does that is killed."""
        self._grants.clear()

    def clear(self) -> None: ...


class KernelTarget(LioTarget):
    """Targets of this machine's kernel, at a portal of their own."""

    IS_KERNEL = True

    def __init__(self) -> None:
        folder = pathlib.Path(tempfile.gettempdir()) / 'reservations'
        super().__init__(Configfs(), portal=f'127.0.0.1:{pick_port()}', reservations_dir=folder)
        self.check()

    def lose(self) -> None:
        """Have the kernel forget all, as it does when the machine loses its power."""
        for volume_id in self.list_exports():
            self._remove(self._group(volume_id), volume_id)

    def clear(self) -> None:
        for volume_id in self.list_exports():
            self.remove_export(volume_id)


AnyTarget = KernelTarget if IS_KERNEL else IdleTarget
