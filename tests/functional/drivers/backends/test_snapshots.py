# SPDX-License-Identifier: Apache-2.0
"""What every backend keeps to about snapshots; on LVM, which needs device-mapper, it is run by tests/e2e."""

import contextlib
import os

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import CopyAborted, StorageError

pytestmark = pytest.mark.every_store

MIB = 1 << 20
PLACES = (0, 300 * MIB + 4096, GIB - MIB)


def go_on():
    return True


class Scene:
    """A volume, written to in three places before a snapshot and in two of them, and another one, after it."""

    def __init__(self, store):
        self.store = store
        self.before = {place: os.urandom(MIB) for place in PLACES}
        store.backend.create('v', 1)
        # Zeros; but LVM has here what a test before left, which takes its volumes away without zeroing them.
        self.untouched = store.read('v', 700 * MIB, MIB)
        for place, data in self.before.items():
            store.write('v', place, data)
        store.backend.create_snapshot('s', 'v', go_on)
        self.after = self.before | {place: os.urandom(MIB) for place in (0, PLACES[1], 700 * MIB)}
        for place, data in self.after.items():
            store.write('v', place, data)

    def check(self, volume_id, wanted, size_gb=1):
        for place, data in wanted.items():
            assert self.store.read(volume_id, place, MIB) == data, place
        if 700 * MIB not in wanted:
            assert self.store.read(volume_id, 700 * MIB, MIB) == self.untouched
        assert self.store.size(volume_id) == size_gb * GIB

    def remove(self, volume_id):
        self.store.backend.discard(volume_id)
        self.store.backend.clear(volume_id, go_on)


@pytest.fixture
def scene(store):
    return Scene(store)


def test_it_stays_what_it_was_however_often_it_is_taken(scene):
    backend = scene.store.backend
    backend.create_snapshot('s', 'v', go_on)
    assert backend.list_snapshots().keys() == {'s'}
    assert backend.list_snapshots()['s'] in ('v', None)
    backend.clone_snapshot('c', 's', 'v', 1, go_on)
    scene.check('c', scene.before)
    scene.check('v', scene.after)
    for _ in range(2):
        backend.delete_snapshot('s', 'v', go_on)
        assert backend.list_snapshots() == {}
    scene.check('v', scene.after)
    scene.check('c', scene.before)
    for volume_id in ('v', 'c'):
        scene.remove(volume_id)
    assert scene.store.names() == []


def test_a_volume_of_it_has_its_own_size_and_outlives_it_and_its_volume(scene):
    backend = scene.store.backend
    for _ in range(2):
        backend.clone_snapshot('c', 's', 'v', 2, go_on)
    assert scene.store.read('c', GIB, MIB) == bytes(MIB)
    scene.store.write('c', 0, b'mine')
    backend.clone_snapshot('other', 's', 'v', 1, go_on)
    scene.check('other', scene.before)
    backend.delete_snapshot('s', 'v', go_on)
    scene.remove('v')
    scene.check('other', scene.before)
    assert scene.store.read('c', 0, 4) == b'mine'
    assert scene.store.size('c') == 2 * GIB
    assert sorted(scene.store.names()) == ['volume-c', 'volume-other']


def test_a_volume_that_has_grown_since(scene):
    backend = scene.store.backend
    backend.extend('v', 2)
    backend.clone_snapshot('c', 's', 'v', 1, go_on)
    scene.check('c', scene.before)
    backend.create_snapshot('t', 'v', go_on)
    assert backend.list_snapshots().keys() == {'s', 't'}
    backend.delete_snapshot('s', 'v', go_on)
    backend.clone_snapshot('d', 't', 'v', 2, go_on)
    scene.check('d', scene.after, 2)


def test_a_revert_is_the_same_however_often_it_is_done(scene):
    for _ in range(2):
        scene.store.backend.revert('v', 's', go_on)
        scene.check('v', scene.before)
    scene.store.write('v', 0, b'later')
    scene.store.backend.revert('v', 's', go_on)
    scene.check('v', scene.before)
    assert scene.store.backend.list_snapshots().keys() == {'s'}


def test_what_is_broken_off_is_made_anew(scene):
    backend = scene.store.backend
    with pytest.raises(CopyAborted):
        backend.clone_snapshot('c', 's', 'v', 1, lambda: False)
    with pytest.raises(CopyAborted):
        backend.revert('v', 's', lambda: False)
    assert 'volume-c' not in scene.store.names()
    backend.revert('v', 's', go_on)
    scene.check('v', scene.before)


def test_one_that_was_given_back_outlives_the_contents_of_its_volume(scene):
    """Its row is gone, so that nobody but the storage knows of it."""
    backend = scene.store.backend
    with contextlib.suppress(StorageError), backend.imports.open('v', 1, go_on) as draft:
        draft.adopt()  # as a reimage does
    backend.clear('v', go_on)
    assert backend.list_snapshots().keys() == {'s'}
    backend.clone_snapshot('c', 's', 'v', 1, go_on)
    scene.check('c', scene.before)


def test_of_nothing(store):
    with pytest.raises(StorageError):
        store.backend.create_snapshot('s', 'nothing', go_on)
    store.backend.create('v', 1)
    for wrong in (
        lambda: store.backend.clone_snapshot('c', 's', 'v', 1, go_on),
        lambda: store.backend.revert('v', 's', go_on),
    ):
        with pytest.raises(StorageError):
            wrong()
    store.backend.delete_snapshot('s', 'v', go_on)
    store.backend.delete_snapshot('s', 'nothing', go_on)
    assert store.names() == ['volume-v']
