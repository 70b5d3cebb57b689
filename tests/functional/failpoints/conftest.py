# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.deployments.failpoints import Deployment
from tests.functional.cluster.client import Client


@pytest.fixture(scope='package')
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp('failpoints')).run() as deployed:
        Client(deployed.ports).make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
        Client(deployed.ports).make_type('moved', {'multiattach': '<is> True'})
        Client(deployed.ports).make_type('copied', {'multiattach': '<is> True', 'volume_backend_name': 'copy'})
        yield deployed
        deployed.heal()


@pytest.fixture
def cloud(running: Deployment) -> Iterator[Deployment]:
    """A deployment with all its parts up."""
    for victim in running.victims():
        if victim.is_dead and victim is not running.workers[0] and victim is not running.apis[0]:
            victim.arm(None)
            victim.wait_ready()
    yield running
    running.report()
