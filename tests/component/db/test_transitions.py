# SPDX-License-Identifier: Apache-2.0
"""The writer against the tables, on the database that ``--database`` names."""

import itertools
import json
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import database, migration, models, transitions
from multiattach.domain import errors, states
from tests.deployments import surroundings

ACTOR = transitions.Actor('test', 'req-1')
TYPE = str(uuid.uuid4())


@pytest.fixture(scope='module')
def db(tmp_path_factory):
    folder, around = tmp_path_factory.mktemp('db'), surroundings.current
    around.enter(folder)
    opened = database.Database(around.find_database(folder))
    migration.sync(opened)
    with opened.writer() as session:
        session.add(models.VolumeType(id=TYPE, name='t', live_name='t'))
    yield opened
    opened.close()
    around.leave(folder)


def add_volume(session, status='available', **values):
    volume = models.Volume(id=str(uuid.uuid4()), project_id='p', size=1, volume_type_id=TYPE, status=status, **values)
    session.add(volume)
    session.flush()
    return volume.id


def add_attachment(session, volume_id, state='reserved'):
    row = models.Attachment(id=str(uuid.uuid4()), volume_id=volume_id)
    transitions.add_attachment(session, row, ACTOR)
    session.execute(sa.update(models.Attachment).where(models.Attachment.id == row.id).values(state=state))
    return row.id


def read(session, model, ident):
    return session.scalars(
        sa.select(model)
        .where(model.id == ident)
        .options(*([sa.orm.undefer(model.timeline)] if model is models.Attachment else []))
        .execution_options(populate_existing=True)
    ).one()


@pytest.mark.parametrize(('event', 'state'), list(itertools.product(states.ATTACHMENT_EVENTS, states.Attachment)))
def test_each_attachment_event_in_each_state(db, event, state):
    row = states.ATTACHMENT_EVENTS[event]
    with db.writer() as session:
        ident = add_attachment(session, add_volume(session), state)
        if state not in row.sources:
            with pytest.raises(errors.InvalidTransition):
                transitions.move_attachment(session, ident, event, ACTOR)
            assert read(session, models.Attachment, ident).state == state
            return
        transitions.move_attachment(session, ident, event, ACTOR, error='why', seconds=0.25)
        after = read(session, models.Attachment, ident)
        assert after.state == row.target
        assert (after.deleted_at is not None) == (row.target == 'detached')
        last = json.loads(after.timeline.splitlines()[-1])
        assert {
            'event': event,
            'state': row.target,
            'by': 'test',
            'request_id': 'req-1',
            'error': 'why',
            'seconds': 0.25,
        }.items() <= last.items()
        assert len(after.timeline.splitlines()) == 2


@pytest.mark.parametrize(('event', 'status'), list(itertools.product(states.VOLUME_EVENTS, states.Volume)))
def test_each_volume_event_in_each_status(db, event, status):
    row = states.VOLUME_EVENTS[event]
    with db.writer() as session:
        ident = add_volume(session, status)
        if status not in row.sources:
            with pytest.raises(errors.InvalidTransition):
                transitions.move_volume(session, ident, event)
            assert read(session, models.Volume, ident).status == status
            return
        transitions.move_volume(session, ident, event)
        assert read(session, models.Volume, ident).status == (row.target or 'available')


LIVE = [s for s in states.Attachment if s != 'detached']


@pytest.mark.parametrize('claim', [None, 'attaching', 'detaching', 'detaching 2', 'attaching 1'])
@pytest.mark.parametrize('pair', list(itertools.combinations_with_replacement([None, *LIVE], 2)))
def test_the_derivation_in_sql_is_the_one_of_the_domain(db, pair, claim):
    counts: dict[str, int] = {}
    with db.writer() as session:
        volume_id = add_volume(session, claim=claim)
        for state in filter(None, pair):
            add_attachment(session, volume_id, state)
            counts[state] = counts.get(state, 0) + 1
        transitions.derive_volume(session, volume_id)
        assert read(session, models.Volume, volume_id).status == states.derive_status(counts, claim)


@pytest.mark.parametrize('others', [0, 1])
@pytest.mark.parametrize('had_it', [True, False])
@pytest.mark.parametrize('event', ['remove', 'detach_failed'])
@pytest.mark.parametrize('claim', sorted(states.MARKS, key=str))
def test_the_end_of_a_detach_takes_its_mark(db, claim, event, had_it, others):
    """One mark goes with a detach that ends, all with the last server; what no server had takes none."""
    before = states.MARKS[claim]
    with db.writer() as session:
        volume_id = add_volume(session, claim=claim)
        for _ in range(others):
            add_attachment(session, volume_id, 'attached')
        leaving = add_attachment(session, volume_id, 'unexporting')
        if had_it:
            session.get(models.Attachment, leaving).attached_at = models.now()
            session.flush()
        transitions.move_attachment(session, leaving, event, ACTOR)
        transitions.derive_volume(session, volume_id, left=leaving)
        after = before if not had_it else (before.end_detaching() if others else before._replace(detaching=0))
        volume = read(session, models.Volume, volume_id)
        assert volume.claim == after.claim
        transitions.derive_volume(session, volume_id)
        counts = {'attached': others}
        assert read(session, models.Volume, volume_id).status == states.derive_status(counts, after.claim)


@pytest.mark.parametrize('status', sorted(set(states.Volume) - states.DERIVED_STATUSES))
def test_a_status_of_the_volumes_own_life_is_not_derived_away(db, status):
    with db.writer() as session:
        volume_id = add_volume(session, status)
        add_attachment(session, volume_id, 'attached')
        transitions.derive_volume(session, volume_id)
        assert read(session, models.Volume, volume_id).status == status


def test_the_end_of_an_own_status_derives_from_attachments(db):
    with db.writer() as session:
        volume_id = add_volume(session, 'extending')
        add_attachment(session, volume_id, 'attached')
        transitions.move_volume(session, volume_id, 'extended', size=2)
        row = read(session, models.Volume, volume_id)
        assert (row.status, row.size) == ('in-use', 2)


def test_a_move_of_a_row_that_is_gone_is_refused(db):
    with db.writer() as session:
        ident = add_attachment(session, add_volume(session))
        transitions.move_attachment(session, ident, 'remove', ACTOR)
        with pytest.raises(errors.InvalidTransition):
            transitions.move_attachment(session, ident, 'remove', ACTOR)


def test_only_transitions_writes_states():
    """No other module assigns ``state`` or ``status`` of a row."""
    import pathlib
    import re

    package = pathlib.Path(models.__file__).parents[1]
    writing = re.compile(r"\.(state|status)\s*=[^=]|values\([^)]*\b(state|status)=|'(state|status)':\s*states\.")
    guilty = {
        str(p.relative_to(package))
        for p in package.rglob('*.py')
        if p.name != 'transitions.py'
        and ('db' in p.parts or 'engine' in p.parts or 'volume' in p.parts or 'host' in p.parts)
        and writing.search(p.read_text())
    }
    assert guilty == set()
