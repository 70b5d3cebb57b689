# SPDX-License-Identifier: Apache-2.0
"""A session of openstacksdk: its objects are filled (contract 10.1)."""

import uuid

import pytest
from openstack import exceptions

from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host


def test_a_session(cloud: Cloud) -> None:
    storage = cloud.connect().block_storage
    name = str(uuid.uuid4())
    kind = storage.create_type(name=name)
    storage.update_type_extra_specs(kind, multiattach='<is> True')
    assert storage.get_type(kind.id).extra_specs == {'multiattach': '<is> True'}
    volume = storage.create_volume(name=name, size=1, volume_type=name, metadata={'a': 'b'})
    volume = storage.wait_for_status(volume, 'available', interval=0.1, wait=20)
    assert (
        volume.name,
        volume.size,
        volume.is_multiattach,
        volume.is_bootable,
        volume.volume_type,
        volume.metadata,
        volume.attachments,
    ) == (name, 1, True, False, name, {'a': 'b'}, [])
    assert storage.find_volume(name).id == volume.id
    assert name in [each.name for each in storage.volumes(limit=1)]  # page after page

    attachment = storage.create_attachment(
        volume,
        connector={'host': 'one', 'initiator': 'iqn.1994-05.com.example:one', 'ip': '192.0.2.1'},
        instance=compute_host.WEB,
        mode='ro',
    )
    assert (attachment.status, attachment.attach_mode, attachment.instance) == ('attaching', 'ro', compute_host.WEB)
    assert attachment.connection_info['access_mode'] == 'ro'
    storage.complete_attachment(attachment)
    assert storage.get_attachment(attachment.id).status == 'attached'
    assert [each.id for each in storage.attachments(volume_id=volume.id)] == [attachment.id]
    assert storage.get_volume(volume.id).status == 'in-use'

    storage.extend_volume(volume, 2)
    storage.wait_for_status(storage.get_volume(volume.id), 'in-use', interval=0.1, wait=20)
    storage.delete_attachment(attachment.id)
    assert storage.get_volume(volume.id).status == 'available'
    storage.set_volume_readonly(volume, True)
    storage.set_volume_bootable_status(volume, True)
    storage.set_volume_metadata(volume, c='d')
    assert storage.get_volume_metadata(volume).metadata.items() >= {'a': 'b', 'c': 'd'}.items()
    storage.reset_volume_status(volume, 'error', None, None)
    assert storage.get_volume(volume.id).status == 'error'
    storage.delete_volume(volume, force=True)
    storage.wait_for_delete(volume, interval=0.1, wait=20)
    storage.delete_type(kind)
    with pytest.raises(exceptions.NotFoundException):
        storage.get_volume(volume.id)


def test_what_it_reads(cloud: Cloud) -> None:
    storage = cloud.connect().block_storage
    assert [zone.name for zone in storage.availability_zones()] == ['nova']
    assert 'testhost@file' in [service.host for service in storage.services()]
    assert [pool.name for pool in storage.backend_pools()] == ['testhost@file#file']
    assert storage.get_limits().absolute.max_total_volumes == -1
    assert storage.get_capabilities('testhost@file').storage_protocol == 'iSCSI'
    assert 'os-services' in [extension.alias for extension in storage.extensions()]
    assert [row.resource for row in storage.resource_filters(resource='volume')] == ['volume']
    for empty in (storage.backups, storage.transfers, storage.groups):
        assert list(empty()) == []
