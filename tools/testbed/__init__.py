# SPDX-License-Identifier: Apache-2.0
"""The project's test bed: real guests, compute hosts and servers on one small machine."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.cluster import Cluster
    from testbed.errors import TestbedError, WaitTimeoutError
    from testbed.guest import Guest
    from testbed.keystone import Keystone
    from testbed.libvirtd import Libvirtd
    from testbed.network import Network
    from testbed.servers import MariaDB, RabbitMQ
    from testbed.tgtd import Tgtd
    from testbed.vm import ComputeHost

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
    # Late: "python -m testbed install" runs before libvirt-python can be built.
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'testbed.{_HOMES[name]}'), name)
