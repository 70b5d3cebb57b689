# SPDX-License-Identifier: Apache-2.0
"""100 attaches and 100 detaches while a part dies: all end, none is stuck, rows and targets agree."""

from collections.abc import Callable

import pytest

from tests.deployments.distributed import Deployment
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client, Place, do_all

AFTER = 30  # so many of 100 are done when it happens


def kill_worker(cloud: Deployment) -> None:
    cloud.workers[0].kill()


def kill_api(cloud: Deployment) -> None:
    cloud.apis[0].kill()


def crash_broker(cloud: Deployment) -> None:
    cloud.broker.halt(patience=0)
    cloud.broker.start()


def crash_database(cloud: Deployment) -> None:
    cloud.database.halt(patience=0)
    cloud.database.start()


def crash_redis(cloud: Deployment) -> None:
    """It forgets who is there, and who holds a lock."""
    cloud.redis.halt(patience=0)
    cloud.redis.start()


def nothing(_cloud: Deployment) -> None:
    """What has crashed is back already."""


def restart_worker(cloud: Deployment) -> None:
    cloud.workers[0].restart()


def restart_api(cloud: Deployment) -> None:
    cloud.apis[0].restart()


@pytest.mark.parametrize(
    ('disturb', 'repair'),
    [
        (kill_worker, restart_worker),
        pytest.param(kill_api, restart_api, marks=pytest.mark.slow),
        (crash_broker, nothing),
        (crash_database, nothing),
        pytest.param(crash_redis, nothing, marks=pytest.mark.slow),
    ],
    ids=['worker', 'api', 'broker', 'database', 'redis'],
)
def test_all_come_to_an_end(
    cloud: Deployment,
    client: Client,
    places: list[Place],
    disturb: Callable[[Deployment], None],
    repair: Callable[[Deployment], None],
) -> None:
    assert len(places) == 100
    do_all(client.attach, places, AFTER, lambda: disturb(cloud))
    facts.check_attached(cloud, places)  # by those who are left

    repair(cloud)
    facts.check_agreement(cloud)
    facts.check_logins(places)

    do_all(client.detach, places, AFTER, lambda: disturb(cloud))
    facts.check_none_left(cloud)
    repair(cloud)
    print(dict(client.refusals))
