# SPDX-License-Identifier: Apache-2.0
"""An import: what it brings, again and again, and the way back."""

import datetime

import pytest
import sqlalchemy as sa

from multiattach.db import models, services as db_services, types, volumes as db_volumes
from multiattach.domain import errors
from multiattach.domain.imports import OWN_TYPE
from multiattach.domain.services import VOLUME_BINARY
from tests.functional.takeover.cinder_rows import MOMENT, new_id
from tests.functional.takeover.conftest import OURS


def count(db):
    with db.reader() as session:
        return {
            table.name: session.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in models.Base.metadata.sorted_tables
            if table.name not in ('services',)
        }


def read(db, model, ident):
    with db.reader() as session:
        return session.execute(sa.select(models.table_of(model)).where(model.id == ident)).one()


def write(db, model, ident, **values):
    with db.writer() as session:
        session.execute(sa.update(model).where(model.id == ident).values(**values))


@pytest.fixture
def cloud(theirs):
    """Two volumes, one of them shared by two hosts, and all that goes with them."""

    class Cloud:
        qos = theirs.add_qos('fast', consumer='front-end', total_iops_sec='500')
        kind = theirs.add_type('multi', {'multiattach': '<is> True'}, qos_specs_id=qos, is_public=False)
        shared = theirs.add_volume(kind, availability_zone='az1')
        plain = theirs.add_volume(kind, bootable=True)
        one = theirs.attach(shared, 'h1')
        two = theirs.attach(shared, 'h2', attach_mode='ro')

    theirs.add('volume_type_projects', volume_type_id=Cloud.kind, project_id='p1')
    theirs.add('default_volume_types', project_id='p1', volume_type_id=Cloud.kind)
    theirs.add('volume_metadata', volume_id=Cloud.shared, key='colour', value='blue')
    theirs.add('volume_admin_metadata', volume_id=Cloud.plain, key='readonly', value='True')
    theirs.add('volume_glance_metadata', volume_id=Cloud.plain, key='image_name', value='debian')
    theirs.add('quotas', project_id='p1', resource='gigabytes', hard_limit=None)
    theirs.add('quotas', project_id='p1', resource='volumes_multi', hard_limit=9)
    theirs.add('quotas', project_id='p1', resource='consistencygroups', hard_limit=9)
    theirs.add('quota_classes', class_name='default', resource='volumes', hard_limit=12)
    return Cloud


def test_all_of_it(mover, db, cloud):
    mover.run()
    with db.reader() as session:
        shared, plain = db_volumes.get(session, cloud.shared), db_volumes.get(session, cloud.plain)
        kind = types.get(session, cloud.kind)
        limits = session.execute(sa.select(models.table_of(models.QuotaLimit))).all()
        default = session.execute(sa.select(models.table_of(models.DefaultType))).all()
        access = session.execute(sa.select(models.table_of(models.TypeAccess))).all()
        specs = session.execute(sa.select(models.table_of(models.QosSpec))).all()
    assert (shared.host, shared.status, shared.project_id, shared.size) == (OURS, 'in-use', 'p1', 1)
    assert (shared.created_at, shared.availability_zone, shared.multiattach) == (MOMENT, 'az1', True)
    assert shared.service_uuid
    assert shared.metadata == {'colour': 'blue'}
    assert (plain.status, plain.readonly, plain.bootable) == ('available', True, True)
    assert plain.image_metadata == {'image_name': 'debian'}
    assert (kind.name, kind.is_public, kind.extra_specs) == ('multi', False, {'multiattach': '<is> True'})
    assert kind.qos_specs_id == cloud.qos
    assert specs == [(cloud.qos, 'total_iops_sec', '500')]
    assert access == [(cloud.kind, 'p1')]
    assert default == [('p1', cloud.kind)]
    assert sorted(limits) == [
        ('class', 'default', 'volumes', 12),
        ('project', 'p1', 'gigabytes', -1),
        ('project', 'p1', 'volumes_multi', 9),
    ]


def test_an_attachment_is_what_it_was(mover, db, cloud):
    """Nova keeps the attachment's id, and the host what it was told: both stay true."""
    mover.run()
    one, two = read(db, models.Attachment, cloud.one), read(db, models.Attachment, cloud.two)
    assert (one.state, one.attached_host, one.initiator) == ('attached', 'h1', 'iqn.1994-05.com.example:h1')
    assert (one.mountpoint, one.attached_at, one.shared_account) == ('/dev/vdb', MOMENT, 'user')
    assert one.connector['multipath'] is False
    assert one.connection_info['target_iqn'].endswith(cloud.shared)
    assert one.connection_info['auth_password'] == 'secret0123456789'
    assert one.connection_info['attachment_id'] == cloud.one
    assert (two.attach_mode, two.shared_account) == ('ro', 'user')
    assert '"event":"import"' in one.timeline
    assert 'secret' not in one.timeline


def test_reserved_and_failed_attachments(mover, db, theirs):
    kind = theirs.add_type('multi')
    reserved, failed, stuck = (theirs.add_volume(kind) for _ in range(3))
    bare = {'connector': None, 'connection_info': None, 'attached_host': None}
    idents = [
        theirs.attach(reserved, 'h1', attach_status='reserved', **bare),
        theirs.attach(failed, 'h1', attach_status='error_attaching', **bare),
        theirs.attach(stuck, 'h1', attach_status='error_detaching'),
    ]
    for volume, status in ((reserved, 'reserved'), (failed, 'available'), (stuck, 'available')):
        theirs.set('volumes', volume, status=status)
    mover.run()
    rows = [read(db, models.Attachment, ident) for ident in idents]
    assert [row.state for row in rows] == ['reserved', 'error_attaching', 'error_detaching']
    assert [row.initiator is not None for row in rows] == [False, False, True]


def test_snapshots(mover, db, theirs):
    kind = theirs.add_type('multi')
    volume, other = theirs.add_volume(kind), theirs.add_volume(kind)
    values = {'project_id': 'p1', 'volume_type_id': kind, 'volume_size': 1}
    snapshot, going = new_id(), new_id()
    theirs.add('snapshots', id=snapshot, volume_id=volume, status='available', display_name='s', **values)
    theirs.add('snapshot_metadata', snapshot_id=snapshot, key='colour', value='blue')
    theirs.add('snapshots', id=going, volume_id=other, status='deleting', **values)
    found = mover.run(partial=True)
    assert {one.ident for one in found.obstacles} == {going, other}
    row = read(db, models.Snapshot, snapshot)
    assert (row.volume_id, row.status, row.size, row.progress) == (volume, 'available', 1, '100%')
    with db.reader() as session:
        assert session.execute(sa.select(models.table_of(models.SnapshotMetadata))).all() == [
            (snapshot, 'colour', 'blue')
        ]
    theirs.set('snapshots', snapshot, display_name='t')
    assert [item.ident for item in mover.run(partial=True).comparison.changed] == [snapshot]
    assert read(db, models.Snapshot, snapshot).display_name == 't'
    stop(db)
    mover.imports.undo()
    assert count(db)['snapshots'] == 0


def test_again_doubles_nothing(mover, db, cloud, theirs):
    mover.run()
    before = count(db)
    again = mover.run()
    assert count(db) == before
    assert (again.comparison.new, again.comparison.changed, again.comparison.gone) == ([], [], [])
    more = theirs.add_volume(cloud.kind)
    theirs.set('volumes', cloud.plain, size=3, display_name='grown')
    theirs.delete('volume_attachment', cloud.two)
    theirs.add('volume_metadata', volume_id=cloud.plain, key='shape', value='round')
    third = mover.run()
    assert [item.ident for item in third.comparison.new] == [more]
    assert [item.ident for item in third.comparison.changed] == [cloud.plain]
    assert third.comparison.gone == [('attachment', cloud.two)]
    with db.reader() as session:
        plain = db_volumes.get(session, cloud.plain)
        assert (plain.size, plain.display_name, plain.metadata) == (3, 'grown', {'shape': 'round'})
        assert [row.id for row in db_volumes.get(session, cloud.shared).attachments] == [cloud.one]


def test_what_changed_here_stays_and_on_both_sides_is_asked(mover, db, cloud, theirs):
    mover.run()
    write(db, models.Volume, cloud.plain, display_name='ours')
    assert mover.run().obstacles == []
    assert read(db, models.Volume, cloud.plain).display_name == 'ours'
    theirs.set('volumes', cloud.plain, display_name='theirs')
    with pytest.raises(errors.Conflict, match='1 things of Cinder cannot be imported, and nothing was'):
        mover.run()
    (obstacle,) = mover.run(partial=True).obstacles
    assert (obstacle.ident, 'both' in obstacle.remedy or 'Keep one' in obstacle.remedy) == (cloud.plain, True)
    assert read(db, models.Volume, cloud.plain).display_name == 'ours'


def test_nothing_is_imported_while_something_cannot(mover, db, cloud, theirs):
    before = count(db)
    theirs.add_volume(cloud.kind, encryption_key_id=new_id())
    with pytest.raises(errors.Conflict, match='--partial'):
        mover.run()
    assert count(db) == before
    found = mover.run(partial=True)
    assert len(found.obstacles) == 1
    assert count(db)['volumes'] == 2


def test_a_check_writes_nothing(mover, db, cloud):
    before = count(db)
    assert len(mover.check().comparison.new) == 9
    assert count(db) == before


def test_names_that_are_taken(mover, db, cloud):
    with db.writer() as session:
        types.add(session, 'multi', None, True)
    found = mover.check()
    assert {(one.kind, one.reason.partition(',')[0]) for one in found.obstacles} >= {
        ('volume-type', 'There is another one of this name here'),
        ('volume', f'Its volume-type {cloud.kind} cannot be imported.'),
        ('attachment', f'Its volume {cloud.shared} cannot be imported.'),
    }
    assert not [item for item in mover.run(partial=True).comparison.new if item.kind == 'volume']


def test_the_default_type_of_each_service(mover, db, theirs):
    """Each made one by itself; the one with volumes stays."""
    with db.writer() as session:
        types.add(session, OWN_TYPE, 'Default Volume Type', True)
    kind = theirs.add_type(OWN_TYPE)
    theirs.add_volume(kind)
    assert mover.run().obstacles == []
    with db.reader() as session:
        assert types.find(session, OWN_TYPE).id == kind
    assert mover.run().comparison.new == []


def test_cinder_must_not_run(mover, db, cloud, theirs):
    before = count(db)
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    theirs.add('services', binary='cinder-volume', host='old@lvm', disabled=False, updated_at=now)
    mover.check()
    with pytest.raises(errors.Conflict, match='cinder-volume on old@lvm reported less than a minute ago'):
        mover.run()
    assert count(db) == before
    mover.run(force=True)


def test_a_backend_without_a_worker(mover, db, cloud):
    with pytest.raises(errors.Conflict, match='No worker ever reported as nobody@lvm'):
        mover.run(named=['old@lvm=nobody@lvm'])
    assert mover.check(named=['old@lvm=nobody@lvm']).notes
    mover.run(named=['old@lvm=nobody@lvm'], force=True)
    assert read(db, models.Volume, cloud.shared).host == 'nobody@lvm'


# -- the way back ------------------------------------------------------------------------------


def stop(db):
    with db.writer() as session:
        session.execute(sa.update(models.Service).values(heartbeat_at=MOMENT))


def test_the_way_back(mover, db, cloud):
    before = count(db)
    mover.run()
    with pytest.raises(errors.Conflict, match='stop multiattach-volume'):
        mover.imports.undo()
    stop(db)
    assert mover.imports.undo(dry_run=True).counts['volume'] == 2
    assert mover.imports.undo().changed == []
    assert count(db) == before
    with pytest.raises(errors.NotFound, match='nothing to undo'):
        mover.imports.undo()
    mover.run()
    assert count(db)['volumes'] == 2


def test_what_changed_here_is_told_before_the_way_back(mover, db, cloud):
    before = count(db)
    mover.run()
    stop(db)
    write(db, models.Volume, cloud.plain, size=5)
    with db.writer() as session:
        row = read(db, models.Volume, cloud.plain)._asdict()
        made = new_id()
        session.execute(sa.insert(models.Volume), {**row, 'id': made})
        taken = {'id': made, 'project_id': 'p1', 'size': 1, 'status': 'available', 'progress': '100%'}
        session.execute(sa.insert(models.Snapshot), {**taken, 'volume_id': cloud.plain})
    with pytest.raises(errors.Conflict, match='3 things were changed here'):
        mover.imports.undo()
    told = {(one.kind, one.ident): one.reason for one in mover.imports.undo(dry_run=True).changed}
    assert told == {
        ('volume', cloud.plain): 'It was changed here since it was imported.',
        ('volume', made): 'It was made here, of an imported volume-type.',
        ('snapshot', made): 'It was made here, of an imported volume.',
    }
    mover.imports.undo(force=True)
    assert count(db) == before


def test_the_last_step(mover, db, cloud):
    mover.run()
    assert mover.imports.finish(dry_run=True)['volume'] == 2
    assert mover.imports.finish()['volume'] == 2
    stop(db)
    with pytest.raises(errors.NotFound, match='finish'):
        mover.imports.undo()
    with pytest.raises(errors.NotFound, match='finished already'):
        mover.imports.finish()
    assert count(db)['volumes'] == 2
    # What is here is not imported anew, nor doubled.
    assert mover.run().comparison.new == []
    assert read(db, models.Volume, cloud.shared).status == 'in-use'


def test_another_cinder_takes_nothing_away(mover, db, cloud, theirs):
    mover.run()
    for table in ('volumes', 'volume_attachment', 'volume_types', 'quality_of_service_specs'):
        with theirs.engine.begin() as connection:
            connection.execute(sa.text(f'DELETE FROM {table}'))
    for table in ('quotas', 'quota_classes', 'default_volume_types'):
        with theirs.engine.begin() as connection:
            connection.execute(sa.text(f'DELETE FROM {table}'))
    theirs.add_volume(theirs.add_type('foreign'))
    with pytest.raises(errors.Conflict, match='of another Cinder'):
        mover.run()
    assert count(db)['volumes'] == 2


def test_a_worker_of_another_backend_may_live(mover, db, cloud):
    mover.run()
    stop(db)
    db_services.beat(db, VOLUME_BINARY, 'else@lvm', 'nova', {})
    mover.imports.undo()
