# SPDX-License-Identifier: Apache-2.0
"""multiattach-manage volume: a storage host that was renamed, and one that is gone for good."""

import datetime
import json
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import models, services as db_services
from multiattach.domain import states
from multiattach.drivers.targets.null import NullTarget
from multiattach.engine import backends
from multiattach.engine.attachments import Reservation
from tests.deployments import embedded
from tests.functional.operations.test_manage import add, config, run  # noqa: F401 - config is a fixture

OLD, NEW = embedded.BACKEND, 'renamed@file'
A = states.Attachment


@pytest.fixture
def deployed(tmp_path):
    # no heartbeat may bring the old worker back
    with embedded.deploy(tmp_path, NullTarget(), report_interval=3600) as running:
        running.make_type()
        yield running


def age(deployed, host, seconds=86400):
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.Service)
            .where(models.Service.host == host)
            .values(heartbeat_at=models.now() - datetime.timedelta(seconds=seconds))
        )


def beat(deployed, host=NEW, **report):
    db_services.beat(deployed.db, 'multiattach-volume', host, 'nova', report)
    with deployed.db.reader() as session:
        return db_services.get(session, 'multiattach-volume', host).id


def attach(deployed, volume_id, host='one'):
    row = deployed.engine.attachments.create(
        deployed.ctx, volume_id, str(uuid.uuid4()), {'host': host, 'initiator': f'iqn.1994-05.com.example:{host}'}, None
    )
    deployed.engine.attachments.complete(deployed.ctx, row.id)
    return row.id


def read(deployed, table, ident):
    with deployed.db.reader() as session:
        return session.scalars(
            sa.select(table)
            .where(table.id == ident)
            .options(*([sa.orm.undefer(table.timeline)] if table is models.Attachment else []))
        ).one()


def hosts(deployed):
    with deployed.db.reader() as session:
        return sorted(session.scalars(sa.select(models.Volume.host)))


# -- update-host -------------------------------------------------------------------------------


def rename(config, *more, old=OLD, new=NEW):  # noqa: F811
    return run('manage', config, 'volume', 'update-host', '--current-host', old, '--new-host', new, *more)


def test_volumes_of_a_renamed_host(config, deployed):  # noqa: F811
    kept, gone = deployed.make_volume('multi'), deployed.make_volume('multi')
    ident = attach(deployed, kept)
    deployed.engine.volumes.delete(deployed.ctx, gone)
    deployed.wait(lambda: deployed.status(gone) is None)
    age(deployed, OLD)
    service_uuid = beat(deployed)
    seen = rename(config, '--dry-run')
    assert seen.returncode == 0, seen.stderr
    assert '1 volumes with 1 attachments would be moved' in seen.stdout
    assert hosts(deployed) == [OLD, OLD]
    done = rename(config)
    assert (done.returncode, done.stderr) == (0, '')
    assert f'1 volumes with 1 attachments are moved from {OLD} to {NEW}, and 1 deleted ones.' in done.stdout
    assert f'The old worker {OLD} is removed' in done.stdout
    assert hosts(deployed) == [NEW, NEW]
    volume = read(deployed, models.Volume, kept)
    assert (volume.service_uuid, volume.status) == (service_uuid, 'in-use')
    assert read(deployed, models.Attachment, ident).state == A.ATTACHED
    with deployed.db.reader() as session:
        assert [row.host for row in db_services.list_all(session, 'multiattach-volume')] == [NEW]
    again = rename(config)
    assert again.returncode == 1
    assert 'moved already, or misspelt' in again.stderr
    assert hosts(deployed) == [NEW, NEW]


def test_the_new_worker_looks_after_what_it_got(config, deployed):  # noqa: F811
    """Its target, and an attachment that was on its way when the old one died."""
    volume = deployed.make_volume('multi')
    row = deployed.engine.attachments.reserve(deployed.ctx, volume, None, Reservation())
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(host='old@file'))
        session.execute(
            sa.update(models.Attachment)
            .where(models.Attachment.id == row.id)
            .values(
                state=A.EXPORTING,
                initiator='iqn.1994-05.com.example:one',
                attached_host='one',
                connector={'host': 'one', 'initiator': 'iqn.1994-05.com.example:one'},
            )
        )
    done = rename(config, old='old@file', new=OLD)
    assert done.returncode == 0, done.stderr
    deployed.worker.tend()
    assert read(deployed, models.Attachment, row.id).state == A.EXPORTED
    assert volume in deployed.target.list_exports()


def test_in_transactions_of_bounded_size_that_may_be_interrupted(deployed, monkeypatch):
    monkeypatch.setattr(backends, 'BATCH', 2)
    with deployed.db.writer() as session:
        type_id = session.scalars(sa.select(models.VolumeType.id)).first()
        for number in range(5):
            session.add(
                models.Volume(
                    id=f'volume-{number}', project_id='p', size=1, volume_type_id=type_id, status='available', host=OLD
                )
            )
    age(deployed, OLD)
    beat(deployed)
    commits = []
    sa.event.listen(deployed.db.engine, 'commit', lambda _conn: commits.append(1))
    side = backends.Backends(deployed.db, 60, None)
    moving, calls = side._move_some, []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return moving(*args)

    monkeypatch.setattr(side, '_move_some', interrupt)
    with pytest.raises(KeyboardInterrupt):
        side.rename(OLD, NEW)
    assert hosts(deployed) == [NEW] * 2 + [OLD] * 3
    commits.clear()
    monkeypatch.setattr(side, '_move_some', moving)
    assert side.rename(OLD, NEW).volumes == 3
    assert hosts(deployed) == [NEW] * 5
    assert len(commits) >= 3


@pytest.mark.parametrize(
    ('old', 'new', 'text'),
    [
        (OLD, 'other', 'is no name of a backend'),
        ('one', NEW, 'is no name of a backend'),
        (OLD, 'new@file#gold', 'no such pool'),
        (OLD, OLD, 'both names'),
    ],
)
def test_names_that_are_none(config, deployed, old, new, text):  # noqa: F811
    volume = deployed.make_volume('multi')
    age(deployed, OLD)
    done = rename(config, '--force', old=old, new=new)
    assert done.returncode == 1
    assert text in done.stderr
    assert read(deployed, models.Volume, volume).host == OLD


def test_an_old_worker_that_lives_keeps_its_volumes(config, deployed):  # noqa: F811
    volume = deployed.make_volume('multi')
    beat(deployed)
    done = rename(config, '--force')
    assert done.returncode == 1
    assert f'The worker {OLD} of the backend {OLD} reports: it is alive.' in done.stderr
    assert read(deployed, models.Volume, volume).host == OLD


def test_one_worker_of_a_cluster_that_lives_is_enough(config, deployed):  # noqa: F811
    volume = deployed.make_volume('multi')
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Volume).values(host='cluster@file'))
    for host in ('a@file', 'b@file'):
        beat(deployed, host, cluster='cluster@file')
    age(deployed, 'a@file')
    refused = rename(config, old='cluster@file', new=OLD)
    assert refused.returncode == 1
    assert 'The worker b@file' in refused.stderr
    age(deployed, 'b@file')
    done = rename(config, old='cluster@file', new=OLD)
    assert done.returncode == 0, done.stderr
    assert 'a@file is removed' in done.stdout
    assert 'b@file is removed' in done.stdout
    assert read(deployed, models.Volume, volume).host == OLD


def test_a_new_worker_that_does_not_report_gets_nothing_without_force(config, deployed):  # noqa: F811
    volume = deployed.make_volume('multi')
    age(deployed, OLD)
    unknown = rename(config)
    assert unknown.returncode == 1
    assert f'No worker ever reported as the backend {NEW}' in unknown.stderr
    assert f'Recorded is: {OLD}' in unknown.stderr
    beat(deployed)
    age(deployed, NEW)
    down = rename(config)
    assert down.returncode == 1
    assert 'does not report: start it first' in down.stderr
    assert read(deployed, models.Volume, volume).host == OLD
    assert rename(config, '--force').returncode == 0
    assert read(deployed, models.Volume, volume).host == NEW


def test_help_tells_what_is_refused(config):  # noqa: F811
    for verb, words in (
        ('update-host', ('--current-host', '--dry-run', 'No data is moved', 'Refused')),
        ('remove', ('VOLUME_ID', '--force', 'Refused', 'openstack volume')),
    ):
        done = run('manage', config, 'volume', verb, '--help')
        assert done.returncode == 0
        assert all(word in done.stdout for word in words)


# -- remove ------------------------------------------------------------------------------------


def test_a_volume_whose_backend_is_gone(config, deployed):  # noqa: F811
    add(config, '[oslo_messaging_notifications]\ndriver = log\n')
    volume = deployed.make_volume('multi')
    age(deployed, OLD)
    used = deployed.engine.quotas.show(deployed.ctx, deployed.ctx.project_id)
    seen = run('manage', config, 'volume', 'remove', volume, '--dry-run')
    assert 'would be removed' in seen.stdout
    assert deployed.status(volume) == 'available'
    done = run('manage', config, 'volume', 'remove', volume)
    assert done.returncode == 0, done.stderr
    assert f'Volume {volume} (1 GiB, available) is removed, with 0 attachments.' in done.stdout
    assert f'volume-{volume} of the backend file, not zeroed' in done.stdout
    for event in ('volume.delete.start', 'volume.delete.end'):
        assert event in done.stderr
    row = read(deployed, models.Volume, volume)
    assert (row.status, row.deleted_at is None) == ('deleted', False)
    assert deployed.engine.quotas.show(deployed.ctx, deployed.ctx.project_id) != used
    assert (deployed.directory / 'volumes' / f'volume-{volume}').exists(), 'it said that the data stay'
    again = run('manage', config, 'volume', 'remove', volume)
    assert again.returncode == 1
    assert 'could not be found' in again.stderr


def test_attachments_go_with_force_only(config, deployed):  # noqa: F811
    volume = deployed.make_volume('multi')
    ident = attach(deployed, volume)
    age(deployed, OLD)
    refused = run('manage', config, 'volume', 'remove', volume)
    assert refused.returncode == 1
    assert '1 attachment.' in refused.stderr
    assert read(deployed, models.Attachment, ident).state == A.ATTACHED
    done = run('manage', config, 'volume', 'remove', volume, '--force')
    assert done.returncode == 0, done.stderr
    assert f'attachment {ident} (attached)' in done.stdout
    assert 'host one, initiator iqn.1994-05.com.example:one' in done.stdout
    row = read(deployed, models.Attachment, ident)
    assert (row.state, row.deleted_at is None) == (A.DETACHED, False)
    last = json.loads(row.timeline.splitlines()[-1])
    assert (last['event'], last['by']) == ('abandon', 'manage')
    assert OLD in last['error']
    assert read(deployed, models.Volume, volume).status == 'deleted'


def test_in_whatever_state_an_attachment_was_left(deployed):
    rows = {}
    for state in set(A) - {A.DETACHED}:
        volume = deployed.make_volume('multi')
        rows[state] = volume, attach(deployed, volume)
    deployed.worker.stop()  # it would take the steps up
    side = backends.Backends(deployed.db, 60, backends.transitions.Actor('manage'))
    age(deployed, OLD)
    for state, (volume, ident) in rows.items():
        with deployed.db.writer() as session:
            session.execute(sa.update(models.Attachment).where(models.Attachment.id == ident).values(state=state))
        removed = side.remove_volume(volume, force=True)
        assert [one.id for one in removed.attachments] == ([] if state in states.PLACELESS else [ident]), state
        assert read(deployed, models.Attachment, ident).deleted_at is not None, state
        assert deployed.status(volume) is None, state


def test_in_whatever_status_a_volume_was_left(deployed):
    rows = {status: deployed.make_volume('multi') for status in set(states.Volume) - {states.Volume.DELETED}}
    deployed.worker.stop()
    side = backends.Backends(deployed.db, 60, backends.transitions.Actor('manage'))
    age(deployed, OLD)
    for status, volume in rows.items():
        with deployed.db.writer() as session:
            session.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(status=status))
        side.remove_volume(volume)
        assert read(deployed, models.Volume, volume).status == 'deleted', status


def test_what_is_not_removed(config, deployed):  # noqa: F811
    volume = deployed.make_volume('multi')
    alive = run('manage', config, 'volume', 'remove', volume, '--force')
    assert alive.returncode == 1
    assert 'it is alive' in alive.stderr
    assert 'openstack volume delete' in alive.stderr
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(host=None))
    nowhere = run('manage', config, 'volume', 'remove', volume)
    assert nowhere.returncode == 1
    assert 'never got a backend' in nowhere.stderr
    unknown = run('manage', config, 'volume', 'remove', str(uuid.uuid4()))
    assert unknown.returncode == 1
    assert deployed.status(volume) == 'available'


def test_the_source_of_a_clone_that_is_made_goes_after_the_clone(config, deployed):  # noqa: F811
    source, clone = deployed.make_volume('multi'), deployed.make_volume('multi')
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.Volume).where(models.Volume.id == clone).values(status='creating', source_volid=source)
        )
    age(deployed, OLD)
    refused = run('manage', config, 'volume', 'remove', source)
    assert refused.returncode == 1
    assert 'a clone of it is being made' in refused.stderr
    assert run('manage', config, 'volume', 'remove', clone).returncode == 0
    assert run('manage', config, 'volume', 'remove', source).returncode == 0
