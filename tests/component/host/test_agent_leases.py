# SPDX-License-Identifier: Apache-2.0
"""The agent's steps under leases: retries that end in an error that says why, and an hour of absence."""

import datetime

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.errors import ConnectorTimeout, HypervisorUnavailable
from multiattach.host.agent import HostAgent

from .conftest import Bench

BOUNDED = LeaseRules(duration=30.0, max_attempts=3, pause=0.0)


def start(bench: Bench) -> HostAgent:
    return bench.start_agent(rules=BOUNDED)


def count_leases(bench: Bench) -> int:
    with bench.deployed.db.reader() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(models.StepLease)) or 0


def make_older(bench: Bench, seconds: float) -> None:
    past = models.now() - datetime.timedelta(seconds=seconds)
    with bench.deployed.db.writer() as session:
        session.execute(sa.update(models.Attachment).values(state_at=past))


def unavailable() -> None:
    raise HypervisorUnavailable('libvirt does not answer')


def test_a_message_is_not_raced(bench: Bench) -> None:
    agent = start(bench)
    ident = bench.reserve(bench.deployed.make_volume('multi'))
    agent.resume()
    assert bench.state(ident) == 'reserved'
    make_older(bench, 31)
    agent.resume()
    assert bench.state(ident) == 'attached'
    assert count_leases(bench) == 0


def test_an_agent_that_starts_takes_up_what_was_left_at_once(bench: Bench) -> None:
    ident = bench.reserve(bench.deployed.make_volume('multi'))
    start(bench).resume()
    assert bench.state(ident) == 'attached'


def test_an_attach_is_given_up_with_the_reason(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    bench.hypervisor.trouble['attach'] = unavailable
    agent = start(bench)
    agent.attach({}, ident)
    for _ in range(2):
        assert bench.state(ident) == 'connecting'
        agent.resume()
    assert bench.state(ident) == 'error_attaching'
    error = bench.row(ident).error
    assert error is not None
    assert 'given up after 3 attempts: libvirt does not answer' in error
    assert count_leases(bench) == 0
    bench.check_gone(volume_id)


def test_it_ends_even_if_nothing_on_the_host_answers(bench: Bench) -> None:
    """The target turns the host away: what is left there can do no harm."""
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    agent = start(bench)
    bench.hypervisor.trouble['attach'] = bench.hypervisor.trouble['detach'] = unavailable
    agent.attach({}, ident)
    for _ in range(2):
        agent.resume()
    assert bench.state(ident) == 'error_attaching'
    assert bench.admitted(volume_id) == ()


def test_a_detach_is_given_up_and_may_be_asked_for_again(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    bench.ask_detach(volume_id)

    def hang() -> None:
        raise ConnectorTimeout('no end in time')

    bench.connector.trouble['disconnect'] = hang
    agent = start(bench)
    agent.detach({}, ident)
    for _ in range(2):
        assert bench.state(ident) == 'detaching'
        agent.resume()
    assert bench.state(ident) == 'error_detaching'
    assert 'given up' in (bench.row(ident).error or '')
    bench.connector.trouble.clear()
    bench.ask_detach(volume_id)
    agent.detach({}, ident)
    bench.check_gone(volume_id)


def test_an_export_that_the_worker_gave_up_is_not_asked_for_for_ever(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    agent = start(bench)
    with bench.deployed.db.writer() as session:
        session.execute(sa.update(models.Attachment).values(error='export volume: given up after 10 attempts'))
    agent.attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    assert 'given up' in (bench.row(ident).error or '')


def test_an_agent_that_was_dead_for_an_hour_finds_its_house_in_order(bench: Bench) -> None:
    """Nothing is resurrected, nothing is lost."""
    engine, ctx = bench.deployed.engine, bench.deployed.ctx
    kept, leaving, coming, cancelled = (bench.deployed.make_volume('multi') for _ in range(4))
    stays, goes = bench.attach(kept), bench.attach(leaving, 1)
    bench.ask_detach(leaving, 1)
    comes = bench.reserve(coming)
    gone = bench.reserve(cancelled, 1)
    engine.attachments.delete(ctx, gone)
    make_older(bench, 3600)
    agent = start(bench)
    agent.resume()
    bench_states = {ident: bench.state(ident) for ident in (stays, goes, comes, gone)}
    assert bench_states == {stays: 'attached', goes: 'detached', comes: 'attached', gone: 'detached'}
    assert bench.hypervisor.holders(kept)
    assert bench.hypervisor.holders(coming)
    assert bench.hypervisor.holders(leaving) == set()
    assert bench.connector.sessions == {kept, coming}
    assert bench.deployed.status(leaving) == 'available'
    assert bench.hypervisor.holders(cancelled) == set()
    agent.detach({}, goes)  # a message that was an hour on its way
    agent.attach({}, gone)
    assert {ident: bench.state(ident) for ident in bench_states} == bench_states
    assert count_leases(bench) == 0


def test_what_is_given_up_and_cannot_be_written_stays_due(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    bench.hypervisor.trouble['attach'] = unavailable
    agent = start(bench)

    def refuse(*_args: object) -> None:
        raise errors.Unavailable('the database is away')

    with monkeypatch.context() as patch:
        patch.setattr(bench.engine_side, 'fail_attach', refuse)
        agent.attach({}, ident)
        for _ in range(4):
            agent.resume()
        assert bench.state(ident) == 'connecting'
    agent.resume()
    assert bench.state(ident) == 'error_attaching'
