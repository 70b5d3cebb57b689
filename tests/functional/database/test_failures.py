# SPDX-License-Identifier: Apache-2.0
"""Deadlocks, lost connections and lost answers, each made to happen on each database server."""

import concurrent.futures
import contextlib
import threading
import types
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import attachments as db_attachments, database, locks, models, transitions, volumes as db_volumes
from multiattach.domain import errors
from multiattach.engine.attachments import Reservation
from multiattach.engine.volumes import VolumeWish
from multiattach.steps import exports
from tests.deployments.noauth import make_connector
from tests.functional.database.relay import Fate

ACTOR = transitions.Actor('test')
FATES = list(Fate)


def reserve(served, volume_id):
    return served.engine.attachments.reserve(served.ctx, volume_id, str(uuid.uuid4()), Reservation()).id


def read_timeline(served, attachment_id):
    with served.db.reader() as session:
        return db_attachments.get_timeline(session, attachment_id)


def make_volumes(served, number):
    served.make_type()
    return [served.make_volume('multi') for _ in range(number)]


# -- locks -------------------------------------------------------------------------------------


def test_an_attachment_is_locked_after_its_volume(served, other):
    """Two requests on one attachment wait for each other; they never deadlock."""
    [volume] = make_volumes(served, 1)
    ident = reserve(served, volume)
    started, done = threading.Event(), []

    def lock_attachment():
        with other.writer() as session:
            started.set()
            done.append(locks.lock_attachment(session, ident).state)

    thread = threading.Thread(target=lock_attachment)
    with served.db.writer() as session:
        db_volumes.lock(session, volume)
        thread.start()
        assert started.wait(10)
        thread.join(0.5)
        assert done == [], 'it did not wait'
        # With the other order the waiting one would hold this row: a deadlock.
        transitions.move_attachment(session, ident, 'export', ACTOR)
    thread.join(20)
    assert done == ['exporting'], 'it read what was true before it waited'


@pytest.mark.parametrize('step', ['reserve', 'remove'])
def test_who_waited_for_a_volume_sees_who_came_meanwhile(served, other, step):
    """A statement that locks and reads must not tell what was true before it waited."""
    [volume] = make_volumes(served, 1)
    ident = reserve(served, volume)
    with served.db.writer() as session:
        for event in ('export', 'unexport'):
            transitions.lock_and_move(session, ident, event, ACTOR)
    started, seen = threading.Event(), []

    def reserve_too():
        with other.transaction() as work:
            started.set()
            locks.lock_with_allowance(work, volume)
            seen.append(locks.read_room(work, volume, None).servers)

    def remove():
        started.set()
        plan = exports.Exports(other, ACTOR).plan(ident)
        assert plan.is_alone
        seen.append(exports.Exports(other, ACTOR).finish_unexport(plan, 0.1))

    thread = threading.Thread(target={'reserve': reserve_too, 'remove': remove}[step])
    with served.db.transaction() as work:
        locked = locks.lock_volume(work, volume)
        thread.start()
        assert started.wait(10)
        thread.join(0.5)
        assert seen == [], 'it did not wait'
        row = models.Attachment(id=str(uuid.uuid4()), volume_id=volume)
        transitions.add_attachment(work, row, ACTOR, locked)
        # With the other order the waiting one would hold this row: a deadlock.
        transitions.move_attachment(work, ident, 'unexport', ACTOR)
    thread.join(20)
    assert seen == [{'reserve': 2, 'remove': False}[step]], 'it told what was true before it waited'
    assert served.status(volume) == 'reserved'


def test_a_deadlock_is_run_again(served, other):
    first, second = make_volumes(served, 2)
    barrier = threading.Barrier(2, timeout=20)
    attempts = []

    @database.retry
    def rename(db, name, order):
        with db.writer() as session:
            attempts.append(name)
            for index, ident in enumerate(order):
                db_volumes.lock(session, ident)
                db_volumes.update(session, ident, display_name=name)
                if index == 0 and attempts.count(name) == 1:
                    barrier.wait()

    thread = threading.Thread(target=rename, args=(other, 'b', [second, first]))
    thread.start()
    rename(served.db, 'a', [first, second])
    thread.join(60)
    assert len(attempts) == 3, 'one of the two was the victim, once'
    names = {served.engine.volumes.show(served.ctx, ident).display_name for ident in (first, second)}
    assert names == {attempts[-1]}, 'the victim came last, and did both'


# -- lost connections --------------------------------------------------------------------------


def kill_connection(session, other):
    """End the server's side of a session's connection."""
    connection = session if isinstance(session, sa.Connection) else session.connection()
    kill(connection.connection.driver_connection, other)


def kill(raw, other):
    with other.engine.connect() as connection:
        if other.engine.dialect.name == 'postgresql':
            connection.execute(sa.text('SELECT pg_terminate_backend(:pid)'), {'pid': raw.info.backend_pid})
        else:
            connection.execute(sa.text(f'KILL {raw.thread_id()}'))


def test_a_transaction_whose_connection_is_killed_is_run_again(served, other, monkeypatch):
    [volume] = make_volumes(served, 1)
    killed = []
    real = locks.lock_with_allowance

    def lock_with_allowance(work, *args):
        found = real(work, *args)
        if not killed:
            killed.append(volume)
            kill(work.connection.driver_connection, other)
        return found

    monkeypatch.setattr(locks, 'lock_with_allowance', lock_with_allowance)
    ident = reserve(served, volume)
    assert killed
    assert served.status(volume) == 'reserved'
    assert [row.id for row in served.engine.attachments._list_left(volume)] == [ident]


def test_a_read_whose_connection_is_killed_is_run_again(served, other, monkeypatch):
    [volume] = make_volumes(served, 1)
    killed = []
    real = db_volumes.get

    def get(session, ident):
        if not killed:
            killed.append(ident)
            kill_connection(session, other)
        return real(session, ident)

    monkeypatch.setattr(db_volumes, 'get', get)
    assert served.engine.volumes.show(served.ctx, volume).id == volume
    assert killed


def test_pooled_connections_of_a_database_that_restarted_are_replaced(served, other):
    """Nobody notices, not even who may not repeat anything."""
    [volume] = make_volumes(served, 1)
    with contextlib.ExitStack() as stack:
        borrowed = [stack.enter_context(served.db.engine.connect()) for _ in range(3)]
        idle = [connection.connection.driver_connection for connection in borrowed]
    for raw in idle:
        kill(raw, other)
    with served.db.reader() as session:
        assert db_volumes.get(session, volume).id == volume


def test_a_database_that_comes_back_is_waited_for(served, relay):
    [volume] = make_volumes(served, 1)
    with relay.away(), concurrent.futures.ThreadPoolExecutor(2) as pool:
        reading = pool.submit(served.engine.volumes.show, served.ctx, volume)
        writing = pool.submit(reserve, served, volume)
        assert not concurrent.futures.wait([reading, writing], 0.5).done
        relay.refuses = False
        assert reading.result(20).id == volume
        ident = writing.result(20)
    assert [row.id for row in served.engine.attachments._list_left(volume)] == [ident]


def test_a_database_that_stays_away_is_told_of(served, relay, monkeypatch):
    monkeypatch.setattr('oslo_db.api.time', types.SimpleNamespace(sleep=lambda _seconds: None))
    with relay.away(), pytest.raises(errors.Unavailable, match='database'):
        served.engine.volumes.show(served.ctx, str(uuid.uuid4()))


# -- lost answers to COMMIT --------------------------------------------------------------------


@pytest.mark.parametrize('fate', FATES, ids=lambda fate: fate.name)
def test_a_reservation_with_a_lost_commit_is_made_once(served, relay, fate):
    [volume] = make_volumes(served, 1)
    relay.plan(fate)
    ident = reserve(served, volume)
    assert relay.broken == [fate]
    assert [row.id for row in served.engine.attachments._list_left(volume)] == [ident]
    assert served.status(volume) == 'reserved'


@pytest.mark.parametrize('fate', FATES, ids=lambda fate: fate.name)
def test_a_removal_with_a_lost_commit_is_no_404(served, relay, fate):
    [volume] = make_volumes(served, 1)
    ident = reserve(served, volume)
    relay.plan(fate)
    assert served.engine.attachments.delete(served.ctx, ident) == []
    assert relay.broken == [fate]
    assert read_timeline(served, ident).count('"remove"') == 1
    assert served.status(volume) == 'available'


@pytest.mark.parametrize('fate', FATES, ids=lambda fate: fate.name)
def test_each_commit_of_a_connect_may_be_lost(served, relay, fate):
    """The API's, which writes the intent, and the worker's, which stores what the target gave."""
    [volume] = make_volumes(served, 1)
    ident = reserve(served, volume)
    relay.plan(fate, fate)
    row = served.engine.attachments.connect(served.ctx, ident, make_connector('h'))
    assert relay.broken == [fate, fate]
    assert row.connection_info['auth_password']
    timeline = read_timeline(served, ident)
    assert [timeline.count(f'"{event}"') for event in ('export', 'exported')] == [1, 2]  # event and state
    relay.plan(fate, fate)
    assert served.engine.attachments.delete(served.ctx, ident) == []
    assert relay.broken == [fate] * 4
    assert served.target.list_exports() == {}


@pytest.mark.parametrize('fate', FATES, ids=lambda fate: fate.name)
def test_a_volume_comes_and_goes_with_lost_commits(served, relay, fate):
    served.make_type()
    relay.plan(fate)
    volume = served.engine.volumes.create(served.ctx, VolumeWish(1, 'multi')).id
    served.wait(lambda: served.status(volume) == 'available')
    assert relay.broken == [fate]
    relay.plan(fate, fate)
    served.engine.actions.extend(served.ctx, volume, 2, in_use_allowed=True)
    served.wait(lambda: served.status(volume) == 'available')
    assert served.engine.volumes.show(served.ctx, volume).size == 2
    relay.plan(fate, fate)
    served.engine.volumes.delete(served.ctx, volume)
    served.wait(lambda: served.status(volume) is None)
    assert relay.broken == [fate] * 5


@pytest.mark.parametrize('fate', FATES, ids=lambda fate: fate.name)
def test_a_type_is_created_or_nobody_says_so(served, relay, fate):
    """An insert alone locks nothing that a reader could wait for: what is not there may still come."""
    relay.plan(fate)
    expected = 1
    try:
        created = served.make_type('odd')
    except errors.OutcomeUnknown:
        assert fate is not Fate.ANSWER_LOST
        served.wait(lambda: fate is Fate.NOT_SENT or 'odd' in list_types(served))
        expected = 0 if fate is Fate.NOT_SENT else 1
    else:  # what was certainly not carried out was run again
        assert served.engine.types.find(served.ctx, 'odd').id == created
    assert list_types(served).count('odd') == expected
    assert relay.broken == [fate]


def list_types(served):
    with served.db.reader() as session:
        return list(session.scalars(sa.select(models.VolumeType.name)))


def test_what_left_no_evidence_is_not_guessed(served, relay):
    """Deleting an item twice is not the same as once: nobody runs it again."""
    [volume] = make_volumes(served, 1)
    served.engine.volumes.set_metadata(served.ctx, volume, {'key': 'value'}, keep_others=True)
    relay.plan(Fate.ANSWER_LOST)
    with pytest.raises(errors.OutcomeUnknown):
        served.engine.volumes.delete_metadata(served.ctx, volume, 'key')
    assert served.engine.volumes.show(served.ctx, volume).metadata == {}


def test_a_change_that_another_one_overwrote_is_not_guessed(served, relay, other, monkeypatch):
    [volume] = make_volumes(served, 1)
    real = database.commits.find_out

    def find_out(*args):
        with other.writer() as session:
            db_volumes.update(session, volume, display_name='theirs')
        return real(*args)

    monkeypatch.setattr(database.commits, 'find_out', find_out)
    relay.plan(Fate.ANSWER_LOST)
    with pytest.raises(errors.OutcomeUnknown):
        served.engine.actions.reserve(served.ctx, volume)
    assert served.status(volume) == 'attaching'
