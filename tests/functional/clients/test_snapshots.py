# SPDX-License-Identifier: Apache-2.0
"""Snapshots as the clients make, show and use them."""

import pytest

from tests.functional.clients.cloud import Cloud
from tests.functional.clients.test_cinder import parse


def test_the_sdk(cloud: Cloud, volume: str) -> None:
    storage = cloud.connect().block_storage
    volume = storage.find_volume(volume).id
    made = storage.create_snapshot(volume_id=volume, name='monday', metadata={'a': 'b'})
    made = storage.wait_for_status(made, 'available', interval=0.1, wait=30)
    assert (made.name, made.size, made.volume_id) == ('monday', 1, volume)
    assert storage.get_snapshot(made.id).progress == '100%'
    assert [one.id for one in storage.snapshots(volume_id=volume, sort='name:asc')] == [made.id]
    assert storage.update_snapshot(made, name='tuesday').name == 'tuesday'
    storage.set_snapshot_metadata(made, c='d')
    assert storage.get_snapshot_metadata(made).metadata == {'a': 'b', 'c': 'd'}
    storage.delete_snapshot_metadata(made, ['a'])
    assert storage.get_snapshot_metadata(made).metadata == {'c': 'd'}
    storage.revert_volume_to_snapshot(volume, made.id)
    storage.wait_for_status(storage.get_volume(volume), 'available', interval=0.1, wait=30)
    copy = storage.create_volume(snapshot_id=made.id, name='copy')
    copy = storage.wait_for_status(copy, 'available', interval=0.1, wait=30)
    assert (copy.size, copy.snapshot_id) == (1, made.id)
    storage.reset_snapshot_status(made, 'error')
    assert storage.get_snapshot(made.id).status == 'error'
    storage.delete_snapshot(made, ignore_missing=False)
    storage.wait_for_delete(made, interval=0.1, wait=30)
    assert list(storage.snapshots()) == []
    storage.delete_volume(copy)
    storage.wait_for_delete(copy, interval=0.1, wait=30)


@pytest.mark.slow
def test_the_commands(cloud: Cloud, volume: str) -> None:
    storage = cloud.connect().block_storage
    volume = storage.find_volume(volume).id
    made = cloud.openstack('volume', 'snapshot', 'create', '--volume', volume, 'monday', '-f', 'json').json
    assert (made['name'], made['volume_id'], made['status']) == ('monday', volume, 'creating')
    storage.wait_for_status(storage.get_snapshot(made['id']), 'available', interval=0.1, wait=30)
    assert [row['Name'] for row in cloud.openstack('volume', 'snapshot', 'list', '-f', 'json').json] == ['monday']
    shown = cloud.openstack('volume', 'snapshot', 'show', 'monday', '-f', 'json').json
    assert (shown['status'], shown['size']) == ('available', 1)
    cloud.openstack('volume', 'snapshot', 'set', '--property', 'a=b', '--name', 'tuesday', 'monday')
    assert [row['Name'] for row in parse(cloud.cinder('snapshot-list').printed)] == ['tuesday']
    cloud.openstack('volume', 'revert', 'tuesday')
    storage.wait_for_status(storage.get_volume(volume), 'available', interval=0.1, wait=30)
    cloud.openstack('volume', 'snapshot', 'delete', 'tuesday')
    storage.wait_for_delete(storage.get_snapshot(made['id']), interval=0.1, wait=30)
