# SPDX-License-Identifier: Apache-2.0
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nova import clouds
from tests.nova.client import Nova
from tests.nova.clouds import Cloud
from tests.testbed.environments import ensure_venv
from tests.testbed.glance import Glance

REQUIREMENTS = pathlib.Path(__file__).parents[2] / 'tests/testbed/files/requirements/nova.txt'
_RUN = {'noauth': clouds.run_without_keystone, 'keystone': clouds.run_with_keystone}


@pytest.fixture(scope='session')
def nova_python() -> pathlib.Path:
    """An interpreter that has the package ``nova``, in an environment of its own."""
    return ensure_venv(None, 'nova', REQUIREMENTS) / 'python'


@pytest.fixture(scope='session')
def glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    with Glance(tmp_path_factory.mktemp('glance')) as running:
        yield running


@pytest.fixture(scope='session', params=list(_RUN))
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, nova_python: pathlib.Path
) -> Iterator[Cloud]:
    """The service, with real targets."""
    with _RUN[request.param](tmp_path_factory.mktemp(request.param), nova_python) as running:
        yield running


@pytest.fixture(scope='session')
def nova(cloud: Cloud) -> Iterator[Nova]:
    """The Nova beside it."""
    with cloud.run_nova() as running:
        yield running


@pytest.fixture
def single(cloud: Cloud) -> Iterator[str]:
    """A volume for one server; a test that leaves an attachment has failed."""
    ident = cloud.make_volume(multiattach=False)
    yield ident
    cloud.delete_volume(ident)


@pytest.fixture
def shared(cloud: Cloud) -> Iterator[str]:
    """A volume for several servers; the same."""
    ident = cloud.make_volume(multiattach=True)
    yield ident
    cloud.delete_volume(ident)


@pytest.fixture
def server() -> str:
    """UUID of a server of Nova's."""
    return str(uuid.uuid4())


def make_connector(host: str) -> dict[str, Any]:
    """What os-brick says of a compute host."""
    return {
        'platform': 'x86_64',
        'os_type': 'linux',
        'ip': '127.0.0.1',
        'host': host,
        'multipath': False,
        'enforce_multipath': True,
        'initiator': f'iqn.1994-05.com.redhat:{host}',
        'do_local_attach': False,
        'nvme_native_multipath': False,
        'system uuid': '9d0a11a4-5b2b-4f1e-9f70-5b7d07f0cf5e',
    }


def initiator(host: str) -> str:
    return str(make_connector(host)['initiator'])
