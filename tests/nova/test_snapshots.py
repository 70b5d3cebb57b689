# SPDX-License-Identifier: Apache-2.0
"""What Nova asks for an image of a server that boots from a volume, and for a server that boots from that image."""

import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nova import clouds
from tests.nova.client import Nova
from tests.nova.clouds import Cloud, opens
from tests.nova.test_errors import catch, check
from tests.testbed import reflink
from tests.testbed.glance import Glance

from .conftest import initiator, make_connector

_NOVA = 'nova.exception'


@pytest.fixture(scope='module')
def beside(tmp_path_factory: pytest.TempPathFactory, nova_python: pathlib.Path, glance: Glance) -> Iterator[Cloud]:
    """A service whose files share blocks: a volume in use can have a snapshot; with a Glance."""
    if not reflink.is_possible():
        pytest.skip('needs root, loop devices and xfsprogs')
    with (
        reflink.mount(tmp_path_factory.mktemp('x')) as folder,
        clouds.run_without_keystone(folder, nova_python, glance=glance) as made,
    ):
        yield made


@pytest.fixture(scope='module')
def its_nova(beside: Cloud) -> Iterator[Nova]:
    with beside.run_nova() as running:
        yield running


def await_snapshot(cloud: Cloud, nova: Nova, ident: str) -> dict[str, Any]:
    cloud.service.wait(lambda: nova.call('get_snapshot', ident)['status'] == 'available')
    found: dict[str, Any] = nova.call('get_snapshot', ident)
    return found


def test_an_image_of_a_server_that_boots_from_a_volume(beside: Cloud, its_nova: Nova, server: str) -> None:
    nova, root = its_nova, beside.make_volume(multiattach=True)
    attachment = nova.call('attachment_create', root, server, connector=make_connector('one'))['id']
    nova.call('attachment_complete', attachment)
    assert nova.call('get', root)['status'] == 'in-use'
    before = nova.call('get_absolute_limits')['totalSnapshotsUsed']
    # As compute.api.API.snapshot_volume_backed: by force, whatever the microversion, and nobody waits for it.
    made = nova.call('create_snapshot_force', root, 'snapshot for image', nova.call('get', root)['display_description'])
    assert (made['status'], made['volume_id'], made['size']) == ('creating', root, 1)
    assert made['display_name'] == 'snapshot for image'
    await_snapshot(beside, nova, made['id'])
    assert nova.call('get_absolute_limits')['totalSnapshotsUsed'] == before + 1
    assert made['id'] in {one['id'] for one in nova.call('get_all_snapshots')}
    assert nova.call('get', root)['status'] == 'in-use'
    # A server of that image: as DriverVolSnapshotBlockDevice.
    clone = nova.call('create', 1, '', '', snapshot=nova.call('get_snapshot', made['id']))
    beside.service.wait(lambda: nova.call('get', clone['id'])['status'] == 'available')
    assert nova.call('get', clone['id'])['snapshot_id'] == made['id']
    # The image is deleted, and its snapshot with it; the volume it was of stays in use.
    nova.call('delete_snapshot', made['id'])
    beside.service.wait(lambda: made['id'] not in {one['id'] for one in nova.call('get_all_snapshots')})
    check(catch(nova, 'get_snapshot', made['id']), _NOVA, 'SnapshotNotFound')
    nova.call('attachment_delete', attachment)
    for ident in (clone['id'], root):
        beside.delete_volume(ident)


def make_root(cloud: Cloud, nova: Nova, server: str) -> dict[str, Any]:
    """Make a volume for a server, as Nova keeps it."""
    volume = cloud.make_volume(multiattach=False)
    attachment = nova.call('attachment_create', volume, server, connector=make_connector('one'))['id']
    nova.call('attachment_complete', attachment)
    return {'volume': volume, 'instance': server, 'attachment': attachment, 'boot_index': None, 'size': 1}


def find_file(cloud: Cloud, volume: str) -> pathlib.Path:
    return cloud.service.state / 'volumes' / f'volume-{volume}'


def test_a_server_boots_from_the_image_of_another_one(beside: Cloud, its_nova: Nova, server: str) -> None:
    nova = its_nova
    kept = [make_root(beside, nova, server) | {'boot_index': 0, 'device': '/dev/vda'}, make_root(beside, nova, server)]
    root = kept[0]['volume']
    with find_file(beside, root).open('r+b') as file:
        file.write(b'a system')
    image = nova.order('make_server_image', mappings=kept, name='backup')['id']
    with find_file(beside, root).open('r+b') as file:
        file.write(b'later on')
    found = nova.order('read_server_image', image=image)
    assert [(one['source_type'], one['boot_index'], one['volume_size']) for one in found] == [
        ('snapshot', 0, 1),
        ('snapshot', None, 1),
    ]
    for one in found:
        await_snapshot(beside, nova, one['snapshot_id'])

    # Nova makes the volumes of a new server of the snapshots.
    new = str(uuid.uuid4())
    mappings = [
        {'source': 'snapshot', 'snapshot': one['snapshot_id'], 'boot_index': one['boot_index'], 'volume': None}
        | {'size': one['volume_size'], 'instance': new, 'device': f'/dev/vd{letter}'}
        for one, letter in zip(found, 'ab', strict=True)
    ]
    made = nova.order('boot', mappings=mappings, connector=make_connector('one'))['mappings']
    for one, mapping in zip(found, made, strict=True):
        assert nova.call('get', mapping['volume'])['snapshot_id'] == one['snapshot_id']
        assert opens(mapping['connection_info'], initiator('one'))
    assert find_file(beside, made[0]['volume']).read_bytes()[:8] == b'a system'

    # And whoever asks for a volume of the image gets one of the snapshot of the root volume.
    body = {'volume': {'imageRef': image, 'name': 'x'}}
    code, reply = beside.service.ask('POST', '/v3/volumes', body)
    assert (code, reply['volume']['snapshot_id']) == (202, found[0]['snapshot_id'])
    clone = reply['volume']['id']
    beside.service.wait(lambda: beside.service.status(clone) == 'available')
    assert find_file(beside, clone).read_bytes()[:8] == b'a system'

    for mapping in [*made, *kept]:
        nova.call('attachment_delete', mapping['attachment'])
    for one in found:
        nova.call('delete_snapshot', one['snapshot_id'])
    beside.service.wait(lambda: nova.call('get_all_snapshots') == [])
    for volume in (clone, *(mapping['volume'] for mapping in [*made, *kept])):
        beside.delete_volume(volume)


def test_without_force_a_volume_in_use_is_refused(beside: Cloud, its_nova: Nova, server: str) -> None:
    root = beside.make_volume(multiattach=False)
    attachment = its_nova.call('attachment_create', root, server, connector=make_connector('one'))['id']
    its_nova.call('attachment_complete', attachment)
    check(catch(its_nova, 'create_snapshot', root, 'snap', ''), _NOVA, 'InvalidInput')
    its_nova.call('attachment_delete', attachment)
    made = its_nova.call('create_snapshot', root, 'snap', '')
    await_snapshot(beside, its_nova, made['id'])
    its_nova.call('delete_snapshot', made['id'])
    beside.service.wait(lambda: its_nova.call('get_all_snapshots') == [])
    beside.delete_volume(root)
