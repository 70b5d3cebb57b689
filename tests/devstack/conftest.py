# SPDX-License-Identifier: Apache-2.0
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.devstack.machine import Devstack, Machine


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


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine on which nothing runs; in a folder that devstack's user can reach."""
    with tempfile.TemporaryDirectory(prefix='ds-') as folder:
        yield Machine(pathlib.Path(folder))
