# SPDX-License-Identifier: Apache-2.0
"""Storage that was given back (os-unmanage), and put away by its owner: nothing of this service removes it."""

import pathlib

import pytest
import sqlalchemy as sa

from multiattach.db import inventories, models
from multiattach.domain.drift import Drift
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from tests.deployments import embedded
from tests.functional.drivers.stores import RbdStore, Store, wait_for_capacity


@pytest.mark.every_store
def test_nobody_looks_for_it_in_the_trash(store: Store, tmp_path: pathlib.Path) -> None:
    wait_for_capacity(store.backend)
    with embedded.deploy(tmp_path, report_interval=3600, backend=store.backend) as d:
        d.make_type()
        volume = d.make_volume()
        d.engine.manageable.unmanage(d.ctx, volume)
        d.wait(lambda: d.status(volume) is None)
        store.put_away(volume)
        for _ in range(2):
            (found,) = d.reconciler.run(fix=True)
            assert (found.kind, found.outcome) == (Drift.STRAY_STORAGE, 'reported')
        assert store.names() == [f'trash-{volume}']


@pytest.mark.parametrize('by_snapshot', [False, True])
def test_it_stays_when_what_it_was_made_of_goes(rbd: RbdStore, tmp_path: pathlib.Path, by_snapshot: bool) -> None:
    wait_for_capacity(rbd.backend)
    with embedded.deploy(tmp_path, report_interval=3600, backend=rbd.backend) as d:
        d.make_type()
        source = d.make_volume()
        rbd.write(source, 4096, b'data')
        wish = VolumeWish(1, source_volid=source)
        if by_snapshot:
            snapshot = d.engine.snapshots.create(d.ctx, SnapshotWish(source)).id
            d.wait(lambda: d.engine.snapshots.show(d.ctx, snapshot).status == 'available')
            wish = VolumeWish(1, snapshot_id=snapshot)
        clone = d.engine.volumes.create(d.ctx, wish).id
        d.wait(lambda: d.status(clone) == 'available')
        d.engine.manageable.unmanage(d.ctx, clone)
        d.wait(lambda: d.status(clone) is None)
        rbd.put_away(clone)
        d.engine.volumes.delete(d.ctx, source, cascade=True)
        d.wait(lambda: d.status(source) is None)
        assert rbd.names() == [f'trash-{clone}']
    with rbd.io() as io:
        [entry] = rbd.rbd.RBD().trash_list(io)
        rbd.rbd.RBD().trash_restore(io, entry['id'], f'volume-{clone}')
    assert rbd.read(clone, 4096, 4) == b'data'


def test_what_an_earlier_release_managed_and_this_one_deleted_was_not_given_back(tmp_path: pathlib.Path) -> None:
    """It left the name that the storage had before on the row; what a killed step leaves is still this service's."""
    with embedded.deploy(tmp_path, report_interval=3600) as d:
        d.make_type()
        volume = d.make_volume()
        with d.db.writer() as session:
            session.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(managed_from='before'))
        d.engine.volumes.delete(d.ctx, volume)
        d.wait(lambda: d.status(volume) is None)
        with d.db.reader() as session:
            assert volume in inventories.find_owners(session, [volume])
