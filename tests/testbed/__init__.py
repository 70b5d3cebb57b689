# SPDX-License-Identifier: Apache-2.0
"""The project's test bed: real guests, compute hosts and servers on one small machine."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.testbed.cluster import Cluster
    from tests.testbed.errors import TestbedError, WaitTimeoutError
    from tests.testbed.guest import Guest
    from tests.testbed.keystone import Keystone
    from tests.testbed.libvirtd import Libvirtd
    from tests.testbed.network import Network
    from tests.testbed.servers import MariaDB, RabbitMQ
    from tests.testbed.tgtd import Tgtd
    from tests.testbed.vm import ComputeHost

__all__ = [
    'Cluster',
    'ComputeHost',
    'Guest',
    'Keystone',
    'Libvirtd',
    'MariaDB',
    'Network',
    'RabbitMQ',
    'TestbedError',
    'Tgtd',
    'WaitTimeoutError',
]

_HOMES = {
    'Cluster': 'cluster',
    'ComputeHost': 'vm',
    'Guest': 'guest',
    'Keystone': 'keystone',
    'Libvirtd': 'libvirtd',
    'MariaDB': 'servers',
    'Network': 'network',
    'RabbitMQ': 'servers',
    'TestbedError': 'errors',
    'Tgtd': 'tgtd',
    'WaitTimeoutError': 'errors',
}


def __getattr__(name: str) -> Any:
    # Late: "python3 -m tests.testbed install" runs before libvirt-python can be built.
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'tests.testbed.{_HOMES[name]}'), name)
