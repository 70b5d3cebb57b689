# SPDX-License-Identifier: Apache-2.0
"""Fences on a real database, RPC and worker; the target only remembers. For real ones see drivers/targets/tgt."""

import collections
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.drivers.errors import TargetError, TargetUnavailable
from multiattach.drivers.targets.base import SessionState, TargetState
from tests.contexts import make_context
from tests.deployments import embedded
from tests.deployments.targets import IS_KERNEL, AnyTarget

pytestmark = pytest.mark.every_target

CUT = {'acl': True, 'account': True, 'sessions': [], 'others': [], 'logins': []}
CUT |= {'registration': False} if IS_KERNEL else {}


class MoodyTarget(AnyTarget):
    """Fails as ``mood`` says; shows sessions that ``intruders`` name."""

    def __init__(self):
        super().__init__()
        self.mood = None
        self.intruders = {}
        self.fences = []

    def fence(self, volume_id, initiator, username, *, alone=False, again=False):
        self.fences.append((volume_id, initiator))
        if self.mood is not None:
            raise self.mood
        self.intruders.pop(volume_id, None)
        return super().fence(volume_id, initiator, username, alone=alone, again=again)

    def list_exports(self):
        found = super().list_exports()
        for volume_id, initiator in self.intruders.items():
            found[volume_id] = TargetState(volume_id, 'iqn', 1, (), (), (), (SessionState(initiator),))
        return found


@pytest.fixture
def d(tmp_path):
    with embedded.deploy(tmp_path, MoodyTarget(), report_interval=600) as parts:
        parts.make_type()
        parts.engine.fences.patience = 0.2
        yield parts
        parts.target.clear()


def attach(d, volume_id, host):
    row = d.engine.attachments.create(
        d.ctx, volume_id, str(uuid.uuid4()), {'host': host, 'initiator': f'iqn.1994-05.com.redhat:{host}'}, None
    )
    d.engine.attachments.complete(d.ctx, row.id)
    return row


def count_statements(d, call):
    """Count what reaches the database, and its commits."""
    counts = collections.Counter()
    engine = d.db.engine

    def note(_connection, _cursor, statement, *_rest):
        counts['statements'] += not statement.startswith('BEGIN')

    def commit(_connection):
        counts['commits'] += 1

    for name, listener in (('before_cursor_execute', note), ('commit', commit)):
        sa.event.listen(engine, name, listener)
    call()
    for name, listener in (('before_cursor_execute', note), ('commit', commit)):
        sa.event.remove(engine, name, listener)
    return counts


def state(d, row):
    return d.engine.attachments.show(d.ctx, row.id).state


def events(d, row):
    return [step.event for step in d.engine.explanations.explain_attachment(d.ctx, row.id).steps]


def test_the_intent_is_written_before_the_act_and_carried_on_with(d):
    volume_id = d.make_volume('multi')
    row = attach(d, volume_id, 'one')
    d.target.mood = TargetUnavailable('no answer')
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.fences.fence_attachment(d.ctx, row.id)
    assert state(d, row) == 'fencing'
    assert d.status(volume_id) == 'detaching'
    d.target.mood = TargetError('busy')
    with pytest.raises(errors.BackendError, match='busy'):
        d.engine.fences.fence_attachment(d.ctx, row.id)
    assert state(d, row) == 'fencing'
    for leave in (d.engine.attachments.delete, d.engine.attachments.complete):
        with pytest.raises(errors.MultiattachError):
            leave(d.ctx, row.id)
    d.target.mood = None
    d.worker.tend()
    assert state(d, row) == 'fenced'
    assert events(d, row) == ['reserve', 'export', 'exported', 'complete', 'fence', 'fence', 'fence_failed', 'fenced']
    [answer] = d.engine.fences.fence_attachment(d.ctx, row.id)
    assert answer.proof['cut'] == CUT


def test_a_worker_that_does_not_report_is_named(d):
    row = attach(d, d.make_volume('multi'), 'one')
    d.target.mood = TargetUnavailable('no answer')
    d.engine.services._down_time *= 0
    with pytest.raises(errors.Unavailable, match='testhost@file does not report'):
        d.engine.fences.fence_attachment(d.ctx, row.id)


def test_an_answer_that_was_lost_is_read_from_the_row(d):
    row = attach(d, d.make_volume('multi'), 'one')
    real = d.engine.fences._workers.fencing.fence

    def lose(order, request_id):
        real(order, request_id)
        raise errors.OutcomeUnknown('lost')

    d.engine.fences._workers.fencing.fence = lose
    [answer] = d.engine.fences.fence_attachment(d.ctx, row.id)
    assert answer.proof['cut']['acl']


def test_a_proof_says_what_was_cut_even_if_the_worker_s_own_round_comes_in_between(d):
    row = attach(d, d.make_volume('multi'), 'one')
    plans = d.fencer._plans
    real = plans.finish

    def finish(outcomes):
        plans.finish = real
        d.exporter.resume()
        real(outcomes)

    plans.finish = finish
    [answer] = d.engine.fences.fence_host(d.ctx, 'one').attachments
    [again] = d.engine.fences.fence_attachment(d.ctx, row.id)
    assert answer.proof['cut'] == again.proof['cut'] == CUT
    assert d.fencer._unwritten == {}


@pytest.mark.skipif(IS_KERNEL, reason='an emulated processor is so slow that statements of rounds are among them')
def test_a_fence_of_many_attachments_is_written_by_few_statements(d):
    """One for each of its three moves, one to plan it, and one for the status of a volume that changes with it."""
    for host, number in (('few', 3), ('many', 13)):
        for _ in range(number):
            attach(d, d.make_volume('multi'), host)
    few, many = (
        count_statements(d, lambda host=host: d.engine.fences.fence_host(d.ctx, host, out_of_service=True))
        for host in ('few', 'many')
    )
    assert many['statements'] - few['statements'] <= 6 * 10
    assert many['commits'] == few['commits']


def test_volumes_of_a_fenced_host_follow_their_attachments(d):
    """Of a volume the host may have several, and others may have it, too."""
    alone, twice, shared, marked = (d.make_volume('multi') for _ in range(4))
    rows = [attach(d, volume_id, 'one') for volume_id in (alone, twice, twice, shared, marked, marked)]
    other = attach(d, shared, 'two')
    d.engine.actions.begin_detaching(d.ctx, marked)
    fence = d.engine.fences.fence_host(d.ctx, 'one', out_of_service=False)
    assert fence.is_complete
    assert {one.id for one in fence.attachments} == {row.id for row in rows}
    assert {state(d, row) for row in rows} == {'fenced'}
    assert [d.status(volume_id) for volume_id in (alone, twice, shared)] == ['available', 'available', 'in-use']
    d.engine.fences.fence_host(d.ctx, 'one', out_of_service=True)
    assert [d.status(volume_id) for volume_id in (alone, twice, shared)] == ['available', 'available', 'in-use']
    assert d.status(marked) == 'available'
    assert state(d, other) == 'attached'
    for row in rows:
        with pytest.raises(errors.AttachmentNotFound):
            state(d, row)


def test_an_answer_for_a_host_that_was_lost_is_read_from_the_rows(d):
    rows = [attach(d, d.make_volume('multi'), 'one') for _ in range(2)]
    real = d.engine.fences._workers.fencing.fence_many

    def lose(orders, request_id):
        real(orders[:1], request_id)
        raise errors.OutcomeUnknown('lost')

    d.engine.fences._workers.fencing.fence_many = lose
    found = d.engine.fences.fence_host(d.ctx, 'one')
    assert sorted((one.proof is not None, one.error) for one in found.attachments) == [(False, 'lost'), (True, None)]
    d.worker.tend()
    assert {state(d, row) for row in rows} == {'fenced'}


@pytest.mark.parametrize('reached', ['reserved', 'exported', 'attached'])
def test_every_state_can_be_fenced_and_the_end_cannot(d, reached):
    volume_id = d.make_volume('multi')
    row = d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), None, None)
    if reached != 'reserved':
        d.engine.attachments.connect(d.ctx, row.id, {'host': 'a', 'initiator': 'iqn.1994-05.com.redhat:a'})
    if reached == 'attached':
        d.engine.attachments.complete(d.ctx, row.id)
    [answer] = d.engine.fences.fence_attachment(d.ctx, row.id)
    assert answer.proof['initiator'] == (None if reached == 'reserved' else 'iqn.1994-05.com.redhat:a')
    assert state(d, row) == 'fenced'
    assert d.status(volume_id) == 'available'
    for again in (
        lambda: d.engine.attachments.connect(d.ctx, row.id, {'host': 'a', 'initiator': 'iqn.1994-05.com.redhat:a'}),
        lambda: d.engine.attachments.complete(d.ctx, row.id),
    ):
        with pytest.raises((errors.InvalidTransition, errors.InvalidAttachment)):
            again()
    assert d.engine.attachments.delete(d.ctx, row.id) == []
    with pytest.raises(errors.AttachmentNotFound):
        d.engine.fences.fence_attachment(d.ctx, row.id)


def test_a_server_elsewhere_may_have_the_volume_once_it_is_fenced(d):
    """Also a volume that cannot be shared: nobody else writes any more."""
    volume_id = d.make_volume()
    dead = attach(d, volume_id, 'dead')
    with pytest.raises(errors.InvalidVolume):
        attach(d, volume_id, 'alive')
    d.engine.fences.fence_attachment(d.ctx, dead.id)
    attach(d, volume_id, 'alive')
    assert d.target.list_exports()[volume_id].initiators == ('iqn.1994-05.com.redhat:alive',)


def test_an_attach_of_the_same_initiator_waits_for_the_fence(d):
    """Else the fence would cut off what was attached anew."""
    volume_id = d.make_volume('multi')
    old = attach(d, volume_id, 'one')
    d.target.mood = TargetUnavailable('no answer')
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.fences.fence_attachment(d.ctx, old.id)
    with pytest.raises(errors.OutcomeUnknown):
        attach(d, volume_id, 'one')
    d.target.mood = None
    new = attach(d, volume_id, 'one')
    assert state(d, old) == 'fenced'
    assert new.connection_info['auth_password'] != old.connection_info['auth_password']
    d.engine.fences.fence_attachment(d.ctx, old.id)
    assert d.target.list_exports()[volume_id].initiators == (new.initiator,)


def test_a_login_that_turns_up_after_the_answer_is_found(d, caplog):
    row = attach(d, d.make_volume('multi'), 'one')
    d.engine.fences.fence_attachment(d.ctx, row.id)
    d.worker.tend()
    assert len(d.target.fences) == 1
    d.target.intruders[row.volume_id] = row.initiator
    d.worker.tend()
    assert len(d.target.fences) == 2


def test_one_volume_that_cannot_be_fenced_does_not_hide_the_others(d):
    rows = [attach(d, d.make_volume('multi'), 'one') for _ in range(3)]
    real, bad = d.target.fence, rows[1].volume_id

    def fence(volume_id, initiator, username, **more):
        if volume_id == bad:
            raise TargetError('busy')
        return real(volume_id, initiator, username, **more)

    d.target.fence = fence
    found = d.engine.fences.fence_host(d.ctx, 'one')
    assert not found.is_complete
    assert {one.id: one.proof is not None for one in found.attachments} == {
        rows[0].id: True,
        rows[1].id: False,
        rows[2].id: True,
    }
    [failed] = [one for one in found.attachments if one.error]
    assert 'busy' in failed.error
    d.target.fence = real
    assert d.engine.fences.fence_host(d.ctx, 'one').is_complete


def test_a_host_that_shares_an_initiator_with_another_name_is_cut_off_whole(d):
    volume_id = d.make_volume('multi')
    mine = attach(d, volume_id, 'one')
    row = d.engine.attachments.create(
        d.ctx, volume_id, str(uuid.uuid4()), {'host': 'one.example', 'initiator': mine.initiator}, None
    )
    found = d.engine.fences.fence_host(d.ctx, 'one')
    assert {one.id for one in found.attachments} == {mine.id, row.id}
    assert state(d, row) == 'fenced'


def test_the_marks_of_hosts(d):
    assert not d.engine.fences.unfence_host(d.ctx, 'nobody').was_fenced
    d.engine.fences.fence_host(d.ctx, 'one', reason='it burns')
    again = d.engine.fences.fence_host(d.ctx, 'one', out_of_service=True)
    assert (again.mark.reason, again.mark.out_of_service) == ('it burns', True)
    [host] = d.engine.hosts.list_all(d.ctx)
    assert host.fenced.reason == 'it burns'
    assert d.engine.hosts.show(d.ctx, 'one').fenced is not None
    volume_id = d.make_volume('multi')
    with pytest.raises(errors.Conflict, match=r'it burns.*host unfence one'):
        attach(d, volume_id, 'one')
    assert d.status(volume_id) == 'available'
    assert d.target.list_exports() == {}
    attach(d, volume_id, 'two')
    assert d.engine.fences.unfence_host(d.ctx, 'one').was_fenced
    attach(d, volume_id, 'one')


@pytest.mark.parametrize('name', ['compute1', 'Compute-1', 'compute-1.example.org', 'compute-2'])
def test_all_of_nothing_is_no_fence(d, name):
    """A misspelt host has nothing, and that proves nothing of the one that is meant."""
    row = attach(d, d.make_volume('multi'), 'compute-1')
    for more in ({}, {'out_of_service': True}, {}):
        found = d.engine.fences.fence_host(d.ctx, name, **more)
        assert (found.is_known, found.is_complete, found.near) == (False, False, ('compute-1',))
        assert found.attachments == []
    assert state(d, row) == 'attached'
    # It is marked all the same: it may be just about to attach.
    with pytest.raises(errors.Conflict, match=f'Host {name} is fenced'):
        attach(d, row.volume_id, name)
    found = d.engine.fences.fence_host(d.ctx, name, expected=True)
    assert (found.is_known, found.is_complete) == (False, True)


@pytest.mark.parametrize('name', ['compute-1 ', ' compute-1', 'compute-1\n', 'a\0b', ' ', '', 'x' * 256])
def test_what_can_be_no_name_is_refused_and_not_trimmed(d, name):
    for call in (d.engine.fences.fence_host, d.engine.fences.unfence_host):
        with pytest.raises(errors.InvalidInput, match='blanks at its ends'):
            call(d.ctx, name)
    with pytest.raises(errors.InvalidConnector, match='blanks at its ends'):
        attach(d, d.make_volume('multi'), name)


def test_who_knows_a_host(d):
    """An attachment of Nova's, one that is gone, an agent, a server: each without any attachment left."""
    fence = d.engine.fences.fence_host
    gone = attach(d, d.make_volume('multi'), 'gone')
    d.engine.attachments.delete(d.ctx, gone.id)
    with d.db.writer() as session:
        session.add(
            models.Service(
                id=str(uuid.uuid4()), binary='multiattach-host', host='agent', availability_zone='nova', report={}
            )
        )
        session.add(
            models.Service(
                id=str(uuid.uuid4()), binary='multiattach-volume', host='storage', availability_zone='nova', report={}
            )
        )
    for name in ('gone', 'agent'):
        found = fence(d.ctx, name)
        assert (found.is_known, found.is_complete, found.attachments) == (True, True, []), name
        assert d.engine.fences.unfence_host(d.ctx, name).was_fenced
        again = d.engine.fences.unfence_host(d.ctx, name)
        assert (again.was_fenced, again.is_known) == (False, True), name
    assert not fence(d.ctx, 'storage').is_known, 'it has volumes, and no servers'


def test_to_unfence_a_misspelt_host_is_no_success(d):
    d.engine.fences.fence_host(d.ctx, 'compute-1', expected=True)
    found = d.engine.fences.unfence_host(d.ctx, 'compute1')
    assert (found.was_fenced, found.is_known, found.near) == (False, False, ('compute-1',))
    with pytest.raises(errors.NotFound, match='Did you mean compute-1'):
        d.engine.hosts.show(d.ctx, 'COMPUTE-1')
    assert d.engine.hosts.show(d.ctx, 'compute-1').fenced is not None


def test_out_of_service_leaves_no_attachment(d):
    rows = [attach(d, d.make_volume('multi'), 'one') for _ in range(2)]
    d.engine.fences.fence_host(d.ctx, 'one', out_of_service=True)
    for row in rows:
        with pytest.raises(errors.AttachmentNotFound):
            d.engine.attachments.show(d.ctx, row.id)
        assert d.status(row.volume_id) == 'available'
        assert events(d, row)[-2:] == ['fenced', 'remove']


@pytest.mark.parametrize(
    ('context', 'error'),
    [
        (make_context(admin=False, roles=('member', 'reader')), errors.NotAuthorized),
        (make_context('b' * 32, admin=False, roles=('member', 'reader')), errors.AttachmentNotFound),
        (make_context('b' * 32, admin=False, roles=('service',), service_roles=('service',)), None),
    ],
)
def test_admins_and_services_only(d, context, error):
    row = attach(d, d.make_volume('multi'), 'one')
    if error is None:
        assert d.engine.fences.fence_attachment(context, row.id)[0].proof
        assert d.engine.fences.fence_host(context, 'one').is_complete
        assert d.engine.fences.unfence_host(context, 'one').was_fenced
        return
    with pytest.raises(error):
        d.engine.fences.fence_attachment(context, row.id)
    for call in (d.engine.fences.fence_host, d.engine.fences.unfence_host):
        with pytest.raises(errors.NotAuthorized):
            call(context, 'one')
    assert state(d, row) == 'attached'
