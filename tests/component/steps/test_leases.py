# SPDX-License-Identifier: Apache-2.0
"""Leases on a real database: who takes what, what is tried again, and that quick steps cost nothing."""

import concurrent.futures
import contextlib
import datetime
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import leases as db_leases, models
from multiattach.db.transitions import Actor, move_attachment
from multiattach.domain import errors
from multiattach.domain.leases import Lease, LeaseRules
from multiattach.steps.leases import ATTACHMENT, WORKER_STEPS, Due, Step, StepLeases
from tests.deployments import embedded

RULES = LeaseRules(duration=30.0, max_attempts=3, pause=2.0)


class Bench:
    """An attachment in ``exporting`` that nobody is told of, and two workers' leases."""

    def __init__(self, deployed: embedded.Deployment) -> None:
        self.deployed = deployed
        self.gone: set[str] = set()
        self.one, self.two = self.make('volume.one'), self.make('volume.two')
        deployed.make_type()
        self.volume_id = deployed.make_volume()
        self.ident = deployed.engine.attachments.create(deployed.ctx, self.volume_id, str(uuid.uuid4()), None, None).id
        with deployed.db.writer() as session:
            move_attachment(
                session,
                self.ident,
                'export',
                Actor('test'),
                connector={'host': 'a'},
                initiator='iqn.1994-05.com.redhat:a',
                attached_host='a',
            )
        self.given_up: list[str] = []

    def make(self, member: str, *, is_alone: bool = False) -> StepLeases:
        return StepLeases(
            self.deployed.db, RULES, 'volume', member, lambda name: name in self.gone, WORKER_STEPS, is_alone=is_alone
        )

    def step(self) -> Step:
        with self.deployed.db.reader() as session:
            found = db_leases.read_step(session, ATTACHMENT, self.ident)
        assert found is not None
        return Step(ATTACHMENT, self.ident, found[1])

    def age(self, seconds: float, **columns: float) -> None:
        """Set the step, and columns of its lease, back in time."""
        past = models.now() - datetime.timedelta(seconds=seconds)
        moments = {name: models.now() - datetime.timedelta(seconds=value) for name, value in columns.items()}
        with self.deployed.db.writer() as session:
            session.execute(
                sa.update(models.Attachment).where(models.Attachment.id == self.ident).values(state_at=past)
            )
            session.execute(sa.update(models.StepLease).values(since=past, **moments))

    def lease(self) -> Lease | None:
        with self.deployed.db.reader() as session:
            return db_leases.list_of(session, [self.ident]).get(self.ident)

    def due(self, leases: StepLeases) -> list[Due]:
        return leases.list_due([self.step()])

    def give_up(self, error: str) -> None:
        self.given_up.append(error)

    def fail(self, leases: StepLeases, error: Exception | None = None) -> None:
        with pytest.raises(errors.OutcomeUnknown), leases.attempt(ATTACHMENT, self.ident, self.give_up):
            raise error or errors.OutcomeUnknown('The target does not answer.')

    def fail_inside(self, leases: StepLeases) -> None:
        with leases.attempt(ATTACHMENT, self.ident, self.give_up):
            raise errors.OutcomeUnknown('The target does not answer.')

    def restart_step(self) -> None:
        """Write the step anew, as a request that is repeated does."""
        with self.deployed.db.writer() as session:
            move_attachment(session, self.ident, 'export', Actor('test'))

    def end(self) -> None:
        with self.deployed.db.writer() as session:
            move_attachment(session, self.ident, 'exported', Actor('test'))


@pytest.fixture
def bench(tmp_path: Any) -> Iterator[Bench]:
    with embedded.deploy(tmp_path, report_interval=3600) as deployed:
        yield Bench(deployed)


def count_statements(bench: Bench) -> list[str]:
    seen: list[str] = []
    for engine in {bench.deployed.db.engine, bench.deployed.db.read_engine}:
        sa.event.listen(engine, 'before_cursor_execute', lambda *args: seen.append(args[2]))
    return seen


def test_a_quick_step_costs_no_statement(bench: Bench) -> None:
    seen = count_statements(bench)
    with bench.one.attempt(ATTACHMENT, bench.ident, bench.give_up):
        bench.one.keep()
    with pytest.raises(errors.BackendError), bench.one.attempt(ATTACHMENT, bench.ident, bench.give_up):
        raise errors.BackendError('refused')  # a result, too
    bench.one.keep()
    assert bench.one.list_due([]) == []
    assert seen == []


def test_who_asks_again_begins_anew(bench: Bench) -> None:
    """Ten deletes in a row by an impatient user are not ten attempts of the service."""
    for _ in range(RULES.max_attempts + 1):
        bench.fail(bench.one)
        with bench.deployed.db.writer() as session:
            move_attachment(session, bench.ident, 'export', Actor('test'))
    assert bench.given_up == []
    bench.fail(bench.one)
    found = bench.lease()
    assert found is not None
    assert found.attempts == 1


def test_an_order_is_not_raced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.due(bench.two) == []
    later = models.now() + datetime.timedelta(seconds=20)
    monkeypatch.setattr(models, 'now', lambda: later)
    assert bench.due(bench.two) == []
    much_later = later + datetime.timedelta(seconds=11)
    monkeypatch.setattr(models, 'now', lambda: much_later)
    assert len(bench.due(bench.two)) == 1


def test_at_its_start_a_worker_takes_what_one_of_its_name_may_have_left(bench: Bench) -> None:
    assert len(bench.due(bench.make('volume.one'))) == 1


def test_what_a_dead_member_may_have_had_is_taken(bench: Bench) -> None:
    assert bench.due(bench.two) == []
    bench.two.orphan()
    assert len(bench.due(bench.two)) == 1


def test_what_is_in_hand_here_is_left_alone(bench: Bench) -> None:
    bench.age(1000)
    with bench.one.attempt(ATTACHMENT, bench.ident, bench.give_up):
        assert bench.due(bench.one) == []
        assert len(bench.due(bench.two)) == 1
    assert len(bench.due(bench.one)) == 1


def test_a_slow_step_is_not_mistaken_for_a_dead_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.age(1000)
    monkeypatch.setattr(LeaseRules, 'renewal', 0.0)
    with bench.one.attempt(ATTACHMENT, bench.ident, bench.give_up):
        bench.one.keep()
        assert bench.due(bench.two) == []
        first = bench.lease()
        assert first is not None
        assert (first.owner, first.attempts, first.retry_at) == (bench.one.owner, 0, None)
        seen = count_statements(bench)
        bench.one.keep()
        assert len([one for one in seen if not one.startswith('BEGIN')]) == 1
        again = bench.lease()
        assert again is not None
        assert again.until > first.until
    assert bench.lease() is None


def test_the_lease_of_a_dead_worker_is_taken_over(bench: Bench) -> None:
    bench.age(31)
    bench.one.carry_on(bench.due(bench.one)[0], lambda: None, None)  # it dies here
    assert bench.due(bench.two) == []
    bench.gone.add('volume.one')
    (due,) = bench.due(bench.two)
    ran: list[int] = []
    assert bench.two.carry_on(due, lambda: ran.append(1), bench.give_up)
    taken = bench.lease()
    assert ran == [1]
    assert taken is not None
    assert (taken.owner, taken.attempts) == (bench.two.owner, 2)


def test_a_lease_that_ran_out_is_taken_over(bench: Bench) -> None:
    bench.age(31)
    bench.one.carry_on(bench.due(bench.one)[0], lambda: None, None)
    bench.age(100, lease_until=1)
    assert bench.two.carry_on(bench.due(bench.two)[0], lambda: None, None)


def test_a_process_of_the_same_name_is_another_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.age(31)
    bench.one.carry_on(bench.due(bench.one)[0], lambda: None, None)
    after = bench.make('volume.one')
    monkeypatch.setattr(after, 'owner', after.owner[:-1] + '!')
    assert len(bench.due(after)) == 1


def test_of_many_that_want_a_step_one_gets_it(bench: Bench) -> None:
    for _ in range(5):
        bench.age(31, lease_until=1)
        crowd = [bench.make(f'volume.{number}') for number in range(8)]
        dues = [bench.due(one)[0] for one in crowd]
        start, ran = threading.Barrier(8), []

        def take(number: int) -> bool:
            start.wait(10)  # noqa: B023
            return crowd[number].carry_on(dues[number], lambda: ran.append(number), None)  # noqa: B023

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(take, range(8))) == [False] * 7 + [True]
        assert len(ran) == 1


def test_an_attempt_without_a_result_is_tried_again_later(bench: Bench) -> None:
    bench.fail(bench.one)
    found = bench.lease()
    assert found is not None
    assert found.retry_at is not None
    assert (found.attempts, found.error) == (1, 'The target does not answer.')
    assert 0 < (found.retry_at - models.now()).total_seconds() <= 2
    bench.age(100)
    assert bench.due(bench.one) == bench.due(bench.two) == []
    bench.age(100, retry_at=1, lease_until=1)
    (due,) = bench.due(bench.two)
    with pytest.raises(errors.OutcomeUnknown):
        bench.two.carry_on(due, lambda: bench.fail_inside(bench.two), bench.give_up)
    again = bench.lease()
    assert again is not None
    assert (again.attempts, again.owner) == (2, bench.two.owner)


def test_an_unexpected_failure_tells_no_secret(bench: Bench) -> None:
    bench.fail(bench.one, RuntimeError('password hunter2'))
    found = bench.lease()
    assert found is not None
    assert found.error == 'unexpected failure (RuntimeError); the log has the rest'


def test_the_last_attempt_ends_the_step_and_says_why(bench: Bench) -> None:
    for _ in range(RULES.max_attempts):
        assert bench.given_up == []
        bench.fail(bench.one)
    assert bench.given_up == ['given up after 3 attempts: The target does not answer.']
    assert bench.lease() is None


def test_a_step_that_kills_whoever_takes_it_is_given_up(bench: Bench) -> None:
    bench.age(31)
    runs = 0

    def die() -> None:
        nonlocal runs
        runs += 1

    for _ in range(RULES.max_attempts):
        bench.age(100, lease_until=1)
        bench.make('volume.any').carry_on(bench.due(bench.two)[0], die, bench.give_up)
    assert runs == RULES.max_attempts - 1
    assert bench.given_up == ['given up after 3 attempts: whoever was at it was lost each time']


def test_what_cannot_be_given_up_now_is_tried_again(bench: Bench) -> None:
    def refuse(_error: str) -> None:
        raise errors.OutcomeUnknown('The lock cannot be taken.')

    bench.give_up = refuse  # type: ignore[method-assign]
    for _ in range(RULES.max_attempts + 1):
        bench.fail(bench.one)
    found = bench.lease()
    assert found is not None
    assert found.attempts == RULES.max_attempts + 1


def test_to_give_up_is_no_attempt(bench: Bench) -> None:
    def refuse(_error: str) -> None:
        raise errors.OutcomeUnknown('The lock cannot be taken.')

    bench.give_up = refuse  # type: ignore[method-assign]
    for _ in range(RULES.max_attempts):
        bench.fail(bench.one)
    for give_up in (refuse, refuse, bench.given_up.append):
        with contextlib.suppress(errors.OutcomeUnknown):
            bench.age(100, retry_at=1, lease_until=1)
            bench.one.carry_on(bench.due(bench.one)[0], lambda: bench.fail_inside(bench.one), give_up)
    assert bench.given_up == ['given up after 3 attempts: The target does not answer.']


def test_an_attempt_that_fails_after_the_step_ended_leaves_nothing(bench: Bench) -> None:
    bench.fail(bench.one)
    bench.end()
    bench.fail(bench.one)
    assert bench.lease() is None


def test_one_that_wakes_up_late_takes_nothing_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.age(31)
    monkeypatch.setattr(LeaseRules, 'renewal', 0.0)
    with bench.one.attempt(ATTACHMENT, bench.ident, bench.give_up):
        bench.one.keep()
        bench.age(100, lease_until=1)  # it slept
        assert bench.two.carry_on(bench.due(bench.two)[0], lambda: None, None)
        bench.one.keep()
        taken = bench.lease()
        assert taken is not None
        assert taken.owner == bench.two.owner
    assert bench.lease() == taken
    bench.fail(bench.one)
    assert bench.lease() == taken


def test_a_repeated_request_is_a_new_step(bench: Bench) -> None:
    bench.fail(bench.one)
    with bench.deployed.db.writer() as session:
        move_attachment(session, bench.ident, 'export', Actor('test'))
    assert bench.due(bench.two) == []  # of whoever got the new order
    bench.fail(bench.two)
    found = bench.lease()
    assert found is not None
    assert (found.owner, found.attempts) == (bench.two.owner, 1)


def test_what_nobody_forgot_is_swept(bench: Bench) -> None:
    bench.fail(bench.one)
    bench.age(0, lease_until=1)
    bench.two.sweep()
    assert bench.lease() is not None  # its step is in flight
    bench.end()
    bench.two.sweep()
    assert bench.lease() is None
