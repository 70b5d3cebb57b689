# SPDX-License-Identifier: Apache-2.0
"""Lists that are longer than a page, read by real clients to their end."""

from collections.abc import Iterator

import pytest

from tests.functional.clients import cloud as clouds
from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host

NAMES = ['five', 'four', 'one', 'three', 'two']
_RUN = {'noauth': clouds.run_without_keystone, 'public_endpoint': clouds.run_with_keystone}


@pytest.fixture(scope='module', params=list(_RUN))
def paged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The service with pages of two rows, five volumes and three attachments."""
    with _RUN[request.param](tmp_path_factory.mktemp('paged'), most=2) as running:
        storage = running.connect().block_storage
        storage.create_type(name='shared', extra_specs={'multiattach': '<is> True'})
        made = [storage.create_volume(name=name, size=1, volume_type='shared') for name in NAMES]
        for volume in made:
            storage.wait_for_status(volume, 'available', interval=0.1, wait=20)
        for server in (compute_host.WEB, compute_host.DB, compute_host.IDLE):
            storage.create_attachment(made[0], instance=server, connector=None)
        yield running


def test_the_command_reads_every_page(paged: Cloud) -> None:
    listed = paged.openstack('volume', 'list', '-f', 'json')
    assert sorted(row['Name'] for row in listed.json) == NAMES
    assert [exchange.status for exchange in listed.exchanges] == [200] * 3
    assert len(paged.openstack('server', 'list', '--no-name-lookup', '-f', 'json').json) == 4


def test_the_sdk_reads_every_page(paged: Cloud) -> None:
    storage = paged.connect().block_storage
    for details in (False, True):
        assert sorted(row.name for row in storage.volumes(details=details)) == NAMES
    assert sorted(row.name for row in storage.volumes(limit=1, sort_key='name')) == NAMES
    assert len(list(storage.attachments())) == 3
    assert [row.name for row in storage.volumes(name='four')] == ['four']


def test_cinder_reads_every_page(paged: Cloud) -> None:
    printed = paged.cinder('list').printed
    assert all(name in printed for name in NAMES)
