# SPDX-License-Identifier: Apache-2.0
"""Snapshots that are managed: what counts, what a failure leaves, and that nothing of others is deleted."""

import os

import pytest

from multiattach.db import messages as db_messages, models, paging
from multiattach.domain import errors
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from tests.deployments import embedded

GIB = 1 << 30


@pytest.fixture
def quiet(tmp_path):
    with embedded.deploy(tmp_path, report_interval=3600) as deployed:
        yield deployed


@pytest.fixture
def volume(quiet):
    return quiet.make_volume()


@pytest.fixture
def there(quiet, volume):
    path = quiet.directory / 'volumes' / 'snapshot-there'
    with path.open('wb') as file:
        file.write(b'as it was')
        file.truncate(GIB)
    return path


def manage(deployed, volume):
    return deployed.engine.manageable_snapshots.manage(deployed.ctx, SnapshotWish(volume), 'snapshot-there')


def status(deployed, ident):
    try:
        return deployed.engine.snapshots.show(deployed.ctx, ident).status
    except errors.SnapshotNotFound:
        return None


def messages(deployed, ident):
    with deployed.db.reader() as session:
        rows = db_messages.list_page(session, [models.Message.resource_uuid == ident], paging.Page())
        return [row.user_message for row in rows]


def names(there):
    return {path.name for path in there.parent.iterdir() if path.name.startswith('snapshot-')}


def test_a_volume_is_made_of_one_and_deleting_it_deletes_its_storage(quiet, volume, there, monkeypatch):
    snapshot = manage(quiet, volume)
    assert (snapshot.size, snapshot.status) == (1, 'creating')
    quiet.wait(lambda: status(quiet, snapshot.id) == 'available')
    assert names(there) == {f'snapshot-{snapshot.id}'}
    workers = quiet.engine.volumes._workers
    tell = workers.create_volume
    monkeypatch.setattr(workers, 'create_volume', lambda *_args: None)
    clone = quiet.engine.volumes.create(quiet.ctx, VolumeWish(1, snapshot_id=snapshot.id)).id
    with pytest.raises(errors.InvalidSnapshot, match='made from it'):
        quiet.engine.manageable_snapshots.unmanage(quiet.ctx, snapshot.id)
    tell(embedded.BACKEND, clone, None)
    quiet.wait(lambda: quiet.status(clone) == 'available')
    assert (there.parent / f'volume-{clone}').read_bytes()[:9] == b'as it was'
    quiet.engine.snapshots.delete(quiet.ctx, snapshot.id)
    quiet.wait(lambda: status(quiet, snapshot.id) is None)
    assert names(there) == set()


def test_what_is_gone_meanwhile_ends_in_error_and_stays_what_it_is(quiet, volume, there, monkeypatch):
    workers = quiet.engine.manageable_snapshots._workers
    tell = workers.create_snapshot
    monkeypatch.setattr(workers, 'create_snapshot', lambda *_args: None)
    snapshot = manage(quiet, volume)
    with pytest.raises(errors.InvalidInput, match='already managed'):
        manage(quiet, volume)
    os.link(there, there.with_name('snapshot-twice'))
    tell(embedded.BACKEND, snapshot.id, None)
    quiet.wait(lambda: status(quiet, snapshot.id) == 'error')
    assert 'hard links' in messages(quiet, snapshot.id)[0]
    quiet.engine.snapshots.delete(quiet.ctx, snapshot.id)
    quiet.wait(lambda: status(quiet, snapshot.id) is None)
    assert names(there) == {'snapshot-there', 'snapshot-twice'}


def test_by_force_one_goes_whose_storage_was_taken_over_already(quiet, volume, there, monkeypatch):
    monkeypatch.setattr(quiet.engine.manageable_snapshots._workers, 'create_snapshot', lambda *_args: None)
    snapshot = manage(quiet, volume)
    there.rename(there.with_name(f'snapshot-{snapshot.id}'))  # and the worker died
    quiet.engine.snapshots.delete(quiet.ctx, snapshot.id, force=True)
    quiet.wait(lambda: status(quiet, snapshot.id) is None)
    assert names(there) == {f'snapshot-{snapshot.id}'}


def test_a_quota_counts_it_until_it_is_unmanaged(quiet, volume, there):
    quiet.engine.quotas.update(quiet.ctx, quiet.ctx.project, {'snapshots': 0})
    with pytest.raises(errors.QuotaExceeded):
        manage(quiet, volume)
    assert names(there) == {'snapshot-there'}
    quiet.engine.quotas.update(quiet.ctx, quiet.ctx.project, {'snapshots': 1})
    snapshot = manage(quiet, volume)
    quiet.wait(lambda: status(quiet, snapshot.id) == 'available')
    with pytest.raises(errors.QuotaExceeded):
        quiet.engine.snapshots.create(quiet.ctx, SnapshotWish(volume))
    quiet.engine.manageable_snapshots.unmanage(quiet.ctx, snapshot.id)
    taken = quiet.engine.snapshots.create(quiet.ctx, SnapshotWish(volume)).id
    quiet.wait(lambda: status(quiet, taken) == 'available')
    assert names(there) == {f'snapshot-{snapshot.id}', f'snapshot-{taken}'}


def test_a_volume_that_is_busy(quiet, volume, there):
    quiet.engine.settings.reset_status(quiet.ctx, volume, 'maintenance', None)
    with pytest.raises(errors.InvalidVolume, match='must be available or in-use'):
        manage(quiet, volume)
    assert names(there) == {'snapshot-there'}
