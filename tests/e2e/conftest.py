# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.deployments import two_hosts
from tests.testbed.vm import ComputeHost

_ISCSID = '/etc/iscsi/iscsid.conf'
_PATIENCE = 'node.session.timeo.replacement_timeout'


@pytest.fixture(scope='session')
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[two_hosts.Deployment]:
    """The service and three guests: "one" and "two" on the first compute host, "far" on the other."""
    folder = tmp_path_factory.mktemp('e2e')
    with two_hosts.Deployment(folder).run() as whole:
        whole.make_type('single', {'volume_backend_name': 'file'})
        whole.make_type('lvm', {'multiattach': '<is> True', 'volume_backend_name': 'lvm'})
        whole.make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
        yield whole


@pytest.fixture
def cloud(running: two_hosts.Deployment) -> Iterator[two_hosts.Deployment]:
    """The same; a test that leaves anything anywhere has failed."""
    yield running
    running.check_nothing_left()


@pytest.fixture
def volume(cloud: two_hosts.Deployment) -> Iterator[str]:
    """A shared volume of 1 GiB, deleted afterwards."""
    ident = cloud.make_volume('shared')
    yield ident
    cloud.delete_volume(ident)


@pytest.fixture
def impatient(cloud: two_hosts.Deployment) -> Iterator[ComputeHost]:
    """The host of guest "far", whose kernel gives a lost session up after seconds, not after two minutes."""
    host = cloud.hosts[1]
    before = host.check(f'cat {_ISCSID}')
    host.check(f"sed -i 's/^{_PATIENCE}.*/{_PATIENCE} = 10/' {_ISCSID}")
    yield host
    host.put_file(_ISCSID, before.encode() + b'\n', 0o600)
