# SPDX-License-Identifier: Apache-2.0
"""Drift that rows show by themselves: marks, connectors that never came, and names that two hosts have."""

import datetime
import logging
import uuid
from collections.abc import Callable, Collection

import pytest

from multiattach import signals
from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.nova.client import ServerState
from multiattach.drivers.targets.null import NullTarget
from multiattach.engine.context import RequestContext
from multiattach.engine.legacy import LegacyAttach
from multiattach.volume.nova_check import NovaCheck
from tests.deployments import embedded
from tests.functional.reconcile.conftest import Bench

NAME = 'iqn.1994-05.com.example:cloned'


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(target=NullTarget())


def age(bench: Bench, volume: str, seconds: float = 7200) -> None:
    moment = models.now() - datetime.timedelta(seconds=seconds)
    bench.write(models.Volume, volume, claimed_at=moment)


# -- marks -----------------------------------------------------------------------------------------


def reserve(bench: Bench) -> tuple[str, str]:
    volume = bench.deployed.make_volume()
    bench.deployed.engine.actions.reserve(bench.deployed.ctx, volume)
    return volume, 'available'


def begin_detaching(bench: Bench) -> tuple[str, str]:
    volume = bench.deployed.make_volume()
    bench.attach(volume)
    bench.deployed.engine.actions.begin_detaching(bench.deployed.ctx, volume)
    return volume, 'in-use'


MARKS = [(Drift.RESERVE_MARK, reserve, 'attaching'), (Drift.DETACH_MARK, begin_detaching, 'detaching')]


@pytest.mark.parametrize(('kind', 'leave', 'status'), MARKS)
def test_a_mark_that_nobody_takes_back_is_reported_with_its_age(
    bench: Bench,
    kind: Drift,
    leave: Callable[[Bench], tuple[str, str]],
    status: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(signals.sink, 'drift', lambda *labels: counted.append(labels))
    volume, _after = leave(bench)
    assert bench.deployed.status(volume) == status
    assert bench.look(fix=True) == [], 'a mark that is young is at work'
    age(bench, volume)
    for fix in (False, None, True):
        [seen] = bench.look(fix)
        assert (seen.kind, seen.volume_id, seen.about, seen.outcome) == (kind, volume, status, 'reported')
    assert bench.deployed.status(volume) == status
    assert f'Drift {kind} (reported)' in caplog.text
    assert counted == [(kind, 'reported')]
    found = bench.deployed.engine.explanations.explain_volume(bench.deployed.ctx, volume, live=True)
    assert found.truth is not None
    [shown] = found.truth.findings
    assert (shown.kind, shown.outcome) == (kind, 'reported')
    lasted = models.now() - datetime.datetime.fromisoformat(shown.since)
    assert 7190 < lasted.total_seconds() < 7300
    if kind is Drift.RESERVE_MARK:
        assert '720' in found.verdict.reason


@pytest.mark.parametrize(('kind', 'leave', 'status'), MARKS)
def test_a_mark_is_taken_back_as_its_client_would_if_the_operator_says_so(
    make_bench: Callable[..., Bench], kind: Drift, leave: Callable[[Bench], tuple[str, str]], status: str
) -> None:
    bench = make_bench(target=NullTarget(), rules=DriftRules({kind: 'repair'}, {kind: 60.0}))
    volume, after = leave(bench)
    assert bench.look(fix=None) == []
    age(bench, volume, 61)
    assert [(one.kind, one.outcome) for one in bench.look_twice()] == [(kind, 'repaired')]
    assert bench.deployed.status(volume) == after
    assert bench.look() == []


def test_a_mark_of_a_volume_that_several_servers_have_is_seen(bench: Bench) -> None:
    volume = bench.deployed.make_volume('multi')
    for host in ('one', 'two'):
        bench.attach(volume, host)
    bench.deployed.engine.actions.begin_detaching(bench.deployed.ctx, volume)
    assert bench.deployed.status(volume) == 'detaching'
    age(bench, volume)
    assert bench.kinds() == [Drift.DETACH_MARK]


def test_the_age_begins_with_the_mark_and_ends_with_it(bench: Bench) -> None:
    actions, ctx = bench.deployed.engine.actions, bench.deployed.ctx
    volume, _after = reserve(bench)
    age(bench, volume)
    bench.deployed.engine.volumes.update(ctx, volume, {'display_name': 'new'})
    assert bench.kinds() == [Drift.RESERVE_MARK], 'another name is no sign of life of whoever marked it'
    actions.unreserve(ctx, volume)
    assert bench.look() == []
    actions.reserve(ctx, volume)
    assert bench.look() == []


def test_a_mark_of_a_release_that_wrote_no_moment_is_as_old_as_the_last_change(bench: Bench) -> None:
    volume, _after = reserve(bench)
    bench.write(models.Volume, volume, claimed_at=None)
    assert bench.look() == []
    bench.write(models.Volume, volume, updated_at=models.now() - datetime.timedelta(hours=2))
    assert bench.kinds() == [Drift.RESERVE_MARK]


# -- connectors that never came --------------------------------------------------------------------


class Nova:
    """Has servers, some of them on a host."""

    def __init__(self) -> None:
        self.on_host: set[str] = set()
        self.is_away = False

    def find(self, server_id: str) -> ServerState:
        return ServerState.THERE

    def is_on_host(self, server_id: str) -> bool:
        if self.is_away:
            raise errors.Unavailable('The Compute API does not answer.')
        return server_id in self.on_host


def complete_bare(bench: Bench, server: str, *, minutes: float = 10) -> str:
    volume = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume, server)
    bench.deployed.engine.attachments.complete(bench.deployed.ctx, ident)
    bench.write(models.Attachment, ident, state_at=models.now() - datetime.timedelta(minutes=minutes))
    return ident


def register(bench: Bench, *, gone: bool = False) -> str:
    server = str(uuid.uuid4())
    with bench.deployed.db.writer() as session:
        session.add(
            models.Server(
                id=server,
                name='s',
                project_id='p',
                host='node-1',
                power_state='running',
                deleted_at=models.now() if gone else None,
            )
        )
    return server


def test_a_server_of_a_host_agent_without_a_connector_is_reported_and_warned_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    server = register(bench)
    ident = complete_bare(bench, server)
    assert f'Attachment {ident} ' in caplog.text
    assert 'is on host node-1' in caplog.text
    for fix in (False, None, True):
        [seen] = bench.look(fix)
        assert (seen.kind, seen.attachment_id, seen.about, seen.outcome) == (
            Drift.NO_CONNECTOR,
            ident,
            server,
            'reported',
        )
    found = bench.deployed.engine.explanations.explain_attachment(bench.deployed.ctx, ident, live=True)
    assert found.truth is not None
    assert [one.kind for one in found.truth.findings] == [Drift.NO_CONNECTOR]


def test_os_attach_without_a_connection_is_warned_of(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    volume = bench.deployed.make_volume()
    bench.deployed.engine.legacy.attach(bench.deployed.ctx, volume, LegacyAttach('/dev/vdb', register(bench)))
    assert 'is on host node-1' in caplog.text


def test_what_is_right_without_a_connector(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    complete_bare(bench, str(uuid.uuid4()))  # a shelved server of Nova's, as far as is known
    complete_bare(bench, register(bench, gone=True))
    young = complete_bare(bench, register(bench), minutes=1)
    assert bench.look() == []
    [warning] = [
        one.getMessage()
        for one in caplog.records
        if one.levelno == logging.WARNING and 'without a connector' in one.getMessage()
    ]
    assert young in warning


def test_an_attachment_whose_connection_was_taken_back_had_one(bench: Bench) -> None:
    """os-terminate_connection before os-detach."""
    server, volume = register(bench), bench.deployed.make_volume('multi')
    row = bench.attach(volume, 'node-1', server)
    bench.deployed.engine.legacy.terminate_connection(
        bench.deployed.ctx, volume, {'host': 'node-1', 'initiator': row.initiator}
    )
    bench.write(models.Attachment, row.id, state_at=models.now() - datetime.timedelta(hours=1))
    assert bench.look() == []


def test_servers_of_nova_are_asked_for(make_bench: Callable[..., Bench]) -> None:
    nova = Nova()
    bench = make_bench(target=NullTarget(), nova=NovaCheck(nova, 100))
    servers = [str(uuid.uuid4()) for _ in range(2)]
    idents = [complete_bare(bench, server) for server in servers]
    nova.on_host.add(servers[1])
    assert [(one.kind, one.attachment_id) for one in bench.look()] == [(Drift.NO_CONNECTOR, idents[1])]
    nova.is_away = True
    answer = bench.deployed.reconciler.reconcile(False)
    assert answer == {'findings': [], 'unread': {'Nova': 'The Compute API does not answer.'}}


# -- one name, two hosts ---------------------------------------------------------------------------


def connect(bench: Bench, host: str, volume: str | None = None, ctx: RequestContext | None = None) -> models.Attachment:
    return bench.deployed.engine.attachments.create(
        ctx or bench.deployed.ctx,
        volume or bench.deployed.make_volume('multi'),
        str(uuid.uuid4()),
        {'host': host, 'initiator': NAME},
        None,
    )


def said(caplog: pytest.LogCaptureFixture) -> Collection[str]:
    return [record.getMessage() for record in caplog.records if 'presents the initiator name' in record.getMessage()]


def test_two_hosts_with_one_name_are_warned_of_and_reported(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    connect(bench, 'one')
    same = connect(bench, 'one')
    assert said(caplog) == []
    assert bench.look() == []
    other = connect(bench, 'two')
    [text] = said(caplog)
    assert all(part in text for part in (other.id, other.volume_id, 'host two', 'host one', NAME))
    for fix in (False, None, True):
        [seen] = bench.look(fix)
        assert (seen.kind, seen.about, seen.outcome) == (Drift.SHARED_NAME, f'{NAME}: one, two', 'reported')
    found = bench.deployed.engine.explanations.explain_volume(bench.deployed.ctx, str(same.volume_id), live=True)
    assert found.truth is not None
    assert [(one.kind, one.volume_id) for one in found.truth.findings] == [(Drift.SHARED_NAME, same.volume_id)]
    bench.deployed.engine.attachments.delete(bench.deployed.ctx, other.id)
    assert bench.look() == []


def test_many_hosts_with_one_name_are_one_finding(bench: Bench) -> None:
    volume = bench.deployed.make_volume('multi')
    for number in range(8):
        connect(bench, f'host-{number}', volume)
    [seen] = bench.look()
    assert seen.about == f'{NAME}: host-0, host-1, host-2, host-3, host-4 and 3 more'


def test_a_backend_tells_of_its_own_volumes_only(bench: Bench) -> None:
    rows = [connect(bench, host) for host in ('one', 'two', 'three')]
    for row in rows:
        bench.write(models.Volume, str(row.volume_id), host='elsewhere@file')
        (bench.deployed.directory / 'volumes' / f'volume-{row.volume_id}').unlink()
    assert bench.look() == []
    bench.write(models.Volume, str(rows[0].volume_id), host=embedded.BACKEND, status='error')
    [seen] = bench.look()
    assert seen.about == f'{NAME}: one, three, two'
