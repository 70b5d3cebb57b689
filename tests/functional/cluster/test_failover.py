# SPDX-License-Identifier: Apache-2.0
"""A replica takes over from a database that died, a second broker from the first, while many attach."""

from collections.abc import Callable, Iterator

import pytest

from tests.deployments.distributed import Deployment
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client, Place, do_all
from tests.testbed.pairs import MariaDBPair, RabbitMQPair

pytestmark = pytest.mark.slow  # two more servers of each kind

PLACES, AFTER = 40, 12


@pytest.fixture(scope='module')
def paired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp('paired'), paired=True).run() as deployed:
        Client(deployed.ports).make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
        yield deployed


def fail_database_over(cloud: Deployment) -> None:
    assert isinstance(cloud.database, MariaDBPair)
    cloud.database.fail_over()


def fail_broker_over(cloud: Deployment) -> None:
    assert isinstance(cloud.broker, RabbitMQPair)
    cloud.broker.fail_over()


@pytest.mark.parametrize('fail_over', [fail_database_over, fail_broker_over], ids=['database', 'broker'])
def test_all_come_to_an_end(paired: Deployment, fail_over: Callable[[Deployment], None]) -> None:
    client = Client(paired.ports)
    volumes = client.make_volumes('shared', PLACES // 4)
    places = [Place(volume, f'host-{number}') for volume in volumes for number in range(4)]

    do_all(client.attach, places, AFTER, lambda: fail_over(paired))
    facts.check_attached(paired, places)

    do_all(client.detach, places, AFTER, lambda: fail_over(paired))
    facts.check_none_left(paired)
    assert {paired.database.takeovers, paired.broker.takeovers} & {2}  # type: ignore[union-attr]
