# SPDX-License-Identifier: Apache-2.0
"""Images of volumes: a real Glance, a real qemu-img, the real worker and real files."""

import hashlib
import pathlib
import re
import subprocess

import pytest

from multiattach.domain import errors
from multiattach.engine.image_actions import UploadWish
from tests.contexts import make_context
from tests.functional.images.cloud import IMPATIENT, MIB, Cloud, Stalling, deploy_with, make_disk
from tests.testbed.glance import Glance

GIB = 1 << 30


@pytest.fixture
def volume(cloud: Cloud, folder: pathlib.Path) -> str:
    """A volume with data at its beginning."""
    ident = cloud.deployed.make_volume()
    with cloud.path(ident).open('r+b') as file:
        file.write(make_disk(folder))
    return ident


def upload(cloud: Cloud, volume: str, name: str = 'of a volume', **wish):
    row, image = cloud.deployed.engine.image_actions.upload(cloud.deployed.ctx, volume, UploadWish(name, **wish))
    assert row.status == 'uploading'
    cloud.deployed.wait(lambda: cloud.deployed.status(volume) != 'uploading', 60)
    return image


@pytest.mark.slow  # a whole GiB, hashed at both ends
def test_raw(cloud: Cloud, volume: str) -> None:
    cloud.deployed.engine.settings.set_image_metadata(
        cloud.deployed.ctx, volume, {'hw_disk_bus': 'scsi', 'image_id': 'x', 'img_signature': 'y', 'min_ram': '5'}
    )
    image = upload(cloud, volume)
    assert cloud.deployed.status(volume) == 'available'
    found = cloud.api.show(image.id)
    assert (found.status, found.size, found.disk_format, found.name) == ('active', GIB, 'raw', 'of a volume')
    assert found.properties['hw_disk_bus'] == 'scsi'
    assert not {'image_id', 'img_signature'} & set(found.properties)
    with cloud.path(volume).open('rb') as file:
        assert found.hashes['sha512'] == hashlib.file_digest(file, 'sha512').hexdigest()


@pytest.mark.parametrize(
    ('disk_format', 'form'),
    [('qcow2', 'qcow2'), *(pytest.param(*one, marks=pytest.mark.slow) for one in (('vmdk', 'vmdk'), ('vhd', 'vpc')))],
)
def test_in_other_formats(cloud: Cloud, volume: str, folder: pathlib.Path, disk_format: str, form: str) -> None:
    image = upload(cloud, volume, disk_format=disk_format)
    assert cloud.api.show(image.id).disk_format == disk_format
    assert (cloud.glance.images / image.id).stat().st_size < 64 * MIB
    subprocess.run(
        ['qemu-img', 'convert', '-f', form, '-O', 'raw', cloud.glance.images / image.id, folder / 'back'], check=True
    )
    with (folder / 'back').open('rb') as back, (folder / 'disk').open('rb') as disk:
        assert back.read(8 * MIB) == disk.read()


def test_protected_and_its_visibility(cloud: Cloud, volume: str) -> None:
    image = upload(cloud, volume, visibility='community', protected=True, disk_format='qcow2')
    reply = cloud.api._ask('GET', f'/v2/images/{image.id}', image.id).json()
    assert (reply['visibility'], reply['protected']) == ('community', True)
    cloud.api.delete(image.id)
    with pytest.raises(errors.NotFound):
        cloud.api.show(image.id)


def test_public_images_have_a_rule_of_their_own(cloud: Cloud, volume: str) -> None:
    member = make_context(admin=False, roles=('member', 'reader'))
    with pytest.raises(errors.NotAuthorized):
        cloud.deployed.engine.image_actions.upload(member, volume, UploadWish('x', visibility='public'))
    assert cloud.deployed.status(volume) == 'available'


@pytest.mark.parametrize('forced', [False, True])
def test_a_volume_in_use_by_force_only(cloud: Cloud, volume: str, forced: bool, monkeypatch) -> None:
    row = cloud.deployed.engine.attachments.create(
        cloud.deployed.ctx, volume, None, {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h'}, None
    )
    cloud.deployed.engine.attachments.complete(cloud.deployed.ctx, row.id)
    with pytest.raises(errors.InvalidVolume, match='status must be available, but'):
        upload(cloud, volume, force=True)
    monkeypatch.setattr(cloud.deployed.engine.image_actions, '_force_enabled', True)
    if not forced:
        with pytest.raises(errors.InvalidVolume, match='status must be available, but'):
            upload(cloud, volume)
        return
    image = upload(cloud, volume, force=True, disk_format='qcow2')
    assert cloud.api.show(image.id).status == 'active'
    assert cloud.deployed.status(volume) == 'in-use'


def test_what_glance_refuses_leaves_the_volume_as_it_was(cloud: Cloud, volume: str) -> None:
    with pytest.raises(errors.InvalidInput, match='refuses image'):
        upload(cloud, volume, name='x' * 300)
    assert cloud.deployed.status(volume) == 'available'
    with pytest.raises(errors.InvalidInput, match='images are made in'):
        upload(cloud, volume, disk_format='ploop')
    with pytest.raises(errors.InvalidInput, match='images are made in'):
        upload(cloud, volume, container_format='ova')


def test_an_image_that_cannot_be_sent_is_deleted_again(
    cloud: Cloud, glance: Glance, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    relay = Stalling(glance.port, 10_000_000)
    relay.most_sent = 1_000_000
    with deploy_with(tmp_path / 'cloud', relay.url, glance, lease_rules=IMPATIENT) as slow:
        volume = slow.deployed.make_volume()
        image = upload(slow, volume)
        assert slow.deployed.status(volume) == 'available'
        message = slow.read_message(volume)
        assert re.match('copy volume to image: given up after 2 attempts', message)
        with pytest.raises(errors.NotFound):
            cloud.api.show(image.id)
    relay.close()


def test_the_image_is_deleted_while_it_is_made(cloud: Cloud, volume: str, monkeypatch) -> None:
    real = cloud.deployed.engine.image_actions._workers.copy_image

    def copy(host: str, volume_id: str, request_id: str | None) -> None:
        cloud.api.delete(made[0])
        real(host, volume_id, request_id)

    made: list[str] = []
    find = cloud.deployed.engine.image_actions._is_wanted
    monkeypatch.setattr(cloud.deployed.engine.image_actions, '_is_wanted', lambda v, i: made.append(i) or find(v, i))
    monkeypatch.setattr(cloud.deployed.engine.image_actions._workers, 'copy_image', copy)
    upload(cloud, volume)
    assert cloud.deployed.status(volume) == 'available'
    # While it removes an image Glance shows it as deleted for a moment.
    ends = 'could not be found.', 'is deleted.'
    assert cloud.read_message(volume) in [f'copy volume to image: Image {made[0]} {end}' for end in ends]
