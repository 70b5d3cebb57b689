# SPDX-License-Identifier: Apache-2.0
"""Which tests one process of pytest-xdist runs: those of a file, or those of all files that share servers.

A server that all tests of a run share is one of each process: started again by each that gets one of its files.
"""

import pytest
from xdist.scheduler import LoadFileScheduling

_FUNCTIONAL = 'tests/functional/'
# Beginnings of paths, and what their tests share.
SHARED = {
    'clients/': 'Keystone and standalone services',
    'cluster/test_disturbances': 'a cluster',
    'cluster/test_messages': 'a cluster',
    'cluster/test_sharing': 'a cluster',
    'coordination/': 'Redis and etcd',
    'database/': 'MariaDB and PostgreSQL',
    'drivers/backends/': 'Ceph',
    'drivers/ceph/': 'Ceph',
    'drivers/gateways/': 'Ceph',
    'drivers/hypervisors/': 'libvirtd',
    'drivers/targets/rbd/': 'Ceph',
    'keystone/': 'Keystone, and a service that asks it',
    'servers/test_burst': 'MariaDB and RabbitMQ behind WSGI servers',
    'servers/test_life': 'MariaDB and RabbitMQ behind WSGI servers',
    'servers/test_proxy': 'MariaDB and RabbitMQ behind WSGI servers',
    'servers/test_requests': 'MariaDB and RabbitMQ behind WSGI servers',
}


_LONGEST = 'Ceph'


def find_shared(nodeid: str) -> str | None:
    """Tell what a test shares with those of other files."""
    found = (what for place, what in SHARED.items() if nodeid.startswith(_FUNCTIONAL + place))
    return next(found, None)


def begin_with_longest(items: list[pytest.Item]) -> None:
    """Have those first that keep one process busy the longest; the others stay in order."""
    items.sort(key=lambda item: find_shared(item.nodeid) != _LONGEST)


class Scheduling(LoadFileScheduling):
    """As ``--dist loadfile``."""

    def _split_scope(self, nodeid: str) -> str:
        return find_shared(nodeid) or super()._split_scope(nodeid)
