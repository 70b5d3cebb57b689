# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.deployments.distributed import Deployment
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client, Place

PLAIN, SHARED, SHARERS = 40, 12, 5  # 40 volumes for one server each, 12 for five: 100 attaches
SHARER_HOSTS = ('a', 'b', 'c', 'a', 'd')  # two servers of one host share a session


@pytest.fixture(scope='package')
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp('cluster')).run() as deployed:
        yield deployed


@pytest.fixture(scope='package')
def volumes(running: Deployment) -> dict[str, list[str]]:
    """Volumes by type; tests leave them as they found them."""
    client = Client(running.ports)
    client.make_type('plain', {'volume_backend_name': 'file'})
    client.make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
    return {'plain': client.make_volumes('plain', PLAIN), 'shared': client.make_volumes('shared', SHARED)}


@pytest.fixture
def cloud(running: Deployment) -> Iterator[Deployment]:
    """A deployment with all its parts up; a test that leaves an attachment or an export has failed."""
    yield running
    running.report()
    facts.wait_settled(running)
    assert running.query('SELECT id, state FROM attachments WHERE deleted_at IS NULL') == []
    facts.check_agreement(running)


@pytest.fixture
def client(cloud: Deployment) -> Client:
    return Client(cloud.ports)


@pytest.fixture
def places(volumes: dict[str, list[str]]) -> list[Place]:
    """100 servers that are to have a volume; those that share one come close together."""
    mixed = [Place(volume, f'host-{number % 7}') for number, volume in enumerate(volumes['plain'])]
    shared = [Place(volume, host) for volume in volumes['shared'] for host in SHARER_HOSTS]
    return [
        place
        for number in range(20)
        for place in (*mixed[number * 2 : number * 2 + 2], *shared[number * 3 : number * 3 + 3])
    ]
