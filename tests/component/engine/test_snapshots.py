# SPDX-License-Identifier: Apache-2.0
"""Snapshots through the engine, with the real worker and real files: that share blocks, and that are copied."""

import contextlib
import os
import threading

import pytest
import sqlalchemy as sa

from multiattach.db import history, models
from multiattach.domain import errors
from multiattach.drivers.backends import copying
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.backends.file_snapshots import FileSnapshots
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context
from tests.deployments.embedded import deploy
from tests.testbed import reflink

CONNECTOR = {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h'}
FIRST, SECOND = b'as it was', b'as it is!'
PLACE = 5 << 20


@pytest.fixture(params=['ext4', 'xfs'])
def d(request, tmp_path):
    """A deployment on a file system that shares blocks, and on one that does not."""
    with contextlib.ExitStack() as stack:
        folder = tmp_path
        if request.param == 'xfs':
            if not reflink.is_possible():
                pytest.skip('needs root, loop devices and xfsprogs')
            folder = stack.enter_context(reflink.mount(tmp_path))
        made = stack.enter_context(deploy(folder))
        assert FileBackend(made.directory / 'volumes').can_snapshot_in_use() == (request.param == 'xfs')
        yield made


@pytest.fixture
def plain(tmp_path):
    with deploy(tmp_path) as made:
        yield made


def path_of(d, ident, kind='volume'):
    return d.directory / 'volumes' / f'{kind}-{ident}'


def write(d, volume_id, data):
    with path_of(d, volume_id).open('r+b') as file:
        file.seek(PLACE)
        file.write(data)


def read(d, ident, kind='volume'):
    with path_of(d, ident, kind).open('rb') as file:
        file.seek(PLACE)
        return file.read(len(FIRST))


def make(d, data=FIRST):
    volume_id = d.make_volume()
    write(d, volume_id, data)
    return volume_id


def begin(d, volume_id, ctx=None, **wish):
    return d.engine.snapshots.create(ctx or d.ctx, SnapshotWish(volume_id, **wish)).id


def status(d, snapshot_id):
    try:
        return d.engine.snapshots.show(d.ctx, snapshot_id).status
    except errors.SnapshotNotFound:
        return None


def take(d, volume_id, **wish):
    snapshot_id = begin(d, volume_id, **wish)
    d.wait(lambda: status(d, snapshot_id) != 'creating')
    assert status(d, snapshot_id) == 'available', messages(d)
    return snapshot_id


def delete(d, snapshot_id, **how):
    d.engine.snapshots.delete(d.ctx, snapshot_id, **how)
    d.wait(lambda: status(d, snapshot_id) is None)


def messages(d):
    with d.db.reader() as session:
        return [m.user_message for m in session.scalars(sa.select(models.Message))]


def attach(d, volume_id):
    row = d.engine.attachments.create(d.ctx, volume_id, None, CONNECTOR, None)
    d.engine.attachments.complete(d.ctx, row.id)
    assert d.status(volume_id) == 'in-use'
    return row.id


class Held:
    """A method of a backend waits until it is let go."""

    def __init__(self, monkeypatch, kind, name, place):
        self.begun, self.free = threading.Event(), threading.Event()
        real = getattr(kind, name)

        def wait(one, *args):
            self.begun.set()
            while not self.free.wait(0.01):
                if not args[place]():
                    raise copying.CopyAborted
            real(one, *args)

        monkeypatch.setattr(kind, name, wait)


@pytest.fixture
def hold(monkeypatch):
    made = []

    def build(name, kind=FileSnapshots):
        made.append(Held(monkeypatch, kind, name, -1))
        return made[-1]

    yield build
    for one in made:
        one.free.set()


# -- what a snapshot has ---------------------------------------------------------------------------


def test_a_snapshot_stays_what_the_volume_was(d):
    volume_id = make(d)
    snapshot_id = take(d, volume_id, name='first', metadata={'a': 'b'})
    write(d, volume_id, SECOND)
    assert read(d, snapshot_id, 'snapshot') == FIRST
    found = d.engine.snapshots.show(d.ctx, snapshot_id)
    assert (found.size, found.progress, found.metadata, found.volume_id) == (1, '100%', {'a': 'b'}, volume_id)
    assert os.stat(path_of(d, snapshot_id, 'snapshot')).st_mode & 0o777 == 0o600
    delete(d, snapshot_id)
    assert {one.name for one in (d.directory / 'volumes').iterdir()} == {f'volume-{volume_id}'}


@pytest.mark.parametrize('size', [None, 1, 2])
def test_a_volume_of_a_snapshot(plain, size):
    volume_id = make(plain)
    snapshot_id = take(plain, volume_id)
    write(plain, volume_id, SECOND)
    made = plain.engine.volumes.create(plain.ctx, VolumeWish(size, snapshot_id=snapshot_id)).id
    plain.wait(lambda: plain.status(made) == 'available')
    assert read(plain, made) == FIRST
    assert path_of(plain, made).stat().st_size == (size or 1) << 30
    found = plain.engine.volumes.show(plain.ctx, made)
    assert (found.snapshot_id, found.source_volid, found.size) == (snapshot_id, None, size or 1)
    # It needs the snapshot no more.
    delete(plain, snapshot_id)
    assert read(plain, made) == FIRST


def test_a_revert_brings_back_what_there_was(d):
    volume_id = make(d)
    snapshot_id = take(d, volume_id)
    write(d, volume_id, SECOND)
    d.engine.snapshots.revert(d.ctx, volume_id, snapshot_id)
    d.wait(lambda: d.status(volume_id) == 'available')
    assert (read(d, volume_id), status(d, snapshot_id)) == (FIRST, 'available')
    write(d, volume_id, SECOND)  # the snapshot shares nothing that is written to
    assert read(d, snapshot_id, 'snapshot') == FIRST
    assert {one.name for one in (d.directory / 'volumes').iterdir()} == {
        f'volume-{volume_id}',
        f'snapshot-{snapshot_id}',
    }


# -- volumes in use --------------------------------------------------------------------------------


def test_of_a_volume_in_use_where_files_share_blocks_alone(d):
    volume_id = make(d)
    attach(d, volume_id)
    with pytest.raises(errors.InvalidVolume, match='must be available, but current status is: in-use'):
        begin(d, volume_id)
    if FileBackend(d.directory / 'volumes').can_snapshot_in_use():
        assert read(d, take(d, volume_id, in_use_allowed=True), 'snapshot') == FIRST
    else:
        with pytest.raises(errors.InvalidVolume, match='no server has the volume'):
            begin(d, volume_id, in_use_allowed=True)


def test_a_volume_that_a_server_got_meanwhile_is_not_copied(plain, hold):
    """The API said yes while nobody had it."""
    volume_id = make(plain)
    attach(plain, volume_id)
    with plain.db.writer() as session:  # what the API would not write any more
        session.add(
            models.Snapshot(
                id='5' * 36, volume_id=volume_id, project_id='a' * 32, size=1, status='creating', progress='0%'
            )
        )
    plain.worker._endpoint.create_snapshot({}, '5' * 36)
    plain.wait(lambda: status(plain, '5' * 36) == 'error')
    assert any('while no server has it' in text for text in messages(plain))
    assert not path_of(plain, '5' * 36, 'snapshot').exists()


def test_a_volume_that_is_written_to_while_it_is_copied_has_no_snapshot(plain, monkeypatch):
    volume_id = make(plain)
    real = copying._copy_extent

    def copy(source, target, start, end, proceed):
        real(source, target, start, end, proceed)
        write(plain, volume_id, SECOND)

    monkeypatch.setattr(copying, '_copy_extent', copy)
    snapshot_id = begin(plain, volume_id)
    plain.wait(lambda: status(plain, snapshot_id) == 'error')
    assert any('somebody wrote to the volume' in text for text in messages(plain))
    assert {one.name for one in (plain.directory / 'volumes').iterdir()} == {f'volume-{volume_id}'}


# -- what they refuse, and what refuses them -------------------------------------------------------


def test_a_volume_with_snapshots_goes_with_them_or_not_at_all(plain):
    volume_id = make(plain)
    snapshots = [take(plain, volume_id) for _ in range(2)]
    for force in (False, True):
        with pytest.raises(errors.InvalidVolume, match='it has snapshots'):
            plain.engine.volumes.delete(plain.ctx, volume_id, force=force)
    plain.engine.volumes.delete(plain.ctx, volume_id, cascade=True)
    plain.wait(lambda: plain.status(volume_id) is None)
    assert [status(plain, one) for one in snapshots] == [None, None]
    assert list((plain.directory / 'volumes').iterdir()) == []


def test_what_is_being_copied_is_not_changed(plain, hold):
    volume_id = make(plain)
    first = take(plain, volume_id)
    held = hold('create')
    snapshot_id = begin(plain, volume_id)
    assert held.begun.wait(10)
    for refused in (
        lambda: plain.engine.actions.extend(plain.ctx, volume_id, 2, in_use_allowed=True),
        lambda: plain.engine.volumes.delete(plain.ctx, volume_id, cascade=True),
        lambda: plain.engine.snapshots.revert(plain.ctx, volume_id, snapshot_id),
        lambda: plain.engine.snapshots.delete(plain.ctx, snapshot_id),
        lambda: plain.engine.volumes.create(plain.ctx, VolumeWish(None, snapshot_id=snapshot_id)),
    ):
        with pytest.raises((errors.InvalidInput, errors.Conflict)):
            refused()
    held.free.set()
    plain.wait(lambda: status(plain, snapshot_id) == 'available')
    held = hold('clone')
    made = plain.engine.volumes.create(plain.ctx, VolumeWish(None, snapshot_id=first)).id
    assert held.begun.wait(10)
    for force in (False, True):
        with pytest.raises(errors.InvalidSnapshot, match='being made from it'):
            plain.engine.snapshots.delete(plain.ctx, first, force=force)
    with pytest.raises(errors.InvalidSnapshot, match='being made from it'):
        plain.engine.volumes.delete(plain.ctx, volume_id, cascade=True)
    held.free.set()
    plain.wait(lambda: plain.status(made) == 'available')


def test_a_revert_is_to_the_latest_of_an_available_volume_of_that_size(plain):
    volume_id = make(plain)
    with pytest.raises(errors.InvalidInput, match="doesn't have any snapshots"):
        plain.engine.snapshots.revert(plain.ctx, volume_id, None)
    first, latest = take(plain, volume_id), take(plain, volume_id)
    for wrong in (first, None, 'x'):
        with pytest.raises(errors.InvalidInput, match='not the latest'):
            plain.engine.snapshots.revert(plain.ctx, volume_id, wrong)
    plain.engine.snapshots.reset_status(plain.ctx, latest, 'error')
    with pytest.raises(errors.Conflict, match="Snapshot's status"):
        plain.engine.snapshots.revert(plain.ctx, volume_id, latest)
    plain.engine.snapshots.reset_status(plain.ctx, latest, 'available')
    attach(plain, volume_id)
    with pytest.raises(errors.Conflict, match="Volume's status"):
        plain.engine.snapshots.revert(plain.ctx, volume_id, latest)
    grown = make(plain)
    snapshot_id = take(plain, grown)
    plain.engine.actions.extend(plain.ctx, grown, 2, in_use_allowed=True)
    plain.wait(lambda: plain.status(grown) == 'available')
    with pytest.raises(errors.InvalidInput, match='size must be equal'):
        plain.engine.snapshots.revert(plain.ctx, grown, snapshot_id)


def test_nobody_gets_a_volume_that_is_being_reverted(plain, hold):
    volume_id = make(plain)
    snapshot_id = take(plain, volume_id)
    held = hold('revert')
    plain.engine.snapshots.revert(plain.ctx, volume_id, snapshot_id)
    assert held.begun.wait(10)
    assert (plain.status(volume_id), status(plain, snapshot_id)) == ('reverting', 'restoring')
    for refused in (
        lambda: plain.engine.attachments.create(plain.ctx, volume_id, None, CONNECTOR, None),
        lambda: begin(plain, volume_id, in_use_allowed=True),
        lambda: plain.engine.snapshots.delete(plain.ctx, snapshot_id, force=True),
        lambda: plain.engine.volumes.create(plain.ctx, VolumeWish(None, source_volid=volume_id)),
    ):
        with pytest.raises(errors.InvalidInput):
            refused()
    held.free.set()
    plain.wait(lambda: plain.status(volume_id) == 'available')


def test_a_revert_that_fails_leaves_the_snapshot(plain):
    volume_id = make(plain)
    snapshot_id = take(plain, volume_id)
    path_of(plain, snapshot_id, 'snapshot').rename(plain.directory / 'away')
    plain.engine.snapshots.revert(plain.ctx, volume_id, snapshot_id)
    plain.wait(lambda: plain.status(volume_id) == 'error')
    assert status(plain, snapshot_id) == 'available'
    assert any(text.startswith('revert volume: ') for text in messages(plain))
    assert read(plain, volume_id) == FIRST


def test_quotas_count_snapshots_and_their_size(plain):
    plain.make_type('multi')
    volume_id = plain.make_volume('multi', 2)
    quotas = plain.engine.quotas
    project = plain.ctx.project

    def refuses(resource):
        with pytest.raises(errors.QuotaExceeded, match=resource):
            begin(plain, volume_id)

    for resource, limit in (('snapshots', 0), ('snapshots_multi', 0), ('gigabytes', 3), ('gigabytes_multi', 3)):
        quotas.update(plain.ctx, project, {resource: limit})
        refuses(resource)
        quotas.update(plain.ctx, project, {resource: -1})
    take(plain, volume_id)
    used = quotas.show(plain.ctx, project).in_use
    assert (used['snapshots'], used['snapshots_multi'], used['gigabytes'], used['gigabytes_multi']) == (1, 1, 4, 4)
    assert used['volumes'] == 1


def test_a_size_that_does_not_count(tmp_path):
    with deploy(tmp_path, settings={('quota', 'no_snapshot_gb_quota'): True, ('quota', 'gigabytes'): 1}) as d:
        take(d, d.make_volume())
        assert d.engine.quotas.show(d.ctx, d.ctx.project).in_use['gigabytes'] == 1


def test_others_neither_see_nor_use_a_snapshot(plain):
    volume_id = make(plain)
    snapshot_id = take(plain, volume_id)
    other = make_context('b' * 32, admin=False, roles=('member', 'reader'))
    for refused in (
        lambda: plain.engine.snapshots.show(other, snapshot_id),
        lambda: plain.engine.snapshots.delete(other, snapshot_id),
        lambda: plain.engine.volumes.create(other, VolumeWish(None, snapshot_id=snapshot_id)),
    ):
        with pytest.raises(errors.SnapshotNotFound):
            refused()
    with pytest.raises(errors.VolumeNotFound):
        begin(plain, volume_id, other)


def test_a_smaller_volume_or_one_elsewhere_is_none_of_a_snapshot(plain):
    snapshot_id = take(plain, plain.make_volume(size=2))
    for wrong in ({'size': 1}, {'size': None, 'zone': 'elsewhere'}):
        with pytest.raises(errors.InvalidInput, match='snapshot'):
            plain.engine.volumes.create(plain.ctx, VolumeWish(snapshot_id=snapshot_id, **wrong))


def test_a_worker_of_the_release_before_takes_none(plain):
    volume_id = make(plain)
    snapshot_id = take(plain, volume_id)
    with plain.db.writer() as session:
        row = session.scalars(sa.select(models.Service)).one()
        row.report = {key: value for key, value in row.report.items() if key != 'snapshots'}
    with pytest.raises(errors.InvalidVolume, match='older release'):
        begin(plain, volume_id)
    made = plain.engine.volumes.create(plain.ctx, VolumeWish(None, snapshot_id=snapshot_id))
    assert plain.status(made.id) == 'error'
    assert any('older release' in text for text in messages(plain))


def test_what_was_left_is_taken_up(plain):
    """A worker that was not told finds the rows, whatever the step."""
    volume_id = make(plain)
    doomed = take(plain, volume_id)
    plain.worker.stop()
    snapshot_id = begin(plain, volume_id)
    plain.engine.snapshots.delete(plain.ctx, doomed)
    plain.worker._leases.orphan()
    plain.worker._storage.start()
    plain.worker._storage.resume()
    plain.wait(lambda: (status(plain, snapshot_id), status(plain, doomed)) == ('available', None))
    plain.worker._storage.stop()


def test_a_volume_in_use_with_snapshots_is_not_extended_where_the_storage_cannot(plain, monkeypatch):
    volume_id = make(plain)
    snapshot_id = take(plain, volume_id)
    attach(plain, volume_id)
    monkeypatch.setattr(FileBackend, 'GROWS_IN_USE_WITH_SNAPSHOTS', False, raising=False)
    plain.worker.beat()
    with pytest.raises(errors.InvalidVolume, match='only while no server has it'):
        plain.engine.actions.extend(plain.ctx, volume_id, 2, in_use_allowed=True)
    delete(plain, snapshot_id)
    plain.engine.actions.extend(plain.ctx, volume_id, 2, in_use_allowed=True)
    plain.wait(lambda: plain.status(volume_id) == 'in-use')


def test_history_is_purged_with_its_metadata(plain):
    volume_id = make(plain)
    delete(plain, take(plain, volume_id, metadata={'a': 'b'}))
    plain.engine.volumes.delete(plain.ctx, volume_id)
    plain.wait(lambda: plain.status(volume_id) is None)
    purged = history.purge(plain.db, models.now())
    assert (purged['snapshots'], purged['volumes']) == (1, 1)
    with plain.db.reader() as session:
        assert session.scalars(sa.select(models.SnapshotMetadata)).all() == []
