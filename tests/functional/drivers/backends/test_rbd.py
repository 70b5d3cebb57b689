# SPDX-License-Identifier: Apache-2.0
"""What is Ceph's own: shared blocks, clones, and watchers."""

import threading

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import ClearAborted, CopyAborted, StorageError
from tests.testbed.polling import wait_until

from .images import BLOCK, check_filled, fill, go_on, list_snapshots, slow_osd


def has_parent(store, volume_id):
    with store.open(volume_id) as image:
        try:
            return bool(image.parent_id())
        except store.rbd.ImageNotFound:
            return False


def find_id(store, volume_id):
    with store.open(volume_id, read_only=True) as image:
        return image.id()


# Sharing


def test_those_who_share_an_image_do_not_take_turns(make_rbd):
    store = make_rbd(rbd_store_chunk_size=8)
    store.backend.create('v', 1)
    with store.io() as io, store.open('v') as one:
        features = store.rbd.RBD().features_to_string(one.features())
        assert set(features.split(',')) == {'layering', 'deep-flatten'}
        assert one.stat()['order'] == 23
        with store.rbd.Image(io, 'volume-v') as other:
            for number in range(50):
                writer, reader = (one, other) if number % 2 else (other, one)
                writer.write(bytes([number]) * 4096, number * 4096)
                assert reader.read(number * 4096, 4096) == bytes([number]) * 4096
            assert list(one.list_lockers() or ()) == []


def test_a_volume_grows_while_it_is_open(rbd):
    rbd.backend.create('v', 1)
    with rbd.open('v') as image:
        rbd.backend.extend('v', 3)
        wait_until(lambda: image.size() == 3 * GIB, 10, 'the new size')


# Clones


def test_a_clone_shares_blocks_until_its_source_goes(rbd):
    fill(rbd, 'source')
    rbd.backend.clone('clone', 'source', 1, go_on)
    rbd.backend.clone('other', 'clone', 1, go_on)
    assert has_parent(rbd, 'clone')
    assert has_parent(rbd, 'other')
    rbd.backend.discard('source')
    assert rbd.names() == ['trash-source', 'volume-clone', 'volume-other']
    rbd.backend.clear('source', go_on)
    assert not has_parent(rbd, 'clone')
    rbd.backend.discard('clone')
    rbd.backend.clear('clone', go_on)
    check_filled(rbd, 'other')
    assert rbd.names() == ['volume-other']
    assert list_snapshots(rbd, 'other') == []


@pytest.mark.parametrize('is_ours', [True, False])
def test_a_clone_that_is_in_the_trash_goes_with_its_source_if_it_is_ours(rbd, is_ours):
    fill(rbd, 'source', 4)
    rbd.backend.clone('clone', 'source', 1, go_on)
    with rbd.io() as io:
        ident = find_id(rbd, 'clone')
        rbd.put_away('clone')
        rbd.backend.learn_rows({'source': True, 'clone': is_ours}.__getitem__)
        rbd.backend.discard('source')
        rbd.backend.clear('source', go_on)
        assert rbd.names() == ([] if is_ours else ['trash-clone'])
        if not is_ours:
            rbd.rbd.RBD().trash_restore(io, ident, 'volume-clone')
            check_filled(rbd, 'clone', 4)


def test_a_source_and_its_clone_go_in_any_order(rbd):
    fill(rbd, 'source', 4)
    rbd.backend.clone('clone', 'source', 1, go_on)
    rbd.backend.clone('other', 'clone', 1, go_on)
    for volume_id in ('source', 'clone'):
        rbd.backend.discard(volume_id)
    rbd.backend.clear('source', go_on)
    rbd.backend.clear('clone', go_on)
    check_filled(rbd, 'other', 4)
    assert rbd.names() == ['volume-other']


def test_in_a_cluster_for_older_clients_a_clone_is_a_copy(make_rbd):
    store = make_rbd('rbd default clone format = 1')
    fill(store, 'source')
    store.backend.clone('clone', 'source', 2, go_on)
    assert not has_parent(store, 'clone')
    assert list_snapshots(store, 'source') == []
    store.backend.discard('source')
    store.backend.clear('source', go_on)
    check_filled(store, 'clone')


def test_generations_that_share_blocks_are_limited(make_rbd):
    store = make_rbd(rbd_max_clone_depth=1)
    fill(store, 'first', 4)
    store.backend.clone('second', 'first', 1, go_on)
    store.backend.clone('third', 'second', 1, go_on)
    store.backend.clone('fourth', 'third', 1, go_on)
    assert [has_parent(store, name) for name in ('second', 'third', 'fourth')] == [True, False, True]
    check_filled(store, 'fourth', 4)
    assert list_snapshots(store, 'second') == []


@pytest.mark.parametrize('lines', [(), pytest.param(('rbd default clone format = 1',), marks=pytest.mark.slow)])
def test_a_copy_that_is_not_wanted_leaves_nothing(make_rbd, lines):
    store = make_rbd(*lines, rbd_max_clone_depth=0)
    fill(store, 'source', 200)
    asked = []

    def proceed():
        asked.append(1)
        return len(asked) < 3

    with slow_osd(store.ceph), pytest.raises(CopyAborted):
        store.backend.clone('clone', 'source', 1, proceed)
    assert len(asked) == 3
    assert store.names() == ['volume-source']
    store.backend.clone('clone', 'source', 1, go_on)
    check_filled(store, 'clone', 200)
    assert list_snapshots(store, 'source') == []


def test_what_a_killed_worker_left_of_a_clone_is_not_used(rbd):
    fill(rbd, 'source', 4)
    with rbd.open('source') as image:
        image.create_snap('clone-clone')
    with rbd.io() as io:
        # The name, and the size, but no parent: a clone that was killed in the making reads as zeros.
        rbd.rbd.RBD().create(io, 'draft-clone', GIB, old_format=False, features=1)
    rbd.backend.clone('clone', 'source', 1, go_on)
    check_filled(rbd, 'clone', 4)
    assert rbd.names() == ['volume-clone', 'volume-source']


@pytest.mark.parametrize('again', [True, False])
def test_a_snapshot_goes_with_the_clone_that_was_never_finished(make_rbd, again):
    store = make_rbd('rbd default clone format = 1')
    fill(store, 'source', 4)
    with store.io() as io, store.open('source') as image:
        image.create_snap('clone-clone')
        image.protect_snap('clone-clone')
        store.rbd.RBD().clone(io, 'volume-source', 'clone-clone', io, 'draft-clone', features=1)
    if again:
        store.backend.clone('clone', 'source', 1, go_on)
        check_filled(store, 'clone', 4)
    else:
        store.backend.discard('clone')
        store.backend.clear('clone', go_on)
    assert list_snapshots(store, 'source') == []
    assert store.names() == (['volume-clone'] if again else []) + ['volume-source']


def test_a_clone_that_another_worker_makes_is_left_to_it(rbd):
    fill(rbd, 'source', 4)
    with rbd.io() as io:
        rbd.rbd.RBD().create(io, 'draft-clone', GIB, old_format=False, features=1)
        with rbd.rbd.Image(io, 'draft-clone'), pytest.raises(CopyAborted):
            rbd.backend.clone('clone', 'source', 1, go_on)
    rbd.backend.clone('clone', 'source', 1, go_on)
    check_filled(rbd, 'clone', 4)


def test_a_source_is_cleared_under_clones_that_are_written(rbd):
    """No write is lost, and no block of the source appears over it."""
    fill(rbd, 'source')
    rbd.backend.clone('clone', 'source', 1, go_on)
    rbd.backend.discard('source')
    stop, written = threading.Event(), []

    def write():
        with rbd.open('clone') as image:
            number = 0
            while not stop.is_set():
                place = (number * 37 % 64) * BLOCK + 8192 + (number // 64) % 500 * 4096
                image.write(number.to_bytes(8) * 512, place)
                written.append(place)
                number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(lambda: len(written) > 20, 30, 'the first writes')
        rbd.backend.clear('source', go_on)
        cleared = len(written)
        wait_until(lambda: len(written) > cleared + 20, 30, 'writes after that')
    finally:
        stop.set()
        thread.join()
    assert not has_parent(rbd, 'clone')
    check_filled(rbd, 'clone')
    last = {place: number for number, place in enumerate(written)}
    with rbd.open('clone') as image:
        assert all(image.read(place, 4096) == number.to_bytes(8) * 512 for place, number in last.items())


# Deleting what is in use


def test_an_image_that_is_open_is_not_deleted_and_it_is_said_where(rbd):
    rbd.backend.create('v', 1)
    with rbd.open('v') as image:
        [watcher] = image.watchers_list()
        with pytest.raises(ClearAborted, match=f'volume-v is still open at .*client.{watcher["id"]}') as caught:
            rbd.backend.discard('v')
        assert watcher['addr'] in str(caught.value)
        assert rbd.names() == ['volume-v']
        with rbd.io() as io:  # moved by hand, or opened since
            rbd.rbd.RBD().trash_move(io, 'volume-v')
        with pytest.raises(ClearAborted, match=f'in the trash is still open at .*client.{watcher["id"]}'):
            rbd.backend.clear('v', go_on)
        assert rbd.names() == ['trash-v']
    rbd.backend.clear('v', go_on)
    assert rbd.names() == []


def test_what_others_made_of_an_image_is_named_and_kept(rbd):
    fill(rbd, 'v', 4)
    with rbd.open('v') as image:
        image.create_snap('nightly')
    with pytest.raises(StorageError, match='snapshots that this service did not make: nightly'):
        rbd.backend.discard('v')
    with rbd.open('v') as image, rbd.io() as io:
        rbd.rbd.RBD().clone(io, 'volume-v', 'nightly', io, 'golden', features=1)
        image.remove_snap('nightly')
    with pytest.raises(StorageError, match=f'clones that this service did not make: {rbd.pool}/golden'):
        rbd.backend.discard('v')
    assert rbd.names() == ['golden', 'volume-v']
    check_filled(rbd, 'v', 4)
    with rbd.io() as io, rbd.rbd.Image(io, 'golden') as image:
        image.flatten()
    rbd.backend.discard('v')
    rbd.backend.clear('v', go_on)
    assert rbd.names() == ['golden']


def test_an_image_that_was_killed_in_its_removal(rbd):
    rbd.backend.create('v', 1)
    rbd.backend.discard('v')
    with rbd.io() as io:
        [entry] = rbd.rbd.RBD().trash_list(io)
        io.remove_object(f'rbd_header.{entry["id"]}')
    rbd.backend.clear('v', go_on)
    assert rbd.names() == []


@pytest.mark.parametrize('kept', ['id', 'header'])
def test_an_image_that_was_killed_in_the_making(rbd, kept):
    """What is left of it has its name, and cannot be opened."""

    def break_off():
        rbd.backend.create('v', 1)
        with rbd.io() as io, rbd.open('v') as image:
            ident = image.id()
        with rbd.io() as io:
            io.remove_object(f'rbd_header.{ident}')
            if kept == 'id':
                with rbd.rados.WriteOpCtx() as op:
                    io.remove_omap_keys(op, ('name_volume-v', f'id_{ident}'))
                    io.operate_write_op(op, 'rbd_directory')

    break_off()
    rbd.backend.create('v', 2)
    assert rbd.size('v') == 2 * GIB
    rbd.backend.discard('v')
    rbd.backend.clear('v', go_on)
    break_off()
    rbd.backend.discard('v')
    rbd.backend.clear('v', go_on)
    assert rbd.names() == []
    with rbd.io() as io:
        assert [one.key for one in io.list_objects() if 'volume-v' in one.key] == []


def test_a_write_is_done_when_it_is_answered(rbd):
    """librbd's own cache would answer it at once: once somebody has flushed, see its option rbd_cache."""
    rbd.backend.create('v', 1)
    for _ in range(2):
        assert rbd.backend.path('v').startswith(f'rbd:{rbd.pool}/volume-v:id={rbd.pool}:conf=/')
    answered = threading.Event()
    with rbd.open('v') as image:
        image.write(bytes(4096), 0)
        image.flush()
        thread = threading.Thread(target=lambda: (image.write(b'x' * 4096, 0), answered.set()))
        with rbd.ceph.frozen('osd.0'):
            thread.start()
            assert not answered.wait(1)
        assert answered.wait(30)
        thread.join()
