# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.deployments.gateways import Deployment
from tests.functional.cluster.client import Client
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until


@pytest.fixture(scope='package')
def running(tmp_path_factory: pytest.TempPathFactory, ceph: Ceph) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp('gateways'), ceph).run() as deployed:
        Client(deployed.ports).make_type('shared', {'multiattach': '<is> True'})
        yield deployed


@pytest.fixture
def cloud(running: Deployment) -> Iterator[Deployment]:
    """Two gateways that serve; a test that leaves an attachment or an export has failed."""
    for gateway in running.gateways:
        running.wait_state(gateway, 'serving')
    yield running
    running.report()
    assert running.query('SELECT id, state FROM attachments WHERE deleted_at IS NULL') == []
    assert running.query("SELECT * FROM gateway_exports WHERE state != 'lost'") == []
    for gateway in running.gateways:
        running.wait_state(gateway, 'serving')
        # A step that removes what is not there lends its name to an empty target for a moment.
        wait_until(lambda gateway=gateway: gateway.list_targets() == {}, 5, f'no target at {gateway.name}', 0.05)


@pytest.fixture
def client(cloud: Deployment) -> Client:
    return Client(cloud.ports)


@pytest.fixture
def volume(client: Client) -> str:
    return client.make_volumes('shared', 1)[0]
