# SPDX-License-Identifier: Apache-2.0
"""A server that boots from a volume of an image, with a shared volume beside it: Nova's own code, a real Glance."""

import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from keystoneauth1 import session

from multiattach.drivers.glance.client import ImageApi
from tests.nova import clouds
from tests.nova.client import Nova
from tests.nova.clouds import Cloud, opens
from tests.nova.conftest import initiator, make_connector
from tests.testbed.glance import Glance

DATA = b'a system'.ljust(1 << 20, b'.')


@pytest.fixture(scope='module')
def cloud(glance: Glance, tmp_path_factory: pytest.TempPathFactory, nova_python: pathlib.Path) -> Iterator[Cloud]:
    with clouds.run_without_keystone(tmp_path_factory.mktemp('boot'), nova_python, glance=glance) as running:
        yield running


@pytest.fixture(scope='module')
def nova(cloud: Cloud) -> Iterator[Nova]:
    with cloud.run_nova() as running:
        yield running


def make_image(glance: Glance, data: bytes) -> str:
    api = ImageApi(session.Session(), None, [glance.url])
    made = api.create({'name': 'a system', 'disk_format': 'raw', 'container_format': 'bare'})
    api.upload(made.id, data)
    return made.id


def read(cloud: Cloud, volume: str) -> bytes:
    with (cloud.service.state / 'volumes' / f'volume-{volume}').open('rb') as file:
        return file.read(len(DATA))


def boot(cloud: Cloud, nova: Nova, image: str, shared: str, server: str) -> dict[str, Any]:
    found: dict[str, Any] = nova.order(
        'boot',
        mappings=[
            {
                'source': 'image',
                'image': image,
                'size': 1,
                'boot_index': 0,
                'volume': None,
                'instance': server,
                'device': '/dev/vda',
            },
            {
                'volume': shared,
                'instance': server,
                'device': '/dev/vdb',
                # As the Compute API does before a host is chosen.
                'attachment': nova.call('attachment_create', shared, server)['id'],
            },
        ],
        connector=make_connector('one'),
    )
    return found


def test_two_servers_boot_from_an_image_and_share_a_volume(
    cloud: Cloud, nova: Nova, glance: Glance, shared: str
) -> None:
    image, servers = make_image(glance, DATA), [str(uuid.uuid4()) for _ in range(2)]
    done = [boot(cloud, nova, image, shared, server) for server in servers]
    for server, one in zip(servers, done, strict=True):
        root, second = one['mappings']
        assert read(cloud, root['volume']) == DATA
        volume = nova.call('get', root['volume'])
        assert (volume['status'], volume['bootable']) == ('in-use', True)
        assert volume['volume_image_metadata']['image_id'] == image
        assert list(volume['attachments']) == [server]
        assert second['volume'] == shared
        for mapping in one['mappings']:  # the hypervisor gets it with the server's XML
            assert opens(mapping['connection_info'], initiator('one'))
    assert set(nova.call('get', shared)['attachments']) == set(servers)
    roots = [one['mappings'][0] for one in done]
    assert roots[0]['volume'] != roots[1]['volume']

    # The first one is rebuilt from another image: its root volume is reserved meanwhile, the shared one stays.
    root = roots[0]
    new = nova.call('attachment_create', root['volume'], servers[0])['id']
    nova.call('attachment_delete', root['attachment'])
    nova.call('reimage_volume', root['volume'], make_image(glance, DATA[::-1]), reimage_reserved=True)
    cloud.service.wait(lambda: cloud.service.status(root['volume']) == 'reserved')
    assert read(cloud, root['volume']) == DATA[::-1]
    assert set(nova.call('get', shared)['attachments']) == set(servers)
    nova.call('attachment_delete', new)

    for one in done:
        for mapping in one['mappings']:
            if mapping['attachment'] != root['attachment']:
                nova.call('attachment_delete', mapping['attachment'])
        cloud.delete_volume(one['mappings'][0]['volume'])


def test_an_image_that_cannot_be_used_ends_the_build(cloud: Cloud, nova: Nova, glance: Glance, shared: str) -> None:
    image = make_image(glance, DATA)
    (glance.images / image).write_bytes(DATA[::-1])
    with pytest.raises(Exception, match='Volume') as caught:
        boot(cloud, nova, image, shared, str(uuid.uuid4()))
    assert 'error' in str(caught.value)
    for attachment in cloud.list_attachments(shared):
        nova.call('attachment_delete', attachment['id'])
