# SPDX-License-Identifier: Apache-2.0
"""The tables of states and the rules of sharing, driven at random over real rows."""

import itertools
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from multiattach.db import attachments as db_attachments, locks, models, transitions, volumes as db_volumes
from multiattach.db.database import Database
from multiattach.domain import errors, sharing, states
from tests.histories.truth import check_timeline

A, V = states.Attachment, states.Volume
ACTOR = transitions.Actor('api')
SERVERS = [str(uuid.UUID(int=number)) for number in range(3)]
TYPE = str(uuid.uuid4())
# What each owner does with a row that is its to move (engine/exports.py, engine/host_attachments.py).
OWNED = {
    states.Owner.VOLUME: ('exported', 'export_failed', 'remove', 'attach_failed', 'detach_failed', 'fenced'),
    states.Owner.HOST: ('complete', 'attach_failed', 'detach_refused', 'detach_failed', 'unexport'),
}
USER = ('export', 'complete', 'unexport', 'remove')
RESTING = (states.Owner.USER, states.Owner.NOBODY)


@pytest.fixture(scope='module')
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    # A file: what is in memory alone is gone with the connection that an error ends.
    made = Database(f'sqlite:///{tmp_path_factory.mktemp("model")}/model.sqlite')
    models.Base.metadata.create_all(made.engine)
    with made.writer() as session:
        session.add(models.VolumeType(id=TYPE, name='t', live_name='t'))
    yield made
    made.close()


class Machine(RuleBasedStateMachine):
    """One volume; every event of the tables is tried in every state, and most are refused."""

    database: Database
    attachments: Bundle[str] = Bundle('attachments')

    def __init__(self) -> None:
        super().__init__()
        self.volume = str(uuid.uuid4())
        self.status: str = V.AVAILABLE
        self.claim: str | None = None
        self.shared = False
        #: what the tables say, by attachment
        self.expected: dict[str, str] = {}
        self.servers: dict[str, str | None] = {}
        self.ended: dict[str, tuple[str, str]] = {}
        with self.database.writer() as session:
            session.add(
                models.Volume(
                    id=self.volume, project_id='p', size=1, volume_type_id=TYPE, multiattach=False, status=V.AVAILABLE
                )
            )

    # -- what may be done ----------------------------------------------------------------------

    @rule(shared=st.booleans())
    def retype(self, shared: bool) -> None:
        """As engine/actions.py: only while nobody has it."""
        if self.status == V.AVAILABLE and not self._placed():
            with self.database.writer() as session:
                db_volumes.update(session, self.volume, multiattach=shared)
            self.shared = shared

    @rule(target=attachments, server=st.sampled_from([*SERVERS, None]))
    def reserve(self, server: str | None) -> str:
        ident = str(uuid.uuid4())
        placed = self._placed()
        mine = sum(1 for one in placed if server is not None and self.servers[one] == server)
        try:
            with self.database.writer() as session:
                volume, _ = locks.lock_with_allowance(session, self.volume)
                room = locks.read_room(session, self.volume, server)
                servers = {self.servers[one] or one for one in placed}
                assert room == (mine, len(placed) > mine, len(servers))
                sharing.check_reserve(sharing.VolumeFacts(volume.status, volume.multiattach), room.mine, room.others)
                row = models.Attachment(id=ident, volume_id=self.volume, instance_uuid=server)
                transitions.add_attachment(session, row, ACTOR, volume, if_room=True)
        except errors.VolumeNotFound:
            assert self.status == V.DELETED
            return ident
        except errors.InvalidVolume:
            assert self.status not in states.DERIVED_STATUSES or mine >= sharing.MAX_PER_SERVER or not self.shared, (
                'refused without a reason'
            )
            return ident
        self.expected[ident], self.servers[ident] = A.RESERVED, server
        self._derive()
        return ident

    @rule(ident=attachments, event=st.sampled_from(sorted(states.ATTACHMENT_EVENTS)))
    def move(self, ident: str, event: str) -> None:
        row, state = states.ATTACHMENT_EVENTS[event], self.expected.get(ident)
        before = self._read(ident)
        try:
            with self.database.writer() as session:
                transitions.lock_and_move(session, ident, event, ACTOR)
        except errors.InvalidTransition:
            assert state not in row.sources
            assert self._read(ident) == before
            return
        assert state in row.sources
        assert row.target is not None
        self.expected[ident] = row.target
        if row.target == A.DETACHED:
            del self.expected[ident]
            self.ended[ident] = self._read(ident)
        self._derive()

    @rule(ident=consumes(attachments))
    def forget(self, ident: str) -> None:
        """A client that never comes back."""

    @rule(claim=st.sampled_from([*states.Claim, None]))
    def mark(self, claim: str | None) -> None:
        with self.database.writer() as session:
            transitions.derive_volume(session, self.volume, claim=claim)
        self.claim = claim
        self._derive()

    @precondition(lambda self: self.status != V.DELETED)
    @rule(event=st.sampled_from(sorted(set(states.VOLUME_EVENTS) - {'created', 'create_failed'})))
    def move_volume(self, event: str) -> None:
        row = states.VOLUME_EVENTS[event]
        if event in ('delete', 'force_delete') and self._placed():
            return  # engine/volumes.py refuses before
        try:
            with self.database.writer() as session:
                transitions.move_volume(session, self.volume, event)
                if event in ('delete', 'force_delete'):
                    db_attachments.remove_placeless(session, self.volume)
        except errors.InvalidTransition:
            assert self.status not in row.sources
            return
        assert self.status in row.sources
        if event in ('delete', 'force_delete'):
            for ident in list(self.expected):
                del self.expected[ident]
                self.ended[ident] = self._read(ident)
        self.status = row.target or states.derive_status(self._counts(), self.claim)

    # -- what holds always ---------------------------------------------------------------------

    @invariant()
    def rows_are_what_the_tables_say(self) -> None:
        """What is over stays so, and timelines follow the table; in one statement, as it is often asked."""
        a, v = models.Attachment, models.Volume
        with self.database.reader() as session:
            rows = session.execute(
                sa.select(v.status, a.id, a.state, a.timeline, a.deleted_at)
                .outerjoin(a, a.volume_id == v.id)
                .where(v.id == self.volume)
            ).all()
        assert {row.status for row in rows} == {self.status}
        assert {row.id: row.state for row in rows if row.id and row.deleted_at is None} == self.expected
        assert {row.id: (row.state, row.timeline) for row in rows if row.deleted_at is not None} == self.ended
        for row in rows:
            assert row.id is None or check_timeline(row.timeline, row.state) == []

    @invariant()
    def a_volume_for_one_server_has_one(self) -> None:
        # A fence may be asked for of what is cut off already; it lets nobody back in.
        placed = [one for one in self._placed() if self.expected[one] != A.FENCING]
        if not self.shared and placed:
            servers = [self.servers[one] for one in placed]
            assert len(placed) == 1 or (len(placed) == 2 and len(set(servers)) == 1 and None not in servers)

    @invariant()
    def everything_in_flight_has_a_way_out(self) -> None:
        for state in self.expected.values():
            assert _reaches_rest(state), state

    # -- shared --------------------------------------------------------------------------------

    def _placed(self) -> list[str]:
        return [ident for ident, state in self.expected.items() if state not in states.PLACELESS]

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for state in self.expected.values():
            counts[state] = counts.get(state, 0) + 1
        return counts

    def _derive(self) -> None:
        if self.status in states.DERIVED_STATUSES:
            self.status = states.derive_status(self._counts(), self.claim)

    def _read(self, ident: str) -> tuple[str, str]:
        with self.database.reader() as session:
            row = session.execute(
                sa.select(models.Attachment.state, models.Attachment.timeline).where(models.Attachment.id == ident)
            ).first()
        return (row.state, row.timeline) if row else ('', '')


def _reaches_rest(state: str) -> bool:
    """Tell whether owners alone bring a state to rest."""
    seen, left = set(), [state]
    while left:
        at = left.pop()
        owner = states.ATTACHMENT_STATES[A(at)].owner
        if owner in RESTING:
            return True
        if at not in seen:
            seen.add(at)
            left += [
                row.target
                for event in OWNED[owner]
                if at in (row := states.ATTACHMENT_EVENTS[event]).sources and row.target is not None
            ]
    return False


def test_random_walks(database: Database) -> None:
    Machine.database = database
    run_state_machine_as_test(
        Machine,
        settings=settings(  # type: ignore[no-untyped-call]
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_many_random_walks(database: Database) -> None:
    Machine.database = database
    run_state_machine_as_test(
        Machine,
        settings=settings(  # type: ignore[no-untyped-call]
            max_examples=1500, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize('state', list(A))
def test_each_state_comes_to_rest_by_its_owners(state: A) -> None:
    assert _reaches_rest(state)


@pytest.mark.parametrize('state', [one for one in A if one is not A.DETACHED])
def test_a_user_can_get_rid_of_each_state(state: A) -> None:
    """With what owners do in between; nothing of a host is needed where it is dead (a fence)."""
    seen, left = set(), [str(state)]
    while left:
        at = left.pop()
        if at == A.DETACHED:
            return
        if at in seen:
            continue
        seen.add(at)
        owner = states.ATTACHMENT_STATES[A(at)].owner
        events = OWNED[owner] if owner is states.Owner.VOLUME else (*USER, 'fence')
        left += [
            row.target
            for event in events
            if at in (row := states.ATTACHMENT_EVENTS[event]).sources and row.target is not None
        ]
    pytest.fail(f'{state} cannot be got rid of')


def test_the_end_is_the_end() -> None:
    assert not [row for row in states.ATTACHMENT_EVENTS.values() if A.DETACHED in row.sources]
    assert not [row for row in states.VOLUME_EVENTS.values() if V.DELETED in row.sources]


def test_the_worker_leaves_no_volume_in_flight() -> None:
    ways = {
        state: [
            row.event
            for row in states.VOLUME_EVENTS.values()
            if state in row.sources and row.target not in states.WORKER_STATUSES
        ]
        for state in states.WORKER_STATUSES
    }
    assert all(len(found) >= 2 for found in ways.values()), ways  # a good end and a bad one


def test_the_sum_of_derivations_is_a_total_order() -> None:
    """Whatever the attachments, exactly one status follows, and one more sharer never hides one attached."""
    for number in range(4):
        for chosen in itertools.combinations_with_replacement(list(A), number):
            counts: dict[str, int] = {}
            for state in chosen:
                counts[state] = counts.get(state, 0) + 1
            for claim in (None, *states.Claim):
                status = states.derive_status(counts, claim)
                assert status in states.DERIVED_STATUSES
                if counts.get(A.ATTACHED, 0) and claim != states.Claim.DETACHING:
                    assert status == V.IN_USE
