# SPDX-License-Identifier: Apache-2.0
"""Drift within the database, and between the database and Nova; and steps in flight, which are none."""

import datetime
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from keystoneauth1 import adapter, noauth, session

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules, Seen
from multiattach.drivers.nova.client import NovaServers
from multiattach.drivers.targets.null import NullTarget
from multiattach.steps.ledger import Repair
from multiattach.volume.nova_check import NovaCheck
from tests.functional.reconcile.conftest import Bench
from tests.functional.reconcile.hands import STRANGER
from tests.functional.reconcile.stand_in import StandInServers


def long_ago(seconds: float = 100_000) -> datetime.datetime:
    return models.now() - datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ('status', 'attached'), [('available', True), ('in-use', False), ('detaching', True), ('reserved', False)]
)
def test_a_status_that_disagrees_with_the_attachments(bench: Bench, status: str, attached: bool) -> None:
    volume = bench.deployed.make_volume('multi')
    if attached:
        bench.attach(volume)
    bench.write(models.Volume, volume, status=status)
    [seen] = bench.look()
    assert (seen.kind, seen.volume_id, seen.about, seen.outcome) == (Drift.STATUS, volume, status, 'found')
    assert [one.outcome for one in bench.look(fix=None)] == ['repaired']
    assert bench.deployed.status(volume) == ('in-use' if attached else 'available')
    assert bench.look() == []


@pytest.mark.parametrize('status', ['maintenance', 'error', 'extending'])
def test_a_status_of_its_own_is_left_alone(bench: Bench, status: str) -> None:
    volume = bench.deployed.make_volume('multi')
    bench.attach(volume)
    bench.write(models.Volume, volume, status=status)
    assert bench.look(fix=True) == []


def test_a_reservation_that_nobody_used(bench: Bench) -> None:
    volume = bench.deployed.make_volume('multi')
    old, young = bench.reserve(volume), bench.reserve(volume)
    of_server = bench.reserve(volume, str(uuid.uuid4()))
    attached = bench.attach(volume)
    for ident in (old, of_server, attached.id):
        bench.write(models.Attachment, ident, state_at=long_ago())
    assert {(one.kind, one.attachment_id, one.outcome) for one in bench.look_twice()} == {
        (Drift.RESERVATION, old, 'repaired'),
        (Drift.RESERVATION_OF_SERVER, of_server, 'reported'),
    }
    assert not bench.exists(old)
    assert all(map(bench.exists, (young, of_server, attached.id)))
    assert bench.kinds() == [Drift.RESERVATION_OF_SERVER]


def test_a_host_that_connects_just_in_time_keeps_its_place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = bench.reserve(bench.deployed.make_volume('multi'))
    bench.write(models.Attachment, ident, state_at=long_ago())
    reconciler, attachments = bench.deployed.reconciler, bench.deployed.engine.attachments
    find_step = reconciler.find_step

    def connect_first(one: Seen) -> Repair:
        attachments.connect(bench.deployed.ctx, ident, {'host': 'one', 'initiator': 'iqn.1994-05.com.example:one'})
        return find_step(one)

    monkeypatch.setattr(reconciler, 'find_step', connect_first)
    [seen] = bench.look(fix=True)
    assert (seen.kind, seen.outcome) == (Drift.RESERVATION, 'failed')
    assert bench.exists(ident)
    assert bench.look() == []


def test_reservations_of_servers_go_if_the_operator_says_so(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(rules=DriftRules({Drift.RESERVATION_OF_SERVER: 'repair'}, reservation_age=60))
    volume = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume, str(uuid.uuid4()))
    bench.write(models.Attachment, ident, state_at=long_ago(61))
    assert [one.outcome for one in bench.look_twice()] == ['repaired']
    assert not bench.exists(ident)
    assert bench.deployed.status(volume) == 'available'


def test_a_step_that_stands_still_is_reported(bench: Bench) -> None:
    volume = bench.deployed.make_volume('multi')
    row = bench.attach(volume)
    bench.write(models.Attachment, row.id, state='unexporting', state_at=long_ago(700))
    bench.write(models.Volume, volume, status='detaching')
    [seen] = bench.look(fix=True)
    assert (seen.kind, seen.outcome, seen.attachment_id) == (Drift.STUCK_STEP, 'reported', row.id)
    with bench.deployed.db.writer() as session:
        session.add(
            models.StepLease(
                ident=row.id,
                since=long_ago(700),
                owner='somebody',
                attempts=0,
                lease_until=models.now() + datetime.timedelta(seconds=30),
            )
        )
    assert bench.look() == [], 'it is slow, and somebody is at it'
    with bench.deployed.db.writer() as session:
        session.execute(sa.delete(models.StepLease))
    bench.deployed.exporter.resume()
    assert bench.look() == []


# -- Nova ------------------------------------------------------------------------------------------


@pytest.fixture
def nova() -> Iterator[StandInServers]:
    with StandInServers() as running:
        yield running


def make_check(nova: StandInServers, most: int = 100) -> NovaCheck:
    client = adapter.Adapter(
        session.Session(auth=noauth.NoAuth(endpoint=nova.url)), service_type='compute', endpoint_override=nova.url
    )
    return NovaCheck(NovaServers(client), most)


@pytest.mark.every_target
def test_a_server_that_nova_had_is_gone(make_bench: Callable[..., Bench], nova: StandInServers) -> None:
    bench = make_bench(nova=make_check(nova))
    volume = bench.deployed.make_volume('multi')
    gone, kept = bench.attach(volume, 'one', nova.make()), bench.attach(volume, 'two', nova.make())
    assert bench.look(fix=None) == []
    nova.servers.discard(str(gone.instance_uuid))  # its row is gone
    assert [(one.kind, one.outcome) for one in bench.look()] == [(Drift.SERVER_GONE, 'found')]
    [done] = bench.look(fix=None)
    assert (done.kind, done.outcome, done.attachment_id) == (Drift.SERVER_GONE, 'repaired', gone.id)
    assert not bench.exists(gone.id)
    assert bench.exists(kept.id)
    assert bench.deployed.target.list_exports()[volume].initiators == (kept.initiator,)
    assert bench.deployed.status(volume) == 'in-use'
    assert bench.look() == []


def test_a_server_that_nova_deleted_before_this_worker_came(
    make_bench: Callable[..., Bench], nova: StandInServers
) -> None:
    bench = make_bench(nova=make_check(nova))
    volume = bench.deployed.make_volume('multi')
    row = bench.attach(volume, server=nova.make(deleted=True))
    assert [(one.kind, one.outcome) for one in bench.look_twice()] == [(Drift.SERVER_GONE, 'repaired')]
    assert not bench.exists(row.id)
    assert bench.deployed.status(volume) == 'available'
    assert bench.deployed.target.list_exports() == {}


def test_a_server_that_nova_never_knew_may_be_bare_metal(
    make_bench: Callable[..., Bench], nova: StandInServers
) -> None:
    bench = make_bench(nova=make_check(nova))
    row = bench.attach(bench.deployed.make_volume('multi'))
    assert [(one.kind, one.outcome) for one in bench.look(fix=True)] == [(Drift.SERVER_UNKNOWN, 'reported')]
    assert bench.exists(row.id)


def test_a_place_for_a_server_that_nova_is_about_to_make_waits(
    make_bench: Callable[..., Bench], nova: StandInServers
) -> None:
    bench = make_bench(nova=make_check(nova), rules=DriftRules({Drift.SERVER_UNKNOWN: 'repair'}))
    bench.attach(bench.deployed.make_volume('multi'), server=nova.make())
    ident = bench.reserve(bench.deployed.make_volume('multi'), str(uuid.uuid4()))
    assert [(one.kind, one.outcome) for one in bench.look(fix=True)] == [(Drift.SERVER_UNKNOWN, 'waiting')]
    bench.write(models.Attachment, ident, state_at=long_ago(301))
    assert [one.outcome for one in bench.look(fix=None)] == ['repaired']
    assert not bench.exists(ident)


@pytest.mark.parametrize(
    ('status', 'body'),
    [
        (403, {'forbidden': {'code': 403, 'message': 'all_tenants'}}),
        (404, 'not here'),
        (500, {}),
        (200, {'something': []}),
        (200, 'no json'),
    ],
)
def test_a_nova_that_cannot_tell_takes_nothing_away(
    make_bench: Callable[..., Bench], nova: StandInServers, status: int, body: object
) -> None:
    bench = make_bench(nova=make_check(nova), rules=DriftRules({Drift.SERVER_UNKNOWN: 'repair'}))
    row = bench.attach(bench.deployed.make_volume('multi'))
    nova.trouble = status, body
    assert bench.look(fix=True) == []
    assert bench.exists(row.id)
    [[account, _reason]] = bench.deployed.reconciler.reconcile(False)['unread'].items()
    assert account == 'Nova'
    asked = len(nova.asked)
    assert bench.look(fix=None) == []
    assert len(nova.asked) == asked, 'it is left in peace for some rounds'


@pytest.mark.every_target
def test_many_servers_that_are_gone_at_once_wait_for_a_person(
    make_bench: Callable[..., Bench], nova: StandInServers
) -> None:
    bench = make_bench(nova=make_check(nova), rules=DriftRules(most=2))
    volume = bench.deployed.make_volume('multi')
    kept = bench.attach(volume, 'kept', nova.make())
    rows = [bench.attach(volume, f'host-{number}', nova.make()) for number in range(3)]
    bench.look(fix=None)
    nova.servers &= {str(kept.instance_uuid)}
    for fix in (None, False, None, True):
        found = bench.look(fix)
        assert {one.outcome for one in found} == {'waiting'}
        assert 'take away 3 of 4 at once, and more than 2 wait for a person' in str(found[0].error)
    assert all(bench.exists(row.id) for row in rows)
    assert {one.outcome for one in bench.look(fix=True, release=(str(found[0].seal),))} == {'repaired'}
    assert not any(bench.exists(row.id) for row in rows)
    assert bench.exists(kept.id)


def test_a_nova_that_has_no_server_at_all_is_not_believed(
    make_bench: Callable[..., Bench], nova: StandInServers
) -> None:
    """It may have lost its database: of one server it has to say itself that it was deleted."""
    bench = make_bench(nova=make_check(nova))
    rows = [bench.attach(bench.deployed.make_volume('multi'), server=nova.make()) for _ in range(2)]
    bench.look(fix=None)
    servers = [str(row.instance_uuid) for row in rows]
    nova.servers.clear()
    for fix in (None, None, True):
        found = bench.look(fix)
        assert [one.outcome for one in found] == ['waiting', 'waiting']
        assert 'Nova has none of the servers' in str(found[0].error)
    nova.deleted.add(servers[0])
    assert {one.attachment_id: one.outcome for one in bench.look(fix=None)} == {
        rows[0].id: 'repaired',
        rows[1].id: 'waiting',
    }
    nova.servers.add(servers[1])
    assert bench.look(fix=None) == []
    assert bench.exists(rows[1].id)


def test_a_round_asks_for_a_few_servers_and_comes_round_to_all(
    make_bench: Callable[..., Bench], nova: StandInServers
) -> None:
    bench = make_bench(nova=make_check(nova, most=2))
    volume = bench.deployed.make_volume('multi')
    rows = [bench.attach(volume, f'host-{number}', nova.make()) for number in range(5)]
    for _ in range(3):
        nova.asked.clear()
        bench.look(fix=None)
        assert len(nova.asked) == 2
    nova.servers.discard(str(rows[0].instance_uuid))
    outcomes = [one.outcome for _ in range(4) for one in bench.look(fix=None)]
    assert outcomes == ['waiting', 'repaired']


@pytest.mark.parametrize(
    ('shown', 'found'),
    [
        ({'status': 'ACTIVE', 'OS-EXT-SRV-ATTR:host': 'c1'}, True),
        ({'status': 'SHUTOFF', 'OS-EXT-SRV-ATTR:host': 'c1'}, True),
        ({'status': 'SHELVED_OFFLOADED', 'OS-EXT-SRV-ATTR:host': None}, False),
        ({'status': 'SHELVED_OFFLOADED', 'OS-EXT-SRV-ATTR:host': 'c1'}, False),  # it is about to come back
        ({'status': 'BUILD', 'OS-EXT-SRV-ATTR:host': 'c1'}, False),
        ({'status': 'ACTIVE'}, False),
    ],
)
def test_nova_tells_whether_a_server_is_on_a_host(
    nova: StandInServers, shown: dict[str, str | None], found: bool
) -> None:
    server = nova.make()
    nova.shown[server] = shown
    assert make_check(nova).find_on_host([server, str(uuid.uuid4())]) == ({server} if found else set())


# -- steps in flight -------------------------------------------------------------------------------


@pytest.mark.every_target
@pytest.mark.parametrize('real', [pytest.param(False, marks=pytest.mark.slow), True])
def test_steps_in_flight_are_no_drift(make_bench: Callable[..., Bench], real: bool) -> None:
    bench = make_bench() if real else make_bench(target=NullTarget())
    volumes = [bench.deployed.make_volume('multi') for _ in range(2)]
    kept = bench.attach(volumes[0], 'kept')
    found, stop = [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            found.extend(bench.look(fix=True))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(50):
            for volume in volumes:
                row = bench.attach(volume, f'host-{number % 3}')
                bench.deployed.engine.attachments.delete(bench.deployed.ctx, row.id)
    finally:
        stop.set()
        looking.join()
    assert found == []
    assert bench.deployed.target.list_exports()[volumes[0]].initiators == (kept.initiator,)
    assert volumes[1] not in bench.deployed.target.list_exports()


@pytest.mark.every_target
def test_a_round_by_itself_repairs_within_one_interval(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(reconcile_interval=0.4)
    volume = bench.deployed.make_volume('multi')
    bench.attach(volume)
    bench.write(models.Volume, volume, status='available')
    bench.hands.remove_target(volume)
    bench.deployed.wait(
        lambda: volume in bench.deployed.target.list_exports() and bench.deployed.status(volume) == 'in-use', 5
    )


@pytest.mark.every_target
def test_a_worker_that_was_away_for_an_hour_finds_its_house_in_order(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(start_worker=False, reconcile_interval=60.0)
    bench.deployed.worker.start()
    try:
        gone, kept = (bench.deployed.make_volume('multi') for _ in range(2))
        rows = [bench.attach(gone), bench.attach(kept)]
    finally:
        bench.deployed.worker.stop()
    hour = long_ago(3600)
    bench.write(models.Attachment, rows[0].id, deleted_at=hour, state='detached')
    bench.write(models.Volume, kept, status='available')
    bench.hands.admit(kept, STRANGER)
    bench.deployed.reconciler.due = 0.0  # as in a new process
    bench.deployed.worker.start()
    try:
        target = bench.deployed.target
        bench.deployed.wait(
            lambda: (
                gone not in target.list_exports()
                and bench.deployed.status(kept) == 'in-use'
                and bench.deployed.status(gone) == 'available'
                and target.list_exports()[kept].initiators == (rows[1].initiator,)
            ),
            10,
        )
        bench.login(rows[1]).close()
        assert bench.look() == []
    finally:
        bench.deployed.worker.stop()


def test_looks_of_a_person_do_not_put_off_the_round_that_repairs(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(target=NullTarget(), reconcile_interval=60.0)
    bench.deployed.reconciler.run()
    due = bench.deployed.reconciler.due
    volume = bench.deployed.make_volume()
    bench.write(models.Volume, volume, status='in-use')
    assert [one.kind for one in bench.look()] == [Drift.STATUS]
    assert bench.deployed.reconciler.due <= due
