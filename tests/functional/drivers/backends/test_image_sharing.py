# SPDX-License-Identifier: Apache-2.0
"""Volumes that share the blocks of Glance's images: a real Ceph, and a real Glance that keeps its images there."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from multiattach import failpoints
from multiattach.db import paging
from multiattach.drivers.backends.rbd_imports import Origin, parse_location
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.pool import MONITORS
from multiattach.drivers.ceph.users import Users
from multiattach.drivers.errors import DriverRefused
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from tests.deployments import surroundings
from tests.functional.drivers.stores import RbdStore
from tests.functional.images.cloud import MIB, Cloud, convert, deploy_with, make_disk
from tests.testbed.ceph import Ceph
from tests.testbed.glance import Glance

GIB = 1 << 30
POOL = 'images'


@pytest.mark.parametrize(
    ('location', 'found'),
    [
        ('rbd://f/images/i/snap', Origin('f', 'images', 'i', 'snap')),
        ('rbd://f/a%2Fb/i%20/snap', Origin('f', 'a/b', 'i ', 'snap')),
        ('rbd://i', None),
        ('rbd://f/images/i/', None),
        ('rbd://f/images/i/snap/x', None),
        ('file:///f/images/i/snap', None),
        ('', None),
    ],
)
def test_locations(location: str, found: Origin | None) -> None:
    assert parse_location(location) == found


@pytest.fixture(scope='module')
def glance(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """It keeps raw images as Ceph's images of their size, each with a protected snapshot."""
    folder = tmp_path_factory.mktemp('glance')
    ceph.make_pool(POOL)
    conf = ceph.make_user('glance', f'profile rbd pool={POOL}')
    modules = folder / 'modules'
    modules.mkdir()
    for module in library.load():
        (modules / pathlib.Path(module.__file__).name).symlink_to(module.__file__)
    settings = (
        f'[DEFAULT]\nenabled_backends = files:file,{POOL}:rbd\n[glance_store]\ndefault_backend = {POOL}\n'
        f'[{POOL}]\nrbd_store_pool = {POOL}\nrbd_store_user = glance\nrbd_store_ceph_conf = {conf}\n'
        '[image_format]\nrequire_image_format_match = false\n'
    )
    with Glance(folder / 'g', settings=settings, modules=modules) as running:
        yield running


@contextlib.contextmanager
def deploy(store: RbdStore, glance: Glance, folder: pathlib.Path, profile: str = 'rbd') -> Iterator[Cloud]:
    if profile:
        osd = f'profile rbd pool={store.pool}, profile {profile} pool={POOL}'
        store.ceph.ask('auth caps', entity=f'client.{store.pool}', caps=['mon', MONITORS, 'osd', osd])
        store.backend.pool._forget()
    with deploy_with(folder, glance.url, glance, backend=store.backend) as cloud:
        # Of a new pool Ceph has no figures for some seconds.
        cloud.deployed.wait(lambda: [one for one in cloud.deployed.engine.services.list_backends() if one.is_answering])
        yield cloud


def find_parent(store: RbdStore, volume: str) -> tuple[str, str] | None:
    """Return pool and name of what a volume shares blocks with."""
    with store.open(volume, read_only=True) as image:
        try:
            found = image.get_parent_image_spec()
        except store.rbd.ImageNotFound:
            return None
        return found['pool_name'], found['image_name']


@pytest.mark.slow
def test_a_volume_shares_the_blocks_of_an_image(
    make_rbd: Callable[..., RbdStore], ceph: Ceph, glance: Glance, tmp_path: pathlib.Path
) -> None:
    store, data = make_rbd(rbd_image_pools=[POOL]), make_disk(tmp_path)
    with deploy(store, glance, tmp_path / 'cloud') as cloud:
        engine, ctx = cloud.deployed.engine, cloud.deployed.ctx
        image = cloud.make_image(data, hw_disk_bus='virtio')
        volume = cloud.create(image)
        found = engine.volumes.show(ctx, volume)
        assert (found.status, found.bootable, found.image_metadata['hw_disk_bus']) == ('available', True, 'virtio')
        assert find_parent(store, volume) == (POOL, image)
        assert store.size(volume) == GIB
        assert store.read(volume, 0, len(data)) == data
        assert store.read(volume, len(data), MIB) == bytes(MIB)
        store.write(volume, 0, b'mine')

        # What is made of it has two generations of ancestors, one of them in the other pool.
        snapshot = engine.snapshots.create(ctx, SnapshotWish(volume)).id
        cloud.deployed.wait(lambda: engine.snapshots.show(ctx, snapshot).status == 'available')
        clones = [
            engine.volumes.create(ctx, VolumeWish(None, **{key: ident})).id
            for key, ident in (('source_volid', volume), ('snapshot_id', snapshot))
        ]
        for clone in clones:
            cloud.deployed.wait(lambda one=clone: cloud.deployed.status(one) == 'available')
            assert find_parent(store, clone) == (store.pool, f'volume-{volume}')
            assert store.read(clone, 0, 8) == b'mine' + data[4:8]

        # A host's own user reaches its image and what that shares blocks with, and nothing else of that pool.
        user = Users(store.backend.pool).make(volume, f'volume-{clones[0]}', read_only=False)
        conf = ceph.write_conf(user.name, user.key)
        other = cloud.make_image(b'of others'.ljust(512))
        with store.rados.Rados(rados_id=user.name, conffile=str(conf)) as cluster:
            with cluster.open_ioctx(store.pool) as io, store.rbd.Image(io, f'volume-{clones[0]}') as one:
                assert one.read(0, 8) == b'mine' + data[4:8]
                assert one.read(len(data) - MIB, MIB) == data[-MIB:]
            with (
                cluster.open_ioctx(POOL) as io,
                pytest.raises(store.rbd.Error),
                store.rbd.Image(io, other, read_only=True),
            ):
                pass

        # The image's own contents are safe: Glance cannot remove them, and says so or puts them aside.
        with contextlib.suppress(DriverRefused):
            cloud.api.delete(image)
        assert store.read(volume, len(data) - MIB, MIB) == data[-MIB:]
        for one in (*clones, volume):
            engine.volumes.delete(ctx, one, cascade=True)
            cloud.deployed.wait(lambda one=one: cloud.deployed.status(one) is None, 60)
        assert store.names() == []


@pytest.mark.slow
def test_what_is_fetched(make_rbd: Callable[..., RbdStore], glance: Glance, ceph: Ceph, tmp_path: pathlib.Path) -> None:
    data, store, raw = make_disk(tmp_path), make_rbd(rbd_image_pools=[POOL]), ''
    for profile in ('', 'rbd-read-only'):
        with deploy(store, glance, tmp_path / f'no{profile}', profile) as cloud:
            raw = raw or cloud.make_image(data)
            volume = cloud.create(raw)
            assert cloud.deployed.status(volume) == 'available'
            assert find_parent(store, volume) is None
    store = make_rbd(rbd_image_pools=['others'])
    with deploy(store, glance, tmp_path / 'others') as cloud:
        assert find_parent(store, cloud.create(raw)) is None
    store = make_rbd(rbd_image_pools=[POOL])
    with deploy(store, glance, tmp_path / 'cloud') as cloud:
        for image in (cloud.make_image(convert(tmp_path, 'qcow2'), 'qcow2'), cloud.make_image(data, 'iso')):
            volume = cloud.create(image)
            assert cloud.deployed.status(volume) == 'available', cloud.read_message(volume)
            assert find_parent(store, volume) is None
            assert store.read(volume, 0, len(data)) == data
        # A location of somebody else's image: Glance would serve it, and nothing is shared.
        stranger = cloud.make_image(None)
        location = f'rbd://{store.backend.pool.find_fsid()}/{POOL}/{raw}/snap'
        add_location(cloud, stranger, location)
        volume = cloud.create(stranger)
        assert find_parent(store, volume) is None
        # What has another size than Glance wrote down is another image.
        with ceph.open_pool(POOL) as io, store.rbd.Image(io, raw) as one:
            one.unprotect_snap('snap')
            one.remove_snap('snap')
            one.resize(len(data) + MIB)
            one.create_snap('snap')
            one.protect_snap('snap')
        volume = cloud.create(raw)
        assert find_parent(store, volume) is None
        assert store.read(volume, 0, len(data) + MIB) == data + bytes(MIB)


def add_location(cloud: Cloud, image: str, location: str) -> None:
    patch = json.dumps([{'op': 'add', 'path': '/locations/-', 'value': {'url': location, 'metadata': {}}}])
    headers = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}
    cloud.api._ask('PATCH', f'/v2/images/{image}', image, data=patch, headers=headers)


@pytest.mark.slow
def test_with_no_depth_a_volume_has_blocks_of_its_own(
    make_rbd: Callable[..., RbdStore], glance: Glance, tmp_path: pathlib.Path
) -> None:
    store, data = make_rbd(rbd_image_pools=[POOL], rbd_max_clone_depth=0), make_disk(tmp_path)
    with deploy(store, glance, tmp_path / 'cloud') as cloud:
        volume = cloud.create(cloud.make_image(data))
        assert find_parent(store, volume) is None
        assert store.read(volume, 0, len(data)) == data


@pytest.mark.slow
def test_a_volume_gets_another_image(make_rbd: Callable[..., RbdStore], glance: Glance, tmp_path: pathlib.Path) -> None:
    store, data = make_rbd(rbd_image_pools=[POOL]), make_disk(tmp_path)
    with deploy(store, glance, tmp_path / 'cloud') as cloud:
        first, second = cloud.make_image(data), cloud.make_image(data[::-1])
        volume = cloud.create(first)
        cloud.deployed.engine.image_actions.reimage(cloud.deployed.ctx, volume, second, reserved_allowed=False)
        cloud.deployed.wait(lambda: cloud.deployed.status(volume) == 'available')
        assert find_parent(store, volume) == (POOL, second)
        assert store.read(volume, 0, len(data)) == data[::-1]
        assert store.names() == [f'volume-{volume}']
        cloud.api.delete(first)  # nothing needs it


@pytest.mark.slow
@pytest.mark.parametrize('point', ['planned', 'filled', 'adopted', 'finished'])
def test_a_worker_is_killed(
    make_rbd: Callable[..., RbdStore], glance: Glance, tmp_path: pathlib.Path, point: str
) -> None:
    store, data = make_rbd(rbd_image_pools=[POOL]), make_disk(tmp_path)
    folder = tmp_path / 'cloud'
    with deploy(store, glance, folder) as cloud:
        image = cloud.make_image(data)
    told = {'folder': str(folder), 'options': store.options, 'glance': glance.url, 'image': image}
    told['url'] = surroundings.current.find_database(folder)
    done = subprocess.run(
        [sys.executable, '-m', 'tests.functional.drivers.backends.victim'],
        input=json.dumps(told).encode(),
        env={**os.environ, failpoints.VARIABLE: f'volume.image.{point}=kill'},
        check=False,
    )
    assert done.returncode == -9
    with deploy(store, glance, folder) as cloud:
        [volume] = [one.id for one in cloud.deployed.engine.volumes.list_page(cloud.deployed.ctx, [], paging.Page())]
        cloud.deployed.wait(lambda: cloud.deployed.status(volume) not in ('creating', 'downloading'), 60)
        assert cloud.deployed.status(volume) == 'available'
        assert find_parent(store, volume) == (POOL, image)
        assert store.read(volume, 0, len(data)) == data
        cloud.deployed.wait(lambda: store.names() == [f'volume-{volume}'])
