# SPDX-License-Identifier: Apache-2.0
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.devstack.machine import Devstack


@pytest.fixture(scope='session')
def devstack() -> Iterator[Devstack]:
    """A machine with the servers that a deployment stands on."""
    # A short path: libvirt's sockets are below it.
    with tempfile.TemporaryDirectory(prefix='ds-') as folder:
        machine = Devstack(pathlib.Path(folder))
        try:
            machine.start()
            yield machine
        finally:
            machine.stop()
