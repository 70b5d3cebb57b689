# SPDX-License-Identifier: Apache-2.0
import contextlib
from collections.abc import Iterator

import pytest

from tests.deployments import distributed
from tests.deployments.failpoints import Deployment, Victim
from tests.functional.cluster.client import Client
from tests.functional.disturbances.clock import WallClock


class Cluster(Deployment):
    """Without a compute host."""

    @contextlib.contextmanager
    def run(self) -> Iterator['Deployment']:
        with distributed.Deployment.run(self):
            yield self

    def victims(self) -> list[Victim]:
        return [*self.apis, *self.workers]  # type: ignore[list-item]


@pytest.fixture(scope='module')
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, WallClock]]:
    """The distributed deployment; one of its workers has a wall clock of its own."""
    cloud = Cluster(tmp_path_factory.mktemp('clock'))
    clock = WallClock(cloud.folder / 'clock')
    cloud.workers[0].environment = clock.environment
    with cloud.run():
        Client(cloud.ports).make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
        yield cloud, clock
        clock.step(0)
        cloud.heal()
