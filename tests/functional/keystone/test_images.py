# SPDX-License-Identifier: Apache-2.0
"""Images with a real Keystone and a real Glance: users' tokens decide who sees which, the service's account copies."""

import pathlib
import uuid
from collections.abc import Iterator

import pytest
from keystoneauth1 import session, token_endpoint

from multiattach.domain import errors
from multiattach.drivers.glance.client import ImageApi
from tests.deployments.standalone import Standalone
from tests.functional.keystone.conftest import Cloud, configure
from tests.testbed.glance import Glance
from tests.testbed.keystone import Keystone

# Tempest makes volumes of images, and images of volumes, with a Keystone in the gate.
pytestmark = pytest.mark.slow
DATA = b'of an image'.ljust(4096, b'.')


@pytest.fixture(scope='module')
def glance(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    with Glance(tmp_path_factory.mktemp('glance'), keystone) as running:
        keystone.identity.unregister('image')
        keystone.identity.register('image', 'glance', running.url)
        yield running


@pytest.fixture(scope='module')
def cloud(glance: Glance, keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    service = Standalone(tmp_path_factory.mktemp('images'))
    configure(service.state, keystone.render_authtoken())
    with (service.state / 'multiattach.conf').open('a') as conf:
        options = keystone.list_credentials('admin')
        conf.write('[glance]\n' + ''.join(f'{name} = {value}\n' for name, value in options.items()))
    service.start()
    yield Cloud(service, keystone)
    assert service.stop() == 0


def ask(cloud: Cloud, glance: Glance, persona: str) -> ImageApi:
    return ImageApi(session.Session(), token_endpoint.Token(None, cloud.token(persona)), [glance.url])


@pytest.fixture
def image(cloud: Cloud, glance: Glance) -> str:
    """A private image of the member's project."""
    api = ask(cloud, glance, 'member')
    made = api.create({'name': str(uuid.uuid4()), 'disk_format': 'raw', 'container_format': 'bare'})
    api.upload(made.id, DATA)
    return made.id


def create(cloud: Cloud, persona: str, image: str):
    return cloud(persona, 'POST', '/v3/volumes', {'volume': {'size': 1, 'imageRef': image}})


def show(cloud: Cloud, volume: str):
    return cloud('admin', 'GET', f'/v3/volumes/{volume}').json['volume']


def test_a_volume_of_a_private_image(cloud: Cloud, image: str) -> None:
    reply = create(cloud, 'member', image)
    assert reply.status == 202, reply
    ident = reply.json['volume']['id']
    cloud.service.wait(lambda: show(cloud, ident)['status'] != 'downloading')
    volume = show(cloud, ident)
    assert (volume['status'], volume['bootable']) == ('available', 'true')
    assert volume['volume_image_metadata']['image_id'] == image
    file: pathlib.Path = cloud.service.state / 'volumes' / f'volume-{ident}'
    with file.open('rb') as opened:
        assert opened.read(len(DATA)) == DATA


@pytest.mark.parametrize(('persona', 'status'), [('foreign-member', 400), ('reader', 403), ('foreign-reader', 403)])
def test_who_may_not(cloud: Cloud, image: str, persona: str, status: int) -> None:
    reply = create(cloud, persona, image)
    assert reply.status == status
    if status == 400:
        assert reply.json['badRequest']['message'] == ('Invalid image identifier or unable to access requested image.')


def test_an_image_of_a_volume_is_its_users(cloud: Cloud, glance: Glance) -> None:
    volume = cloud.make_volume(multiattach=False)
    body = {'os-volume_upload_image': {'image_name': 'of mine', 'disk_format': 'qcow2', 'protected': True}}
    reply = cloud('member', 'POST', f'/v3/volumes/{volume}/action', body)
    assert reply.status == 202, reply
    image = reply.json['os-volume_upload_image']['image_id']
    cloud.service.wait(lambda: show(cloud, volume)['status'] == 'available')
    api = ask(cloud, glance, 'member')
    assert api.show(image).status == 'active'
    owner = api._ask('GET', f'/v2/images/{image}', image).json()['owner']
    assert owner == cloud.keystone.accounts['member'].project_id
    with pytest.raises(errors.NotFound):
        ask(cloud, glance, 'foreign-member').show(image)
    api.delete(image)


def test_public_images_are_an_admins(cloud: Cloud) -> None:
    volume = cloud.make_volume(multiattach=False)
    body = {'os-volume_upload_image': {'image_name': 'for all', 'disk_format': 'qcow2', 'visibility': 'public'}}
    assert cloud('member', 'POST', f'/v3/volumes/{volume}/action', body).status == 403
    assert show(cloud, volume)['status'] == 'available'
