# SPDX-License-Identifier: Apache-2.0
"""Images whose data is in another pool than what describes them, as for erasure codes."""

import pytest

from .cloud import make_connector
from .test_fences import fence, read_block

DATA = 'elsewhere'


@pytest.fixture
def split(cloud):
    """A cloud whose new images have their data elsewhere."""
    ceph, name = cloud.ceph, cloud.pool
    ceph.make_pool(DATA)
    capabilities = f'profile rbd pool={name}, profile rbd pool={DATA}'
    mon = ceph.ask('auth get', entity=f'client.{name}')[0]['caps']['mon']
    ceph.ask('auth caps', entity=f'client.{name}', caps=['mon', mon, 'osd', capabilities])
    with (ceph.folder / f'client.{name}.conf').open('a') as file:
        file.write(f'rbd default data pool = {DATA}\n')
    for pool in (cloud.deployed.exporter._backend.pool, cloud.deployed.target.pool):
        pool._forget()
    yield cloud
    ceph.remove_pool(DATA)


def test_a_fence_holds_where_the_data_is(split):
    cloud = split
    volume_id = cloud.deployed.make_volume('multi')
    with cloud.ceph.open_image(cloud.pool, f'volume-{volume_id}') as image, cloud.ceph.open_pool(DATA) as io:
        assert image.data_pool_id() == io.get_pool_id()
    clone_id = cloud.ask('post_json', '/v3/volumes', {'volume': {'size': 1, 'source_volid': volume_id}})['volume']['id']
    cloud.deployed.wait(lambda: cloud.deployed.status(clone_id) == 'available')
    cloud.write(cloud.attach(clone_id, make_connector('b'))['connection_info'])
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    writer, other = cloud.write(one['connection_info']), cloud.write(two['connection_info'], 1 << 20)
    fence(cloud, one['id'])
    last = read_block(cloud, volume_id, 0)
    cloud.deployed.wait(lambda: writer.process.poll() is not None, 60)
    assert writer.error
    assert read_block(cloud, volume_id, 0) == last
    other.go_on()
    assert cloud.deployed.target._cuts._blocklist.settle().groups == 16
