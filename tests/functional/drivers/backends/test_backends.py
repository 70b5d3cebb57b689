# SPDX-License-Identifier: Apache-2.0
"""What every backend keeps to; on LVM, which needs device-mapper, it is run by tests/e2e."""

import os

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import ClearAborted, StorageError
from tests.functional.drivers.stores import wait_for_capacity

pytestmark = pytest.mark.every_store

MIB = 1 << 20
DATA = {0: b'begin', 300 * MIB + 4096: os.urandom(3 * MIB), GIB - 4096: b'end'.ljust(4096, b'.')}


def go_on():
    return True


@pytest.fixture
def source(store):
    store.backend.create('source', 1)
    for place, data in DATA.items():
        store.write('source', place, data)
    return store


def check_data(store, volume_id, size_gb):
    for place, data in DATA.items():
        assert store.read(volume_id, place, len(data)) == data
    assert store.read(volume_id, 100 * MIB, MIB) == bytes(MIB)
    assert store.size(volume_id) == size_gb * GIB
    if size_gb > 1:
        assert store.read(volume_id, GIB, MIB) == bytes(MIB)


def test_every_step_twice(store):
    backend = store.backend
    backend.create('v', 1)
    assert store.read('v', 0, MIB) == bytes(MIB)
    store.write('v', 0, b'data')
    backend.create('v', 1)
    assert store.read('v', 0, 4) == b'data'
    for size in (2, 2, 1):
        backend.extend('v', size)
        assert (store.size('v'), store.read('v', 0, 4)) == (2 * GIB, b'data'), 'it never shrinks'
    for _ in range(2):
        backend.discard('v')
        assert store.names() == ['trash-v']
    for _ in range(2):
        backend.clear('v', go_on)
        assert store.names() == []


def test_a_volume_of_the_same_id_can_be_made_while_there_is_trash(store):
    backend = store.backend
    for _ in range(2):
        backend.create('v', 1)
        store.write('v', 0, b'old')
        backend.discard('v')
    backend.create('v', 1)
    assert store.read('v', 0, 3) == bytes(3)
    backend.create('v-2', 1)
    backend.discard('v-2')
    backend.clear('v', go_on)
    assert store.names() == ['trash-v-2', 'volume-v']


def test_what_is_cleared_can_be_broken_off(source):
    source.backend.discard('source')
    with pytest.raises(ClearAborted, match='stops'):
        source.backend.clear('source', lambda: False)
    assert source.names() == ['trash-source']
    source.backend.clear('source', go_on)
    assert source.names() == []


@pytest.mark.parametrize('size', [1, 2])
def test_a_clone_has_the_data_and_its_own_size(source, size):
    for _ in range(2):
        source.backend.clone('clone', 'source', size, go_on)
        check_data(source, 'clone', size)
    check_data(source, 'source', 1)
    assert source.names() == ['volume-clone', 'volume-source']


def test_a_clone_that_is_there_is_not_made_again(source):
    source.backend.clone('clone', 'source', 1, go_on)
    source.write('clone', 0, b'of the user')
    source.backend.clone('clone', 'source', 1, go_on)
    assert source.read('clone', 0, 11) == b'of the user'


def test_a_clone_outlives_its_source_and_the_other_way_round(source):
    source.backend.clone('clone', 'source', 1, go_on)
    source.backend.clone('other', 'source', 1, go_on)
    source.write('source', 0, b'later')
    source.backend.discard('other')
    source.backend.clear('other', go_on)
    assert source.read('source', 0, 5) == b'later'
    source.backend.discard('source')
    source.backend.clear('source', go_on)
    assert source.names() == ['volume-clone']
    check_data(source, 'clone', 1)


def test_a_clone_of_a_clone_outlives_both(source):
    source.backend.clone('clone', 'source', 1, go_on)
    source.backend.clone('of-clone', 'clone', 2, go_on)
    for volume_id in ('source', 'clone'):
        source.backend.discard(volume_id)
        source.backend.clear(volume_id, go_on)
    assert source.names() == ['volume-of-clone']
    check_data(source, 'of-clone', 2)


def test_a_source_that_is_gone(store):
    with pytest.raises(StorageError, match='nothing'):
        store.backend.clone('clone', 'nothing', 1, go_on)
    assert store.names() == []


def test_a_volume_that_is_gone_is_not_extended(store):
    with pytest.raises(StorageError, match='nothing'):
        store.backend.extend('nothing', 2)
    assert store.names() == []


def test_what_is_not_there_is_deleted(store):
    store.backend.discard('nothing')
    store.backend.clear('nothing', go_on)


def test_capacity(store):
    room = wait_for_capacity(store.backend)
    assert 0 < room.free_gb <= room.total_gb
