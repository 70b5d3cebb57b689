# SPDX-License-Identifier: Apache-2.0
"""Volumes of images: a real Glance, a real qemu-img, the real worker and real files."""

import json
import pathlib
import struct
import subprocess

import pytest
import sqlalchemy as sa

from multiattach.db import image_copies, models
from multiattach.domain import errors
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context
from tests.functional.images.cloud import IMPATIENT, MIB, Cloud, Stalling, convert, deploy_with, make_disk
from tests.testbed.glance import Glance

GIB = 1 << 30
PASSWD = pathlib.Path('/etc/passwd')
NOBODY = '11111111-1111-4111-8111-111111111111'


def test_of_a_raw_image(cloud: Cloud, folder: pathlib.Path) -> None:
    data = make_disk(folder)
    image = cloud.make_image(data, hw_disk_bus='virtio', min_ram=64, min_disk=1)
    volume = cloud.create(image, size=2)
    found = cloud.deployed.engine.volumes.show(cloud.deployed.ctx, volume)
    assert (found.status, found.size, found.bootable, found.multiattach) == ('available', 2, True, False)
    assert found.image_metadata.items() >= {
        ('image_id', image),
        ('image_name', 'an image'),
        ('hw_disk_bus', 'virtio'),
        ('min_ram', '64'),
        ('min_disk', '1'),
        ('size', str(len(data))),
        ('disk_format', 'raw'),
        ('container_format', 'bare'),
    }
    assert 'owner' not in found.image_metadata
    with cloud.path(volume).open('rb') as file:
        assert file.read(len(data)) == data
        assert file.read(MIB) == bytes(MIB)
    stat = cloud.path(volume).stat()
    assert stat.st_size == 2 * GIB
    assert stat.st_blocks * 512 < 2 * len(data)  # what is zero takes no room
    assert not list((cloud.deployed.directory / 'volumes').glob('draft-*'))


@pytest.mark.parametrize(
    ('disk_format', 'form', 'options'),
    [
        ('qcow2', 'qcow2', ['-c']),
        pytest.param('vmdk', 'vmdk', [], marks=pytest.mark.slow),
        ('vmdk', 'vmdk', ['-o', 'subformat=streamOptimized']),
        pytest.param('vdi', 'vdi', [], marks=pytest.mark.slow),
        ('vhd', 'vpc', ['-o', 'force_size=on']),
        pytest.param('vhdx', 'vhdx', [], marks=pytest.mark.slow),
    ],
    ids=['qcow2', 'vmdk', 'vmdk-stream', 'vdi', 'vhd', 'vhdx'],
)
def test_of_each_format(cloud: Cloud, folder: pathlib.Path, disk_format: str, form: str, options: list[str]) -> None:
    data = make_disk(folder)
    volume = cloud.create(cloud.make_image(convert(folder, form, *options), disk_format))
    assert cloud.deployed.status(volume) == 'available', cloud.read_message(volume)
    with cloud.path(volume).open('rb') as file:
        assert file.read(len(data)) == data


def test_by_name_or_url(cloud: Cloud) -> None:
    image = cloud.make_image(bytes(MIB), name='only one is named so')
    for reference in ('only one is named so', f'{cloud.glance.url}/v2/images/{image}'):
        volume = cloud.deployed.engine.volumes.show(cloud.deployed.ctx, cloud.create(reference))
        assert volume.image_metadata['image_id'] == image
    for _ in range(2):
        cloud.make_image(None, name='two')
    with pytest.raises(errors.Conflict, match='Multiple matches'):
        cloud.begin('two')
    for reference in ('none', '11111111-1111-4111-8111-111111111111'):
        with pytest.raises(errors.InvalidInput, match='Invalid image identifier'):
            cloud.begin(reference)


def test_the_type_that_the_image_names(cloud: Cloud) -> None:
    cloud.deployed.make_type('of the image')
    image = cloud.make_image(bytes(MIB), cinder_img_volume_type='of the image')
    volume = cloud.deployed.engine.volumes.show(cloud.deployed.ctx, cloud.create(image))
    assert (volume.type_name, volume.multiattach, volume.bootable) == ('of the image', True, True)
    asked = cloud.deployed.engine.volumes.show(cloud.deployed.ctx, cloud.create(image, type_name='__DEFAULT__'))
    assert asked.type_name == '__DEFAULT__'
    wrong = cloud.make_image(bytes(MIB), cinder_img_volume_type='no such type')
    with pytest.raises(errors.VolumeTypeNotFound):
        cloud.begin(wrong)


@pytest.mark.parametrize(
    ('properties', 'said'),
    [
        ({'min_disk': 3}, 'image minDisk size 3GB'),
        ({'img_signature': 'x'}, 'does not verify signatures'),
        ({'cinder_encryption_key_id': 'x'}, 'is encrypted'),
        ({'container_format': 'ova'}, 'in container ova'),
        ({'disk_format': 'ploop'}, 'disk format ploop'),
    ],
)
def test_what_no_volume_is_made_of(cloud: Cloud, properties: dict[str, object], said: str) -> None:
    image = cloud.make_image(b'x', **{'disk_format': 'raw', **properties})
    before = count(cloud)
    with pytest.raises(errors.InvalidInput, match=said):
        cloud.begin(image, size=2)
    assert count(cloud) == before


def make_server_image(cloud: Cloud, snapshot: str, data: bytes = b'', boot_index: object = 0) -> str:
    """Make an image as Nova does of a server that boots from a volume."""
    mapping = [
        {'source_type': 'volume', 'boot_index': None, 'volume_id': 'x'},
        {'source_type': 'snapshot', 'boot_index': boot_index, 'snapshot_id': snapshot, 'volume_size': 1},
    ]
    return cloud.make_image(data, block_device_mapping=json.dumps(mapping), bdm_v2='True')


def test_an_image_of_a_server_stands_for_the_snapshot_of_its_root_volume(cloud: Cloud, folder: pathlib.Path) -> None:
    data, engine, ctx = make_disk(folder), cloud.deployed.engine, cloud.deployed.ctx
    root = cloud.create(cloud.make_image(data))
    snapshot = engine.snapshots.create(ctx, SnapshotWish(root)).id
    cloud.deployed.wait(lambda: engine.snapshots.show(ctx, snapshot).status == 'available')
    cloud.path(root).write_bytes(data[::-1])
    image = make_server_image(cloud, snapshot)
    volume = cloud.create(image, size=None, takes_server_images=True)
    found = engine.volumes.show(ctx, volume)
    assert (found.status, found.snapshot_id, found.size, found.bootable) == ('available', snapshot, 1, True)
    assert found.image_metadata['image_name'] == 'an image', 'as with the root volume'
    with cloud.path(volume).open('rb') as file:
        assert file.read(len(data)) == data
    with pytest.raises(errors.InvalidInput, match=r'of the snapshot, or of the image by microversion 3\.46'):
        cloud.begin(image)
    with pytest.raises(errors.SnapshotNotFound):
        cloud.begin(make_server_image(cloud, NOBODY), takes_server_images=True)
    foreign = make_context(admin=False, project='f' * 32, roles=('member', 'reader'))
    with pytest.raises(errors.SnapshotNotFound):
        engine.volumes.create(foreign, VolumeWish(1, image_ref=image, takes_server_images=True))


@pytest.mark.parametrize('mapping', ['', '[', '{"a": 1}', '[1, null]', '[]'])
def test_what_stands_for_no_snapshot_is_an_image(cloud: Cloud, mapping: str) -> None:
    data = bytes(512)
    assert cloud.begin(cloud.make_image(data, block_device_mapping=mapping), takes_server_images=True)
    assert cloud.begin(make_server_image(cloud, NOBODY, data, boot_index=None), takes_server_images=True)
    with pytest.raises(errors.InvalidInput, match='has no data of its own'):
        cloud.begin(make_server_image(cloud, NOBODY, boot_index=None), takes_server_images=True)


def count(cloud: Cloud) -> int:
    with cloud.deployed.db.reader() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(models.Volume)) or 0)


def test_nothing_of_an_image_that_is_not_active(cloud: Cloud) -> None:
    with pytest.raises(errors.InvalidInput, match='is not active'):
        cloud.begin(cloud.make_image(None))
    image = cloud.make_image(b'x')
    cloud.api._ask('POST', f'/v2/images/{image}/actions/deactivate', image)
    with pytest.raises(errors.InvalidInput, match='is not active'):
        cloud.begin(image)


def test_the_policy_is_asked(cloud: Cloud) -> None:
    reader = make_context(admin=False, roles=('reader',))
    with pytest.raises(errors.NotAuthorized):
        cloud.deployed.engine.volumes._find_image(reader, VolumeWish(1, image_ref=cloud.make_image(b'x')))


# -- images of people who mean no good ---------------------------------------------------------------


def qemu(*words: str | pathlib.Path) -> None:
    subprocess.run(['qemu-img', *map(str, words)], check=True, capture_output=True)


def make_backed(folder: pathlib.Path) -> bytes:
    qemu('create', '-f', 'qcow2', '-F', 'raw', '-b', PASSWD, folder / 'x', '10M')
    return (folder / 'x').read_bytes()


def make_with_data_file(folder: pathlib.Path) -> bytes:
    qemu('create', '-f', 'qcow2', '-o', f'data_file={folder}/data,data_file_raw=on', folder / 'x', '10M')
    data = (folder / 'x').read_bytes()
    return data.replace(f'{folder}/data'.encode(), b'/etc/passwd'.ljust(len(f'{folder}/data'), b'\0'))


def make_flat_vmdk(folder: pathlib.Path) -> bytes:
    text = (
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        'RW 20480 FLAT "/etc/passwd" 0\n'
    )
    return text.encode()


def make_sparse_vmdk(folder: pathlib.Path) -> bytes:
    qemu('create', '-f', 'vmdk', folder / 'x', '10M')
    data = (folder / 'x').read_bytes()
    assert b'SPARSE "x"' in data
    return data.replace(b'SPARSE "x"\n', b'SPARSE "/etc/passwd"\n', 1)[: len(data)]


def make_bomb(folder: pathlib.Path) -> bytes:
    qemu('create', '-f', 'qcow2', folder / 'x', '10M')
    data = bytearray((folder / 'x').read_bytes())
    struct.pack_into('>Q', data, 24, 1 << 60)  # what its header says of its size
    return bytes(data)


def make_disguised(folder: pathlib.Path) -> bytes:
    qemu('create', '-f', 'qcow2', folder / 'x', '10M')
    return (folder / 'x').read_bytes()


@pytest.mark.parametrize(
    ('make', 'disk_format', 'said'),
    [
        (make_backed, 'qcow2', 'backing_file'),
        (make_with_data_file, 'qcow2', 'data_file'),
        (make_flat_vmdk, 'vmdk', 'Unsupported subformat'),
        (make_sparse_vmdk, 'vmdk', 'extent filenames'),
        (make_bomb, 'qcow2', "doesn't fit in a volume of size 1GB"),
        (make_disguised, 'raw', 'but its data are in format qcow2'),
        (make_disguised, 'vmdk', 'but its data are in format qcow2'),
        (lambda _: b'QFI\xfb\0\0\0\3' + b'\xff' * 600, 'qcow2', 'unacceptable'),
    ],
    ids=['backing-file', 'data-file', 'flat-vmdk', 'sparse-vmdk', 'bomb', 'disguised-raw', 'disguised-vmdk', 'garbage'],
)
def test_an_image_that_means_no_good(cloud: Cloud, folder: pathlib.Path, make, disk_format: str, said: str) -> None:
    volume = cloud.create(cloud.smuggle_image(make(folder), disk_format))
    assert cloud.deployed.status(volume) == 'error'
    message = cloud.read_message(volume)
    assert message.startswith('create volume: ')
    assert said in message
    cloud.check_nothing_left(volume)


def test_data_that_are_not_what_glance_recorded(cloud: Cloud) -> None:
    image = cloud.make_image(b'a' * MIB)
    (cloud.glance.images / image).write_bytes(b'b' * MIB)
    volume = cloud.create(image)
    assert cloud.deployed.status(volume) == 'error'
    assert 'is damaged: the sha512 of its data' in cloud.read_message(volume)
    cloud.check_nothing_left(volume)


@pytest.fixture
def impatient(glance: Glance, tmp_path: pathlib.Path) -> object:
    def run(limit: int):
        relay = Stalling(glance.port, limit)
        return relay, deploy_with(tmp_path / 'cloud', relay.url, glance, lease_rules=IMPATIENT)

    return run


def test_a_glance_that_stalls(cloud: Cloud, impatient, folder: pathlib.Path) -> None:
    image = cloud.make_image(make_disk(folder))
    relay, deploying = impatient(100_000)
    with deploying as slow:
        volume = slow.create(image)
        assert slow.deployed.status(volume) == 'error'
        assert slow.read_message(volume).startswith('create volume: given up after 2 attempts: The Image service')
        slow.check_nothing_left(volume)
    relay.close()


def test_the_image_goes_while_the_volume_is_made(cloud: Cloud, glance: Glance, tmp_path: pathlib.Path) -> None:
    image = cloud.make_image(bytes(MIB))
    with deploy_with(tmp_path / 'cloud', glance.url, glance, start_worker=False) as late:
        late.deployed.worker.beat()
        volume = late.begin(image)
        assert late.deployed.status(volume) == 'downloading'
        cloud.api.delete(image)
        with late.deployed.db.writer() as session:
            image_copies.note(session, volume, 42)
        outlook = late.deployed.engine.explanations.explain_volume(late.deployed.ctx, volume).outlook
        assert '42 % are done' in outlook.next
        late.deployed.worker._storage.start()
        late.deployed.worker.tend()
        late.deployed.wait(lambda: late.deployed.status(volume) == 'error')
        assert late.read_message(volume) == f'create volume: Image {image} could not be found.'
        late.check_nothing_left(volume)
        late.deployed.worker._storage.stop()
