# SPDX-License-Identifier: Apache-2.0
"""Volumes on their way to another backend, with two real backends and a worker for each."""

import os
import random
import time

import pytest

from multiattach.db import (
    backends as db_backends,
    messages as db_messages,
    migrations as db_migrations,
    models,
    paging,
    volumes as db_volumes,
)
from multiattach.domain import errors
from multiattach.drivers.backends import moving
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.backends.file_moving import FileDraft
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from multiattach.volume import migrations as volume_migrations
from tests.deployments import embedded

GIB = 1 << 30
MIB = 1 << 20
OTHER = 'testhost@other'


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp('two')
    with (
        pytest.MonkeyPatch.context() as patched,
        embedded.deploy(directory, others={'other': FileBackend(directory / 'other')}) as deployed,
    ):
        patched.setattr(volume_migrations, 'LOOK_AGAIN', 0.0)
        deployed.wait(lambda: len(deployed.engine.services.list_backends()) == 2)
        for name, specs in (('here', 'file'), ('there', 'other')):
            deployed.engine.types.create(
                deployed.ctx, name, None, True, {'volume_backend_name': specs, 'multiattach': '<is> True'}
            )
        yield deployed


@pytest.fixture
def two(running):
    """A deployment without a volume, before and after."""
    yield running
    for volume in running.engine.volumes.list_page(running.ctx, [], paging.Page(), all_projects=True):
        for row in volume.attachments:
            running.engine.attachments.delete(running.ctx, row.id)
        running.engine.volumes.delete(running.ctx, volume.id, force=True)
        running.wait(lambda ident=volume.id: running.status(ident) is None)
    for folder in ('volumes', 'other'):
        for left in (running.directory / folder).iterdir():
            left.unlink()


@pytest.fixture
def volume_id(two):
    ident = two.make_volume()
    with path(two, ident).open('r+b') as file:
        file.seek(100 * MIB)
        file.write(random.Random(1).randbytes(20 * MIB + 512))
    return ident


def path(deployed, volume_id, folder='volumes'):
    return deployed.directory / folder / f'volume-{volume_id}'


def read(deployed, volume_id, folder='volumes'):
    """Read what there is of data, and where: to read the holes takes seconds."""
    with path(deployed, volume_id, folder).open('rb') as file:
        begin = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
        assert begin <= 100 * MIB < 120 * MIB < end <= 121 * MIB
        return os.fstat(file.fileno()).st_size, os.pread(file.fileno(), 21 * MIB, 100 * MIB)


def show(deployed, volume_id):
    return deployed.engine.volumes.show(deployed.ctx, volume_id)


def migrate(deployed, volume_id, *, locked=False, host=OTHER):
    deployed.engine.migrations.migrate(deployed.ctx, volume_id, (host, None), locked=locked)


def wait_over(deployed, volume_id):
    """Wait until nothing of its migrations is left to do."""

    def is_over():
        with deployed.db.reader() as session:
            return not list(db_migrations.list_of_volume(session, volume_id))

    deployed.wait(is_over)
    return show(deployed, volume_id)


def tell(deployed, volume_id):
    with deployed.db.reader() as session:
        rows = db_messages.list_page(session, [models.Message.resource_uuid == volume_id], paging.Page())
        return [row.user_message for row in rows]


def list_files(deployed):
    return {
        folder: sorted(one.name for one in (deployed.directory / folder).iterdir()) for folder in ('volumes', 'other')
    }


@pytest.mark.parametrize('locked', [False, True])
def test_there_and_back(two, volume_id, locked):
    data = read(two, volume_id)
    for host, here, there in ((OTHER, 'other', 'volumes'), (embedded.BACKEND, 'volumes', 'other')):
        migrate(two, volume_id, locked=locked, host=host)
        volume = wait_over(two, volume_id)
        assert (volume.host, volume.status, volume.migration_status) == (host, 'available', 'success')
        assert list_files(two) == {here: [f'volume-{volume_id}'], there: []}
        assert read(two, volume_id, here) == data
    assert path(two, volume_id).stat().st_blocks * 512 < 40 * MIB, 'holes stay holes'
    with two.db.reader() as session:
        found = session.query(models.Migration).where(models.Migration.volume_id == volume_id)
        digests = {row.digest for row in found}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def hold(monkeypatch):
    """Have copies wait in the middle; return what lets them go on."""
    waiting, go = [], []
    copy = moving.copy

    def held(reader, draft, size, proceed, note):
        waiting.append(True)
        while not go:
            if not proceed():
                break
            time.sleep(0.01)
        return copy(reader, draft, size, proceed, note)

    monkeypatch.setattr(moving, 'copy', held)
    return waiting, go


def test_who_uses_a_volume_breaks_its_migration_off(two, volume_id, monkeypatch):
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    assert show(two, volume_id).migration_status == 'migrating'
    explained = two.engine.explanations.explain_volume(two.ctx, volume_id)
    assert explained.outlook.next.endswith(
        'It is migrated: The worker of the destination copies, and reads back what it wrote. 0 % of that is done.'
    )
    with pytest.raises(errors.InvalidVolume, match='being migrated'):
        migrate(two, volume_id)
    with pytest.raises(errors.InvalidVolume, match='being migrated'):
        two.engine.volumes.delete(two.ctx, volume_id)
    attachment = two.engine.attachments.create(two.ctx, volume_id, None, None, None)
    two.engine.attachments.delete(two.ctx, attachment.id)  # and all looks as before
    go.append(True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.status, volume.migration_status) == (embedded.BACKEND, 'available', 'error')
    assert list_files(two) == {'volumes': [f'volume-{volume_id}'], 'other': []}
    assert 'used or changed meanwhile' in tell(two, volume_id)[0]


def test_what_says_nothing_of_its_data_leaves_a_migration_alone(two, volume_id, monkeypatch):
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    two.engine.volumes.update(two.ctx, volume_id, {'display_name': 'new'}, {'a': 'b'})
    two.engine.settings.set_bootable(two.ctx, volume_id, True)
    two.engine.settings.set_readonly(two.ctx, volume_id, True)
    two.engine.settings.set_image_metadata(two.ctx, volume_id, {'a': 'b'})
    go.append(True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.migration_status, volume.display_name) == (OTHER, 'success', 'new')


def test_another_name_hides_no_use(two, volume_id, monkeypatch):
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    attachment = two.engine.attachments.create(two.ctx, volume_id, None, None, None)
    two.engine.attachments.delete(two.ctx, attachment.id)
    two.engine.volumes.update(two.ctx, volume_id, {'display_name': 'new'})
    go.append(True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.migration_status) == (embedded.BACKEND, 'error')


def test_a_backend_that_gets_another_name_meanwhile(two, volume_id):
    migrate_nowhere(two, volume_id)
    with two.db.writer() as session:
        before = next(iter(db_migrations.list_of_volume(session, volume_id)))
        assert db_migrations.is_untouched(db_volumes.load(session, volume_id), before)
        db_backends.move(session, embedded.BACKEND, 'x@y', None, '', 9)
        db_migrations.rename(session, embedded.BACKEND, 'x@y')
        assert db_migrations.is_untouched(db_volumes.load(session, volume_id), db_migrations.find(session, before.id))
        db_backends.move(session, 'x@y', embedded.BACKEND, None, '', 9)
        db_migrations.rename(session, 'x@y', embedded.BACKEND)


def migrate_nowhere(deployed, volume_id):
    """Begin a migration of which no worker is told."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deployed.engine.migrations._workers, 'migrate_volume', lambda *_args: None)
        migrate(deployed, volume_id)


def test_nobody_uses_one_that_is_locked(two, volume_id, monkeypatch):
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id, locked=True)
    two.wait(lambda: waiting)
    assert show(two, volume_id).status == 'maintenance'
    with pytest.raises(errors.InvalidVolume):
        two.engine.attachments.create(two.ctx, volume_id, None, None, None)
    two.engine.volumes.update(two.ctx, volume_id, {'display_name': 'new'})
    go.append(True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.status, volume.migration_status) == (OTHER, 'available', 'success')


@pytest.mark.parametrize(
    ('words', 'status', 'shown'),
    [
        ({'status': 'available'}, 'available', 'error'),
        ({'status': 'error'}, 'error', 'error'),
        ({'migration_status': 'none'}, 'available', None),
        ({'migration_status': 'error'}, 'available', 'error'),
    ],
)
@pytest.mark.parametrize('locked', [False, True])
def test_an_operator_breaks_it_off(two, volume_id, monkeypatch, words, status, shown, locked):
    waiting, _go = hold(monkeypatch)
    migrate(two, volume_id, locked=locked)
    two.wait(lambda: waiting)
    asked = {'status': None, 'attach_status': None, **words}
    two.engine.settings.reset_status(two.ctx, volume_id, **asked)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.status, volume.migration_status) == (embedded.BACKEND, status, shown)
    assert list_files(two)['other'] == []
    assert 'an administrator' in tell(two, volume_id)[0]


def test_a_volume_that_is_deleted_by_force(two, volume_id, monkeypatch):
    waiting, _go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    two.engine.volumes.delete(two.ctx, volume_id, force=True)
    two.wait(lambda: two.status(volume_id) is None)
    two.wait(lambda: list_files(two) == {'volumes': [], 'other': []})


def test_storage_of_its_name_at_the_destination_is_left_alone(two, volume_id):
    stranger = path(two, volume_id, 'other')
    stranger.write_bytes(b'something')
    migrate(two, volume_id)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.migration_status) == (embedded.BACKEND, 'error')
    assert stranger.read_bytes() == b'something'
    assert list_files(two) == {'volumes': [f'volume-{volume_id}'], 'other': [f'volume-{volume_id}']}
    assert 'already' in tell(two, volume_id)[0]


def test_two_names_of_one_folder_cannot_lose_a_volume(tmp_path):
    """A backend that is configured twice: the destination has the volume's only file already."""
    with embedded.deploy(tmp_path, others={'other': FileBackend(tmp_path / 'volumes')}) as deployed:
        deployed.wait(lambda: len(deployed.engine.services.list_backends()) == 2)
        volume_id = deployed.make_volume()
        path(deployed, volume_id).write_bytes(b'data' * 128)
        migrate(deployed, volume_id)
        volume = wait_over(deployed, volume_id)
        assert (volume.host, volume.migration_status) == (embedded.BACKEND, 'error')
        assert path(deployed, volume_id).read_bytes() == b'data' * 128


def test_what_is_read_back_must_be_what_was_read(two, volume_id, monkeypatch):
    read = FileDraft.read
    monkeypatch.setattr(FileDraft, 'read', lambda self, start, length: read(self, start, length)[:-1] + b'?')
    migrate(two, volume_id)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.migration_status) == (embedded.BACKEND, 'error')
    assert list_files(two) == {'volumes': [f'volume-{volume_id}'], 'other': []}
    assert 'read back' in tell(two, volume_id)[0]


def test_what_is_refused(two, volume_id):
    with pytest.raises(errors.InvalidInput, match='no backend'):
        migrate(two, volume_id, host='nobody@nothing')
    with pytest.raises(errors.InvalidInput, match='One and only one'):
        two.engine.migrations.migrate(two.ctx, volume_id, ('a@b', 'c@d'), locked=False)
    with pytest.raises(errors.InvalidVolume, match='different than the current one'):
        migrate(two, volume_id, host=embedded.BACKEND)
    with pytest.raises(errors.VolumeNotFound):
        migrate(two, volume_id.replace(volume_id[0], 'f' if volume_id[0] != 'f' else '0', 1))
    pinned = two.make_volume('here')
    with pytest.raises(errors.InvalidInput, match='what the volume type asks for'):
        migrate(two, pinned)
    attachment = two.engine.attachments.create(two.ctx, volume_id, None, None, None)
    with pytest.raises(errors.InvalidVolume, match='Detach it'):
        migrate(two, volume_id)
    two.engine.attachments.delete(two.ctx, attachment.id)
    migrate(two, volume_id)
    wait_over(two, volume_id)


def test_a_retype_that_needs_another_backend(two, volume_id):
    before = show(two, volume_id)
    two.engine.actions.retype(two.ctx, volume_id, 'there')
    assert show(two, volume_id).volume_type_id == before.volume_type_id
    assert 'does not have what the type asks for' in tell(two, volume_id)[0]
    two.engine.actions.retype(two.ctx, volume_id, 'there', may_migrate=True)
    assert show(two, volume_id).status in ('retyping', 'available')
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.status, volume.type_name, volume.multiattach) == (OTHER, 'available', 'there', True)
    assert list_files(two) == {'volumes': [], 'other': [f'volume-{volume_id}']}


def test_a_retype_that_fails_leaves_type_and_place(two, volume_id, monkeypatch):
    before = show(two, volume_id)
    path(two, volume_id, 'other').write_bytes(b'something')
    two.engine.actions.retype(two.ctx, volume_id, 'there', may_migrate=True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.status, volume.volume_type_id, volume.migration_status) == (
        embedded.BACKEND,
        'available',
        before.volume_type_id,
        'error',
    )


def test_a_type_that_is_deleted_while_a_volume_is_retyped_to_it(two, volume_id, monkeypatch):
    kind = two.engine.types.create(two.ctx, 'passing', None, True, {'volume_backend_name': 'other'})
    waiting, go = hold(monkeypatch)
    two.engine.actions.retype(two.ctx, volume_id, kind.id, may_migrate=True)
    two.wait(lambda: waiting)
    two.engine.types.delete(two.ctx, kind.id)
    go.append(True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.status, volume.migration_status) == (embedded.BACKEND, 'available', 'error')
    assert list_files(two) == {'volumes': [f'volume-{volume_id}'], 'other': []}
    assert 'type was deleted' in tell(two, volume_id)[0]


def test_a_snapshot_that_is_taken_meanwhile(two, volume_id, monkeypatch):
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    snapshot = two.engine.snapshots.create(two.ctx, SnapshotWish(volume_id))
    go.append(True)
    volume = wait_over(two, volume_id)
    assert (volume.host, volume.migration_status) == (embedded.BACKEND, 'error')
    with pytest.raises(errors.InvalidVolume, match='snapshots'):
        migrate(two, volume_id)
    two.engine.snapshots.delete(two.ctx, snapshot.id, force=True)
    two.wait(lambda: not (two.directory / 'volumes' / f'snapshot-{snapshot.id}').exists())
    two.wait(lambda: is_gone(two, snapshot.id))


def is_gone(deployed, snapshot_id):
    try:
        deployed.engine.snapshots.show(deployed.ctx, snapshot_id)
    except errors.NotFound:
        return True
    return False


def test_a_clone_that_is_made_meanwhile_is_waited_for(two, volume_id, monkeypatch):
    """Its worker reads the source's storage, which must not go."""
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    monkeypatch.setattr(two.engine.volumes._workers, 'create_volume', lambda *_args: None)
    clone = two.engine.volumes.create(two.ctx, VolumeWish(None, source_volid=volume_id))
    monkeypatch.undo()
    go.append(True)
    volume = wait_over(two, volume_id)
    two.wait(lambda: two.status(clone.id) == 'available')
    assert volume.migration_status == 'success'
    assert read(two, clone.id) == read(two, volume_id, 'other')


def test_a_volume_in_use_is_not_retyped_to_another_backend(two):
    volume_id = two.make_volume('here')
    attachment = two.engine.attachments.create(two.ctx, volume_id, None, None, None)
    two.engine.attachments.complete(two.ctx, attachment.id)
    with pytest.raises(errors.InvalidVolume, match='status must be available to migrate'):
        two.engine.actions.retype(two.ctx, volume_id, 'there', may_migrate=True)


def test_room_is_promised_at_both_ends(two, volume_id, monkeypatch):
    waiting, go = hold(monkeypatch)
    migrate(two, volume_id)
    two.wait(lambda: waiting)
    promised = {one.host: one.allocated_gb for one in two.engine.services.list_backends()}
    assert promised == {embedded.BACKEND: 1, OTHER: 1}
    go.append(True)
    wait_over(two, volume_id)
    promised = {one.host: one.allocated_gb for one in two.engine.services.list_backends()}
    assert promised == {embedded.BACKEND: 0, OTHER: 1}


@pytest.mark.parametrize('status', ['migrating', 'starting', 'completing', 'x'])
def test_nobody_says_that_a_migration_goes_on(two, volume_id, status):
    with pytest.raises(errors.InvalidInput, match='migration status'):
        two.engine.settings.reset_status(two.ctx, volume_id, None, None, status)
    assert show(two, volume_id).migration_status is None
