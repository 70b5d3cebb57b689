# SPDX-License-Identifier: Apache-2.0
import uuid
from collections.abc import Iterator

import pytest

from tests.functional.clients import cloud as clouds
from tests.functional.clients.cloud import Cloud

_RUN = {'noauth': clouds.run_without_keystone, 'keystone': clouds.run_with_keystone}


@pytest.fixture(scope='session', params=list(_RUN))
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The service over HTTP, with and without Keystone."""
    with _RUN[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def shared(cloud: Cloud) -> str:
    """Name of a multiattach type."""
    name = f'shared-{uuid.uuid4()}'
    cloud.openstack('volume', 'type', 'create', '--property', 'multiattach=<is> True', name)
    return name


@pytest.fixture
def volume(cloud: Cloud, shared: str) -> Iterator[str]:
    """Name of a volume of it, without attachments before and after."""
    name = f'data-{uuid.uuid4()}'
    cloud.openstack('volume', 'create', '--size', '1', '--type', shared, name)
    cloud.wait(name, 'available')
    yield name
    for row in cloud.openstack('volume', 'attachment', 'list', '-f', 'json').json:
        cloud.openstack('volume', 'attachment', 'delete', row['ID'])
    cloud.openstack('volume', 'delete', name)


# The same requests as without Keystone, by clients whose authentication other files look at.
_ALIKE = ('test_advice.py', 'test_plugin.py', 'test_qos_specs.py', 'test_snapshots.py')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chosen = getattr(item, 'callspec', None)
        if item.path.name in _ALIKE and chosen is not None and chosen.params.get('cloud') == 'keystone':
            item.add_marker(pytest.mark.slow)
