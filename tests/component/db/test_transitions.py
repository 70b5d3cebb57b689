# SPDX-License-Identifier: Apache-2.0
"""The writer against the tables, on the database that ``--database`` names."""

import contextlib
import itertools
import json
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import attachments as db_attachments, database, locks, migration, models, transitions
from multiattach.domain import errors, sharing, states
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


def add_volume(work, status='available', **values):
    ident = str(uuid.uuid4())
    table = models.table_of(models.Volume)
    values |= {'id': ident, 'project_id': 'p', 'size': 1, 'volume_type_id': TYPE, 'status': status}
    work.execute(sa.insert(table), values)
    return ident


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


@contextlib.contextmanager
def naming(*row):
    """Have a failure name the row of the table that it is in."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f'in the row {", ".join(map(str, row))}')
        raise


@pytest.mark.parametrize('event', states.ATTACHMENT_EVENTS)
def test_each_attachment_event_in_each_state(db, event):
    for state in states.Attachment:
        check_attachment_event(db, event, state)


def check_attachment_event(db, event, state):
    row = states.ATTACHMENT_EVENTS[event]
    with naming(event, state), db.writer() as session:
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


@pytest.mark.parametrize('event', states.VOLUME_EVENTS)
def test_each_volume_event_in_each_status(db, event):
    for status in states.Volume:
        check_volume_event(db, event, status)


def check_volume_event(db, event, status):
    row = states.VOLUME_EVENTS[event]
    with naming(event, status), db.writer() as session:
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
def test_the_derivation_in_sql_is_the_one_of_the_domain(db, claim):
    for pair in itertools.combinations_with_replacement([None, *LIVE], 2):
        counts: dict[str, int] = {}
        with db.writer() as session:
            volume_id = add_volume(session, claim=claim)
            for state in filter(None, pair):
                add_attachment(session, volume_id, state)
                counts[state] = counts.get(state, 0) + 1
            transitions.derive_volume(session, volume_id)
            assert read(session, models.Volume, volume_id).status == states.derive_status(counts, claim), pair


@pytest.mark.parametrize('event', sorted(states.ATTACHMENT_EVENTS))
def test_a_move_takes_the_status_along(db, event):
    row = states.ATTACHMENT_EVENTS[event]
    for other, claim, before in itertools.product([None, *LIVE], [None, 'attaching', 'detaching'], sorted(row.sources)):
        with db.transaction() as work:
            volume_id = add_volume(work, claim=claim)
            ident = add_attachment(work, volume_id, before)
            counts = {add_attachment(work, volume_id, other) and other: 1} if other else {}
            transitions.derive_volume(work, volume_id)
            transitions.lock_and_move(work, ident, event, ACTOR)
            after = locks.lock_volume(work, volume_id)
            assert after.status == states.derive_status(counts | {row.target: 1}, claim), (other, claim, before)


@pytest.mark.parametrize('status', sorted(set(states.Volume) - {'deleted'}))
@pytest.mark.parametrize('event', ['complete', 'unexport', 'remove'])
def test_a_move_leaves_a_status_alone_that_is_not_derived(db, event, status):
    with db.transaction() as work:
        volume_id = add_volume(work, status)
        ident = add_attachment(work, volume_id, 'attached')
        transitions.lock_and_move(work, ident, event, ACTOR)
        expected = {'complete': 'in-use', 'unexport': 'detaching', 'remove': 'available'}[event]
        assert locks.lock_volume(work, volume_id).status == (expected if status in states.DERIVED_STATUSES else status)


@pytest.mark.parametrize('claim', [None, 'attaching', 'detaching'])
@pytest.mark.parametrize('other', [None, *LIVE])
def test_a_new_attachment_takes_the_status_along(db, other, claim):
    with db.transaction() as work:
        volume_id = add_volume(work, claim=claim)
        if other:
            add_attachment(work, volume_id, other)
        transitions.derive_volume(work, volume_id)
        row = models.Attachment(id=str(uuid.uuid4()), volume_id=volume_id)
        transitions.add_attachment(work, row, ACTOR, locks.lock_volume(work, volume_id))
        counts = ({other: 1} if other else {}) | {'reserved': 1}
        assert locks.lock_volume(work, volume_id).status == states.derive_status(counts, claim)
        assert locks.lock_attachment(work, row.id).state == 'reserved'


@pytest.mark.parametrize('event', ['remove', 'attach_failed'])
def test_a_move_in_one_statement(db, event):
    if not db.is_mariadb:
        pytest.skip('the database has none')
    for other in (None, *LIVE):
        with naming(other):
            check_move_in_one_statement(db, event, other)


def check_move_in_one_statement(db, event, other):
    with db.transaction() as work:
        volume_id = add_volume(work)
        ident = add_attachment(work, volume_id, 'unexporting')
        counts = {add_attachment(work, volume_id, other) and other: 1} if other else {}
        transitions.derive_volume(work, volume_id)
    with db.statement() as work:
        transitions.move_alone(work, ident, volume_id, event, ACTOR)
    with db.transaction() as work:
        assert locks.lock_volume(work, volume_id).status == states.derive_status(counts, None)
    with pytest.raises(errors.InvalidTransition), db.statement() as work:
        transitions.move_alone(work, ident, volume_id, event, ACTOR)


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('mine', [0, 1, 2, None])
@pytest.mark.parametrize('other', [None, 'attached', 'error_detaching', 'error_attaching', 'nobody'])
def test_the_room_in_sql_is_the_one_of_the_domain(db, other, mine, shared):
    """Of a volume that may be shared, or is available; another one is judged by what is counted."""
    server = None if mine is None else str(uuid.uuid4())
    with db.transaction() as work:
        volume_id = add_volume(work, multiattach=shared)
        for its in [server] * (mine or 0) + ([str(uuid.uuid4())] if other not in (None, 'nobody') else []):
            row = models.Attachment(id=str(uuid.uuid4()), volume_id=volume_id, instance_uuid=its)
            transitions.add_attachment(work, row, ACTOR)
            state = 'error_detaching' if its == server else other
            work.execute(sa.update(models.Attachment).where(models.Attachment.id == row.id).values(state=state))
        if other == 'nobody':
            add_attachment(work, volume_id, 'error_detaching')
        volume, _ = locks.lock_with_allowance(work, volume_id)
        room = locks.read_room(work, volume_id, server)
        row = models.Attachment(id=str(uuid.uuid4()), volume_id=volume_id, instance_uuid=server)
        try:
            sharing.check_reserve(sharing.VolumeFacts('available', shared), room.mine, room.others)
        except errors.InvalidVolume:
            with pytest.raises(errors.InvalidTransition):
                transitions.add_attachment(work, row, ACTOR, volume, if_room=True)
            assert locks.lock_volume(work, volume_id).status == 'available'
        else:
            transitions.add_attachment(work, row, ACTOR, volume, if_room=True)
            assert locks.lock_volume(work, volume_id).status == 'reserved'


SERVERS = (None, str(uuid.UUID(int=1)), str(uuid.UUID(int=2)))


@pytest.mark.parametrize('state', LIVE)
def test_a_clash_in_sql_is_the_one_of_the_domain(db, state):
    for host, server, shared in itertools.product([None, 'here', 'there'], SERVERS, [True, False]):
        check_clash(db, state, host, server, shared)


def check_clash(db, state, host, server, shared):
    me = sharing.Sharer(str(uuid.uuid4()), 'reserved', SERVERS[1])
    with db.transaction() as work:
        volume_id = add_volume(work, 'in-use', multiattach=shared)
        for ident, its, where, now in ((me.id, me.instance_uuid, None, me.state), (None, server, host, state)):
            row = models.Attachment(
                id=ident or str(uuid.uuid4()), volume_id=volume_id, instance_uuid=its, attached_host=where
            )
            transitions.add_attachment(work, row, ACTOR)
            work.execute(sa.update(models.Attachment).where(models.Attachment.id == row.id).values(state=now))
        others = db_attachments.list_sharers(work, volume_id)
        try:
            sharing.check_connect(sharing.VolumeFacts('in-use', shared), me, 'here', 'iqn', others)
            clashes = False
        except errors.Conflict:
            clashes = True
        locked = locks.lock_attachment(work, me.id)
        clash = transitions.Clash(shared, me.instance_uuid, 'here')
        with pytest.raises(errors.InvalidTransition) if clashes else contextlib.nullcontext():
            transitions.move(work, locked, 'export', ACTOR, clash=clash)


@pytest.mark.parametrize('others', [0, 1])
@pytest.mark.parametrize('had_it', [True, False])
@pytest.mark.parametrize('event', ['remove', 'detach_failed'])
def test_the_end_of_a_detach_takes_its_mark(db, event, had_it, others):
    """One mark goes with a detach that ends, all with the last server; what no server had takes none."""
    for claim in states.MARKS:
        check_end_of_detach(db, claim, event, had_it, others)


def check_end_of_detach(db, claim, event, had_it, others):
    before = states.MARKS[claim]
    with naming(claim), db.writer() as session:
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
    """No other module assigns ``state`` or ``status`` of a volume or an attachment; its statements are for it alone."""
    import pathlib
    import re

    package = pathlib.Path(models.__file__).parents[1]
    values = r'values\(([^()]|\([^()]*\))*\b(state|status)='
    writing = re.compile(rf"\.(state|status)\s*=[^=]|{values}|'(state|status)':\s*states\.")
    # Their tables have states of their own: only those of A, attachments, and V, volumes, are not theirs to write.
    own = {package / 'db' / f'{name}.py' for name in ('blocklist', 'gateways')}
    foreign = re.compile(rf'update\((A|V|models\.(Attachment|Volume))\)((?!update\().)*?{values}', re.DOTALL)
    assert not [p for p in own if foreign.search(p.read_text())]
    guilty = {
        str(p.relative_to(package))
        for p in package.rglob('*.py')
        if p.name not in ('transitions.py', 'transition_statements.py')
        and p not in own
        and ('db' in p.parts or 'engine' in p.parts or 'volume' in p.parts or 'host' in p.parts)
        and writing.search(p.read_text())
    }
    assert guilty == set()
    using = re.compile(r'\bdb\b.*\btransition_statements\b')
    assert {p.name for p in package.rglob('*.py') if using.search(p.read_text())} == {'transitions.py'}
