# SPDX-License-Identifier: Apache-2.0
"""Volumes that go to another backend, by the openstack and the cinder client."""

import pathlib
import uuid
from collections.abc import Iterator

import pytest

from multiattach.drivers.backends.file import FileBackend
from tests.functional.clients import cloud as clouds
from tests.functional.clients.cloud import Cloud
from tests.testbed.polling import wait_until

OTHER = 'testhost@other#other'


@pytest.fixture(scope='module')
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The service over HTTP, with two backends."""
    folder: pathlib.Path = tmp_path_factory.mktemp('two')
    with clouds.run_without_keystone(folder, others={'other': FileBackend(folder / 'other')}) as running:
        running.openstack('volume', 'type', 'create', 'plain')
        for kind in ('file', 'other'):
            running.openstack('volume', 'type', 'create', '--property', f'volume_backend_name={kind}', kind)
        yield running


@pytest.fixture
def volume(two: Cloud) -> str:
    name = f'data-{uuid.uuid4()}'
    two.openstack('volume', 'create', '--size', '1', '--type', 'file', name)
    two.wait(name, 'available')
    return name


def wait_for_host(cloud: Cloud, name: str, host: str) -> None:
    wait_until(lambda: cloud.show(name)['os-vol-host-attr:host'] == host, 20, 'the volume on its backend', 0.1)
    cloud.wait(name, 'available')


def test_openstack(two: Cloud, volume: str) -> None:
    ident = two.show(volume)['id']
    two.openstack('volume', 'set', '--type', 'plain', volume)
    two.wait(volume, 'available')
    done = two.openstack('volume', 'migrate', '--host', OTHER, '--lock-volume', volume)
    assert done.lines[-1] == f'POST /volumes/{ident}/action'
    assert done.exchanges[-1].status == 202
    wait_for_host(two, volume, OTHER)
    done = two.openstack('volume', 'set', '--type', 'file', '--migration-policy', 'on-demand', volume)
    assert done.exchanges[-1].body['os-retype']['migration_policy'] == 'on-demand'
    wait_for_host(two, volume, 'testhost@file#file')
    assert two.show(volume)['type'] == 'file'
    two.openstack('volume', 'delete', volume)


def test_cinder(two: Cloud, volume: str) -> None:
    two.cinder('retype', '--migration-policy', 'on-demand', volume, 'other')
    wait_for_host(two, volume, OTHER)
    two.cinder('retype', volume, 'plain')
    two.wait(volume, 'available')
    two.cinder('migrate', volume, 'testhost@file#file')
    wait_for_host(two, volume, 'testhost@file#file')
    two.openstack('volume', 'delete', volume)


def test_what_is_refused(two: Cloud, volume: str) -> None:
    with pytest.raises(AssertionError, match='what the volume type asks for'):
        two.openstack('volume', 'migrate', '--host', OTHER, volume)
    with pytest.raises(AssertionError, match='there is no backend'):
        two.openstack('volume', 'migrate', '--host', 'nobody@nothing', volume)
    two.openstack('volume', 'delete', volume)
