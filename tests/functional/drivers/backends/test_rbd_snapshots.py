# SPDX-License-Identifier: Apache-2.0
"""What is Ceph's own about snapshots: clones of both kinds, and what others made of them."""

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import CopyAborted, StorageError

from .images import BLOCK, check_filled, fill, go_on, list_snapshots, slow_osd
from .test_rbd import has_parent

pytestmark = pytest.mark.slow  # test_snapshots.py has what all storage keeps to


def test_a_volume_of_a_snapshot_shares_blocks_and_the_snapshot_can_go(rbd):
    fill(rbd, 'v', 8)
    rbd.backend.create_snapshot('s', 'v', go_on)
    rbd.backend.clone_snapshot('c', 's', 'v', 1, go_on)
    assert has_parent(rbd, 'c')
    rbd.backend.delete_snapshot('s', 'v', go_on)
    assert rbd.backend.list_snapshots() == {}
    check_filled(rbd, 'c', 8)
    rbd.backend.discard('v')
    rbd.backend.clear('v', go_on)
    assert not has_parent(rbd, 'c')
    check_filled(rbd, 'c', 8)
    assert rbd.names() == ['volume-c']


def test_in_a_cluster_for_older_clients_a_volume_of_a_snapshot_is_a_copy(make_rbd):
    store = make_rbd('rbd default clone format = 1')
    fill(store, 'v', 8)
    store.backend.create_snapshot('s', 'v', go_on)
    with pytest.raises(CopyAborted):
        store.backend.clone_snapshot('c', 's', 'v', 1, lambda: False)
    store.backend.clone_snapshot('c', 's', 'v', 1, go_on)
    assert not has_parent(store, 'c')
    with store.open('v') as image:
        assert not image.is_protected_snap('snapshot-s')
    store.backend.delete_snapshot('s', 'v', go_on)
    check_filled(store, 'c', 8)
    assert list_snapshots(store, 'v') == []


def test_who_needs_a_snapshot_is_named(make_rbd):
    """As Cinder leaves them: protected, with clones; those of this service get blocks of their own."""
    store = make_rbd('rbd default clone format = 1')
    fill(store, 'v', 8)
    with store.open('v') as image:
        image.create_snap('snapshot-s')
        image.protect_snap('snapshot-s')
    with store.io() as io:
        for name in ('somebody-s', 'volume-mine'):
            store.rbd.RBD().clone(io, 'volume-v', 'snapshot-s', io, name, features=1)
        with pytest.raises(StorageError, match=r'clones that this service did not make: \S*somebody-s'):
            store.backend.delete_snapshot('s', 'v', go_on)
        assert store.backend.list_snapshots() == {'s': 'v'}
        store.rbd.RBD().remove(io, 'somebody-s')
    store.backend.delete_snapshot('s', 'v', go_on)
    assert list_snapshots(store, 'v') == []
    check_filled(store, 'mine', 8)


def test_a_revert_can_be_broken_off_in_the_middle(rbd):
    fill(rbd, 'v', 64)
    rbd.backend.create_snapshot('s', 'v', go_on)
    with rbd.open('v') as image:
        for number in range(64):
            image.write(b'other', number * BLOCK)
        image.write(b'new', GIB - BLOCK)
    answers = iter([True])
    with slow_osd(rbd.ceph), pytest.raises(CopyAborted):
        rbd.backend.revert('v', 's', lambda: next(answers, False))
    rbd.backend.revert('v', 's', go_on)
    check_filled(rbd, 'v', 64)
    with rbd.open('v') as image:
        assert image.read(GIB - BLOCK, 4096) == bytes(4096)


def test_only_a_snapshot_of_the_volume_is_taken_over(rbd):
    backend, snapshots = rbd.backend, rbd.backend.manageable_snapshots
    mine, other, first, second = 'mopq'
    for ident in (mine, other):
        backend.create(ident, 1)
    backend.create_snapshot(first, mine, go_on)
    with rbd.open(mine) as image:
        image.create_snap('by hand')
        image.create_snap(f'clone-{second}')
    assert {(one.name, one.origin) for one in snapshots.list()} == {
        (f'snapshot-{first}', f'volume-{mine}'),
        ('by hand', f'volume-{mine}'),
    }
    with pytest.raises(StorageError, match='There is no'):
        snapshots.take(second, other, 'by hand')
    snapshots.take(second, mine, 'by hand')
    assert backend.list_snapshots() == {first: mine, second: mine}
