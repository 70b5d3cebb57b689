# SPDX-License-Identifier: Apache-2.0
"""Clones through the engine, with the real worker and real files."""

import os
import threading

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY
from multiattach.drivers.backends import copying
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.errors import StorageError
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context
from tests.deployments.embedded import BACKEND, deploy

PROJECT = 'a' * 32
DATA = b'of the source'


def path_of(d, volume_id):
    return d.directory / 'volumes' / f'volume-{volume_id}'


@pytest.fixture
def source(deployed):
    volume_id = deployed.make_volume()
    with path_of(deployed, volume_id).open('r+b') as file:
        file.seek(500 << 20)
        file.write(DATA)
    return volume_id


def clone(d, source_id, ctx=None, **wish):
    wish.setdefault('size', None)
    return d.engine.volumes.create(ctx or d.ctx, VolumeWish(source_volid=source_id, **wish)).id


def check_data(d, volume_id, size=1):
    with path_of(d, volume_id).open('rb') as file:
        assert os.pread(file.fileno(), len(DATA), 500 << 20) == DATA
        assert os.fstat(file.fileno()).st_size == size << 30


def messages(d):
    with d.db.reader() as session:
        return [m.user_message for m in session.scalars(sa.select(models.Message))]


class Held:
    """Copies wait until they are let go."""

    def __init__(self, monkeypatch):
        self.begun, self.free = threading.Event(), threading.Event()
        real = FileBackend.clone

        def wait(backend, volume_id, source_id, size_gb, proceed):
            self.begun.set()
            while not self.free.wait(0.01):
                if not proceed():
                    raise copying.CopyAborted
            real(backend, volume_id, source_id, size_gb, proceed)

        monkeypatch.setattr(FileBackend, 'clone', wait)


@pytest.fixture
def held(monkeypatch):
    made = Held(monkeypatch)
    yield made
    made.free.set()


@pytest.mark.parametrize('size', [None, 1, 3])
def test_a_clone_has_the_data_of_its_source(deployed, source, size):
    made = clone(deployed, source, size=size)
    deployed.wait(lambda: deployed.status(made) == 'available')
    check_data(deployed, made, size or 1)
    volume = deployed.engine.volumes.show(deployed.ctx, made)
    origin = deployed.engine.volumes.show(deployed.ctx, source)
    assert (volume.source_volid, volume.size) == (source, size or 1)
    assert (volume.host, volume.service_uuid) == (origin.host, origin.service_uuid)
    assert deployed.status(source) == 'available'


def test_of_a_source_in_use(deployed, source):
    row = deployed.engine.attachments.create(
        deployed.ctx, source, None, {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h'}, None
    )
    deployed.engine.attachments.complete(deployed.ctx, row.id)
    assert deployed.status(source) == 'in-use'
    made = clone(deployed, source)
    deployed.wait(lambda: deployed.status(made) == 'available')
    check_data(deployed, made)
    assert deployed.engine.volumes.show(deployed.ctx, made).attachments == []


def test_a_clone_outlives_its_source(deployed, source):
    made = clone(deployed, source)
    deployed.wait(lambda: deployed.status(made) == 'available')
    deployed.engine.volumes.delete(deployed.ctx, source)
    deployed.wait(lambda: deployed.status(source) is None)
    check_data(deployed, made)
    assert deployed.engine.volumes.show(deployed.ctx, made).source_volid == source


def test_the_source_of_another_project_is_not_there(deployed, source):
    other = make_context('b' * 32, admin=False, roles=('member', 'reader'))
    with pytest.raises(errors.VolumeNotFound):
        clone(deployed, source, other)


def test_image_metadata_goes_with_what_can_boot_and_readonly_does_not(deployed, source):
    deployed.engine.settings.set_image_metadata(deployed.ctx, source, {'image_name': 'cirros'})
    deployed.engine.settings.set_readonly(deployed.ctx, source, True)
    plain = deployed.engine.volumes.show(deployed.ctx, clone(deployed, source))
    assert (plain.bootable, plain.image_metadata, plain.readonly) == (False, {}, None)
    deployed.engine.settings.set_bootable(deployed.ctx, source, True)
    bootable = deployed.engine.volumes.show(deployed.ctx, clone(deployed, source))
    assert (bootable.bootable, bootable.image_metadata) == (True, {'image_name': 'cirros'})


def test_the_type_decides_on_sharing_and_its_policy_is_asked(deployed, source):
    deployed.make_type()
    made = deployed.engine.volumes.show(deployed.ctx, clone(deployed, source, type_name='multi'))
    assert (made.type_name, made.multiattach) == ('multi', True)
    deployed.engine.types.create(deployed.ctx, 'secret', None, False, {})
    member = make_context(admin=False, roles=('member', 'reader'))
    with pytest.raises(errors.VolumeTypeNotFound):
        clone(deployed, source, member, type_name='secret')


def test_the_quota_counts_what_a_clone_has(deployed, source):
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {'gigabytes': 3})
    made = clone(deployed, source, size=2)
    with pytest.raises(errors.MultiattachError, match='exceeds allowed gigabytes'):
        clone(deployed, source)
    assert deployed.engine.quotas.show(deployed.ctx, PROJECT).in_use['gigabytes'] == 3
    deployed.wait(lambda: deployed.status(made) == 'available')


def test_without_its_backend_a_clone_ends_in_error_and_holds_nobody_up(deployed, source):
    deployed.engine.services.set_disabled(deployed.ctx, VOLUME_BINARY, BACKEND, True, 'for a test')
    made = clone(deployed, source)
    assert deployed.status(made) == 'error'
    assert messages(deployed) == [
        'schedule allocate volume: No volume backend is up and enabled. A clone is made on the backend of its source.'
    ]
    deployed.engine.volumes.delete(deployed.ctx, source)
    deployed.engine.volumes.delete(deployed.ctx, made)
    assert deployed.status(made) is None


def test_in_another_zone(deployed, source):
    with pytest.raises(errors.InvalidInput, match='same availability zone'):
        clone(deployed, source, zone='moon')


@pytest.mark.parametrize(
    'step',
    [
        lambda d, ident: d.engine.volumes.delete(d.ctx, ident),
        lambda d, ident: d.engine.volumes.delete(d.ctx, ident, force=True),
        lambda d, ident: d.engine.actions.extend(d.ctx, ident, 2, in_use_allowed=True),
        lambda d, ident: d.engine.actions.retype(d.ctx, ident, 'multi'),
    ],
    ids=['delete', 'force-delete', 'extend', 'retype'],
)
def test_a_source_stays_as_it_is_while_it_is_copied(deployed, source, held, step):
    deployed.make_type()
    made = clone(deployed, source)
    assert held.begun.wait(20)
    with pytest.raises(errors.InvalidVolume, match='a clone of it is being made'):
        step(deployed, source)
    assert deployed.status(source) == 'available'
    held.free.set()
    deployed.wait(lambda: deployed.status(made) == 'available')
    step(deployed, source)
    check_data(deployed, made)


def test_a_source_that_is_not_available_or_in_use(deployed, source, held):
    made = clone(deployed, source)
    with pytest.raises(errors.InvalidVolume, match='Originating source volume status'):
        clone(deployed, made)


def test_the_worker_answers_while_it_copies(deployed, source, held):
    copies = [clone(deployed, source) for _ in range(4)]
    assert held.begun.wait(20)
    deployed.worker.tend()
    deployed.make_volume()
    assert {deployed.status(ident) for ident in copies} == {'creating'}
    held.free.set()
    deployed.wait(lambda: {deployed.status(ident) for ident in copies} == {'available'})


def test_a_clone_given_up_while_it_is_copied(deployed, source, held, monkeypatch):
    monkeypatch.setattr('multiattach.volume.copies.LOOK_AGAIN', 0.02)
    made = clone(deployed, source)
    assert held.begun.wait(20)
    deployed.engine.volumes.delete(deployed.ctx, made, force=True)
    deployed.engine.volumes.delete(deployed.ctx, source)
    deployed.wait(lambda: deployed.status(made) is None)
    deployed.wait(lambda: list((deployed.directory / 'volumes').iterdir()) == [])


def test_a_copy_that_fails_says_why(deployed, source, monkeypatch):
    def refuse(*_args):
        raise StorageError('no room')

    monkeypatch.setattr(FileBackend, 'clone', refuse)
    made = clone(deployed, source)
    deployed.wait(lambda: deployed.status(made) == 'error')
    assert messages(deployed) == ['create volume: no room']
    deployed.engine.volumes.delete(deployed.ctx, source)
    deployed.wait(lambda: deployed.status(source) is None)


def test_a_worker_that_stops_in_the_middle_leaves_the_copy_to_the_next_one(deployed, source, held):
    made = clone(deployed, source)
    assert held.begun.wait(20)
    deployed.worker.stop()
    assert deployed.status(made) == 'creating'
    assert not path_of(deployed, made).exists()
    with pytest.raises(errors.InvalidVolume, match='a clone of it is being made'):
        deployed.engine.volumes.delete(deployed.ctx, source)
    held.free.set()
    with deploy(deployed.directory) as second:
        second.wait(lambda: second.status(made) == 'available')
        check_data(second, made)


def test_many_at_once_of_a_source_that_somebody_deletes(deployed, source):
    """Either the clone was recorded first, and is complete, or the source was gone."""
    made, refused = [], []
    gate = threading.Barrier(5)

    def run():
        gate.wait()
        try:
            made.append(clone(deployed, source))
        except errors.MultiattachError as exc:
            refused.append(exc)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.wait()

    def delete():
        try:
            deployed.engine.volumes.delete(deployed.ctx, source)
        except errors.InvalidVolume:
            return False
        return True

    deployed.wait(delete)
    for thread in threads:
        thread.join()
    assert len(made) + len(refused) == 4
    for ident in made:
        deployed.wait(lambda ident=ident: deployed.status(ident) == 'available')
        check_data(deployed, ident)
    assert all(isinstance(exc, errors.VolumeNotFound | errors.InvalidVolume) for exc in refused)
