# SPDX-License-Identifier: Apache-2.0
import threading
import time

import oslo_messaging as messaging
import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.db.transitions import Actor, move_attachment
from multiattach.domain import errors, states
from multiattach.drivers.errors import (
    ConnectorError,
    ConnectorTimeout,
    DetachRefused,
    HypervisorError,
    HypervisorUnavailable,
    TargetError,
    TargetUnavailable,
)
from multiattach.drivers.hypervisors.base import Domain
from multiattach.engine.servers import ServerAttach
from multiattach.rpc import clients, transport
from tests import contexts

from .conftest import HOST, PROJECT, Bench
from .fakes import SERVERS, Crash, Fuse


class Trouble:
    """Raises an error as often as asked."""

    def __init__(self, error: BaseException, times: int = 1) -> None:
        self.error, self.times = error, times

    def __call__(self) -> None:
        if self.times:
            self.times -= 1
            raise self.error


def messages(bench: Bench) -> list[str]:
    with bench.deployed.db.reader() as session:
        return list(session.scalars(sa.select(models.Message.user_message)))


def test_attach_and_detach_by_message(bench: Bench) -> None:
    server = transport.make_server(bench.deployed.rpc, clients.HOST_TOPIC, HOST, bench.agent)
    server.start()
    try:
        volume_id = bench.deployed.make_volume('multi')
        ident = bench.reserve(volume_id)
        bench.deployed.wait(lambda: bench.state(ident) == 'attached')
        bench.check_attached(ident, volume_id)
        assert bench.row(ident).mountpoint == '/dev/vdb'
        assert bench.hypervisor.disks[SERVERS[0]][volume_id].multiattach
        bench.ask_detach(volume_id)
        bench.deployed.wait(lambda: bench.state(ident) == 'detached')
        bench.check_gone(volume_id)
    finally:
        server.stop()
        server.wait()


def test_the_hypervisor_keeps_the_rates_of_qos_specs(bench: Bench) -> None:
    engine, ctx = bench.deployed.engine, bench.deployed.ctx
    specs = engine.qos_specs.create(
        ctx, 'gold', 'front-end', {'read_iops_sec_per_gb': '10', 'write_bytes_sec_max': '9', 'vendor': 'x'}
    )
    engine.qos_specs.associate(ctx, specs.id, engine.types.find(ctx, 'multi').id)
    volume_id = bench.deployed.make_volume('multi', size=2)
    bench.attach(volume_id)
    disk = bench.hypervisor.disks[SERVERS[0]][volume_id]
    assert disk.rates == {'read_iops_sec': 20, 'write_bytes_sec_max': 9}


def test_only_its_orders_can_be_called(bench: Bench) -> None:
    policy = messaging.ExplicitRPCAccessPolicy()
    allowed = {name for name in dir(bench.agent) if policy.is_allowed(bench.agent, name)}
    assert allowed == {'attach', 'detach', 'extend', 'sweep', 'reconcile', 'show_host', 'release'}


def test_every_server_sees_a_shared_volume_grow_whatever_gets_lost(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    for index in range(len(SERVERS)):
        bench.attach(volume_id, index)
    bench.hypervisor.trouble['resize'] = Trouble(HypervisorError('not now'))
    bench.deployed.engine.actions.extend(bench.deployed.ctx, volume_id, 2, in_use_allowed=True)
    bench.deployed.wait(lambda: bench.deployed.status(volume_id) == 'in-use')
    bench.agent.show_growth()
    assert len(bench.hypervisor.sizes) == 1
    bench.agent.show_growth()
    assert bench.hypervisor.sizes == {(server, volume_id): 2 << 30 for server in SERVERS}
    bench.hypervisor.sizes.clear()
    bench.agent.show_growth()
    assert bench.hypervisor.sizes == {}


# -- crashes: at every call that leaves the agent, before and after it took effect -------------


def count_calls(bench: Bench, detach: bool) -> list[str]:
    volume_id = bench.deployed.make_volume('multi')
    if detach:
        ident = bench.attach(volume_id)
        bench.ask_detach(volume_id)
    else:
        ident = bench.reserve(volume_id)
    fuse = Fuse(0, after=False)
    bench.start_agent(fuse).attach({}, ident)
    if not detach:
        bench.ask_detach(volume_id)
        bench.agent.resume()
    return fuse.calls


@pytest.mark.parametrize('after', [False, True])
def test_crash_at_every_step_of_an_attach(bench: Bench, after: bool) -> None:
    calls = count_calls(bench, detach=False)
    assert {'load', 'properties', 'connect', 'begin_attach', 'verify', 'attach', 'finish_attach'} <= set(calls)
    for at, name in enumerate(calls, 1):
        volume_id = bench.deployed.make_volume('multi')
        ident = bench.reserve(volume_id)
        with pytest.raises(Crash, match=name):
            bench.start_agent(Fuse(at, after=after)).attach({}, ident)
        bench.start_agent().resume()
        bench.check_attached(ident, volume_id)
        bench.ask_detach(volume_id)
        bench.start_agent().resume()
        bench.check_gone(volume_id)


@pytest.mark.parametrize('after', [False, True])
def test_crash_at_every_step_of_a_detach(bench: Bench, after: bool) -> None:
    calls = count_calls(bench, detach=True)
    assert {'load', 'detach', 'is_last_on_host', 'disconnect', 'finish_detach'} <= set(calls)
    for at, name in enumerate(calls, 1):
        volume_id = bench.deployed.make_volume('multi')
        ident = bench.attach(volume_id)
        bench.ask_detach(volume_id)
        with pytest.raises(Crash, match=name):
            bench.start_agent(Fuse(at, after=after)).detach({}, ident)
        bench.start_agent().resume()
        assert bench.state(ident) == 'detached'
        bench.check_gone(volume_id)


@pytest.mark.parametrize('after', [False, True])
def test_crash_at_every_step_of_an_undo(bench: Bench, after: bool) -> None:
    """A server that cannot take the disk: wherever the agent ends, the row ends in the error."""
    bench.hypervisor.trouble['after attach'] = Trouble(HypervisorError('no slot is left'), 1000)
    at, crashed = 1, True
    while crashed:
        volume_id = bench.deployed.make_volume('multi')
        ident = bench.reserve(volume_id)
        fuse = Fuse(at, after=after)
        try:
            bench.start_agent(fuse).attach({}, ident)
            crashed = False
        except Crash:
            bench.start_agent().resume()
        assert bench.state(ident) == 'error_attaching'
        assert bench.row(ident).error == 'no slot is left'
        bench.check_gone(volume_id)
        at += 1
    assert fuse.calls[-4:] == ['is_last_on_host', 'disconnect', 'load', 'fail_attach']


def put_into(bench: Bench, state: str, volume_id: str) -> str:
    """Make a row that a dead agent left in a state."""
    if state == 'detaching':
        ident = bench.attach(volume_id)
        bench.ask_detach(volume_id)
        return ident
    ident = bench.reserve(volume_id)
    if state == 'exporting':
        with bench.deployed.db.writer() as session:
            connector = bench.connector.properties(ident, SERVERS[0])
            move_attachment(
                session,
                ident,
                'export',
                Actor('test'),
                connector=connector,
                attached_host=HOST,
                initiator=connector['initiator'],
            )
    elif state != 'reserved':
        task = bench.engine_side.load(ident)
        bench.engine_side.connect(task, bench.connector.properties(ident, SERVERS[0]), None)
        if state == 'connecting':
            bench.engine_side.begin_attach(ident)
    assert bench.state(ident) == state
    return ident


@pytest.mark.parametrize('state', sorted(states.AGENT_OPEN))
def test_resume_from_each_state(bench: Bench, state: str) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = put_into(bench, state, volume_id)
    assert [found[:2] for found in bench.engine_side.list_open()] == [(ident, state)]
    bench.agent.resume()
    if state == 'detaching':
        bench.check_gone(volume_id)
    else:
        bench.check_attached(ident, volume_id)
    assert bench.engine_side.list_open() == []


# -- final errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('part', 'step', 'error'),
    [
        ('connector', 'properties', ConnectorError('no initiator name')),
        ('connector', 'connect', ConnectorError('nothing answers')),
        ('connector', 'after connect', ConnectorError('no device')),
        ('hypervisor', 'attach', HypervisorError('no slot')),
        ('hypervisor', 'after attach', HypervisorError('no slot after all')),
    ],
)
def test_final_error_is_undone_and_told(bench: Bench, part: str, step: str, error: errors.MultiattachError) -> None:
    volume_id = bench.deployed.make_volume('multi')
    getattr(bench, part).trouble[step] = Trouble(error)
    ident = bench.reserve(volume_id)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    assert bench.row(ident).error == error.message
    assert messages(bench) == [f'attach volume: {error.message}']
    bench.check_gone(volume_id)
    bench.check_attached(bench.attach(volume_id), volume_id)  # the next try works


def test_wrong_device_is_never_attached(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    bench.connector.presents = 'another volume'
    ident = bench.reserve(volume_id)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    assert bench.hypervisor.attachments == []
    bench.check_gone(volume_id)


def test_target_that_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = bench.deployed.make_volume('multi')
    monkeypatch.setattr(bench.deployed.target, 'grant', lambda *_: Trouble(TargetError('full'))())
    ident = bench.reserve(volume_id)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    assert 'full' in str(bench.row(ident).error)
    assert bench.deployed.status(volume_id) == 'available'
    assert bench.hypervisor.attachments == []


def test_server_that_is_gone(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    del bench.hypervisor.disks[SERVERS[0]]
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    bench.check_gone(volume_id)


def test_session_that_cannot_be_ended_does_not_stop_the_undo(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    bench.hypervisor.trouble['attach'] = Trouble(HypervisorError('no slot'))
    bench.connector.trouble['disconnect'] = Trouble(ConnectorError('busy'))
    ident = bench.reserve(volume_id)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'error_attaching'
    assert bench.admitted(volume_id) == ()


# -- unknown outcomes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('part', 'step', 'error'),
    [
        ('connector', 'connect', ConnectorTimeout('too long')),
        ('connector', 'after connect', ConnectorTimeout('too long')),
        ('hypervisor', 'attach', HypervisorUnavailable('libvirtd restarts')),
        ('hypervisor', 'after attach', HypervisorUnavailable('libvirtd restarts')),
        ('hypervisor', 'after attach', RuntimeError('not foreseen')),
    ],
)
def test_unknown_outcome_leaves_the_row_and_is_resumed(bench: Bench, part: str, step: str, error: Exception) -> None:
    volume_id = bench.deployed.make_volume('multi')
    getattr(bench, part).trouble[step] = Trouble(error)
    ident = bench.reserve(volume_id)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'connecting'
    assert messages(bench) == []
    bench.agent.resume()
    bench.check_attached(ident, volume_id)


def test_target_without_an_answer_leaves_the_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = bench.deployed.make_volume('multi')
    with monkeypatch.context() as patch:
        patch.setattr(bench.deployed.target, 'grant', lambda *_: Trouble(TargetUnavailable('tgtd restarts'))())
        ident = bench.reserve(volume_id)
        bench.agent.attach({}, ident)
        assert bench.state(ident) == 'exporting'
    bench.agent.resume()
    bench.check_attached(ident, volume_id)


@pytest.mark.parametrize(
    ('part', 'step', 'error'),
    [
        ('hypervisor', 'detach', HypervisorUnavailable('libvirtd restarts')),
        ('connector', 'disconnect', ConnectorTimeout('too long')),
    ],
)
def test_unknown_outcome_of_a_detach(bench: Bench, part: str, step: str, error: Exception) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    getattr(bench, part).trouble[step] = Trouble(error)
    bench.ask_detach(volume_id)
    bench.agent.detach({}, ident)
    assert bench.state(ident) == 'detaching'
    bench.agent.resume()
    assert bench.state(ident) == 'detached'
    bench.check_gone(volume_id)


# -- detaching ---------------------------------------------------------------------------------


def test_refused_unplug_is_attached_as_before(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    bench.hypervisor.trouble['detach'] = Trouble(DetachRefused('The guest did not let go.'))
    bench.ask_detach(volume_id)
    bench.agent.detach({'request_id': 'req-2'}, ident)
    bench.check_attached(ident, volume_id)
    assert bench.connector.disconnects == []
    assert bench.row(ident).error == 'The guest did not let go.'
    assert messages(bench) == ['detach volume: The guest did not let go.']
    bench.ask_detach(volume_id)
    bench.agent.detach({}, ident)
    bench.check_gone(volume_id)


@pytest.mark.parametrize(
    ('part', 'step', 'error'),
    [('hypervisor', 'detach', HypervisorError('refused')), ('connector', 'disconnect', ConnectorError('cannot flush'))],
)
def test_failed_detach_may_be_asked_for_again(
    bench: Bench, part: str, step: str, error: errors.MultiattachError
) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.attach(volume_id)
    getattr(bench, part).trouble[step] = Trouble(error)
    bench.ask_detach(volume_id)
    bench.agent.detach({}, ident)
    assert bench.state(ident) == 'error_detaching'
    assert bench.row(ident).error == error.message
    assert len(bench.admitted(volume_id)) == 1
    bench.ask_detach(volume_id)
    bench.agent.detach({}, ident)
    bench.check_gone(volume_id)


def test_attachment_completed_without_connector(bench: Bench) -> None:
    """A shelved server has no session to end (contract 2.3)."""
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    bench.deployed.engine.attachments.complete(bench.deployed.ctx, ident)
    bench.ask_detach(volume_id)
    bench.agent.detach({}, ident)
    assert bench.state(ident) == 'detached'
    assert bench.connector.disconnects == []


# -- sharers of one host -----------------------------------------------------------------------


def test_last_one_out_ends_the_session(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    idents = [bench.attach(volume_id, server) for server in (0, 1)]
    assert bench.connector.sessions == {volume_id}
    bench.ask_detach(volume_id, 0)
    bench.agent.detach({}, idents[0])
    assert bench.connector.disconnects == []
    assert bench.hypervisor.holders(volume_id) == {SERVERS[1]}
    assert len(bench.admitted(volume_id)) == 1
    bench.ask_detach(volume_id, 1)
    bench.agent.detach({}, idents[1])
    assert bench.connector.disconnects == [volume_id]
    bench.check_gone(volume_id)


def test_two_that_leave_at_once_end_the_session_once(bench: Bench) -> None:
    for _ in range(5):
        volume_id = bench.deployed.make_volume('multi')
        idents = [bench.attach(volume_id, server) for server in (0, 1)]
        for server in (0, 1):
            bench.ask_detach(volume_id, server)
        threads = [threading.Thread(target=bench.agent.detach, args=({}, ident)) for ident in idents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bench.connector.disconnects == [volume_id]
        bench.check_gone(volume_id)
        bench.connector.disconnects.clear()


def test_one_comes_while_the_other_leaves(bench: Bench) -> None:
    for turn in range(6):
        volume_id = bench.deployed.make_volume('multi')
        old = bench.attach(volume_id, 0)
        new = bench.reserve(volume_id, 1)
        bench.ask_detach(volume_id, 0)
        calls = [(bench.agent.attach, new), (bench.agent.detach, old)]
        threads = [
            threading.Thread(target=call, args=({}, ident)) for call, ident in (calls if turn % 2 else reversed(calls))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bench.check_attached(new, volume_id)
        assert bench.state(old) == 'detached'
        bench.ask_detach(volume_id, 1)
        bench.agent.detach({}, new)
        bench.check_gone(volume_id)


def test_failed_attach_leaves_the_other_servers_session_alone(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    first = bench.attach(volume_id, 0)
    bench.hypervisor.trouble['attach'] = Trouble(HypervisorError('no slot'))
    second = bench.reserve(volume_id, 1)
    bench.agent.attach({}, second)
    assert bench.state(second) == 'error_attaching'
    bench.check_attached(first, volume_id)
    assert bench.connector.disconnects == []


def test_sessions_of_ones_own_end_with_each(bench: Bench) -> None:
    bench.use_own_sessions()
    volume_id = bench.deployed.make_volume('multi')
    idents = [bench.attach(volume_id, server) for server in (0, 1)]
    assert bench.connector.sessions == set(idents)
    assert len(bench.admitted(volume_id)) == 2
    bench.ask_detach(volume_id, 0)
    bench.agent.detach({}, idents[0])
    assert bench.connector.sessions == {idents[1]}
    assert len(bench.admitted(volume_id)) == 1


# -- somebody else meanwhile -------------------------------------------------------------------


@pytest.mark.parametrize('step', ['attach', 'after attach'])
def test_delete_during_the_attach_is_undone(bench: Bench, step: str) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    service = contexts.make_context(service_roles=('service',))

    def delete() -> None:
        bench.hypervisor.trouble.clear()
        bench.deployed.engine.attachments.delete(service, ident)

    bench.hypervisor.trouble[step] = delete
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'detached'
    assert bench.hypervisor.attachments == [ident]
    bench.check_gone(volume_id)
    assert messages(bench) == []


def test_delete_before_the_attach(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    bench.deployed.engine.attachments.delete(bench.deployed.ctx, ident)
    bench.agent.attach({}, ident)
    assert bench.hypervisor.attachments == []
    bench.check_gone(volume_id)


def test_delete_during_the_export(bench: Bench) -> None:
    """The reply finds no attachment: it is somebody else's, and no failure is written."""
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    bench.connector.trouble['properties'] = lambda: bench.deployed.engine.attachments.delete(bench.deployed.ctx, ident)
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'detached'
    assert messages(bench) == []


def test_delete_that_makes_the_attach_fail_ends_in_removal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login fails because the target has just turned the host away."""
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    service = contexts.make_context(service_roles=('service',))

    def delete() -> None:
        with pytest.raises(errors.OutcomeUnknown):
            bench.deployed.engine.attachments.delete(service, ident)
        raise ConnectorError('login refused')

    with monkeypatch.context() as patch:
        patch.setattr(bench.deployed.target, 'remove_export', lambda *_: Trouble(TargetUnavailable('tgtd restarts'))())
        bench.connector.trouble['connect'] = delete
        bench.agent.attach({}, ident)
    assert bench.state(ident) == 'unexporting'
    assert bench.row(ident).error is None
    assert messages(bench) == []
    bench.deployed.exporter.resume()
    assert bench.state(ident) == 'detached'
    bench.check_gone(volume_id)


def test_one_attachment_is_in_one_thread_only(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert leave.wait(20)

    bench.connector.trouble['connect'] = wait
    thread = threading.Thread(target=bench.agent.attach, args=({}, ident))
    thread.start()
    assert entered.wait(20)
    started = time.monotonic()
    bench.agent.resume()
    bench.agent.attach({}, ident)
    assert time.monotonic() - started < 5
    assert bench.hypervisor.attachments == []
    leave.set()
    thread.join()
    bench.check_attached(ident, volume_id)
    assert bench.hypervisor.attachments == [ident]


def test_message_that_comes_too_early_is_not_lost(bench: Bench) -> None:
    """The row is attached, the thread is not done yet: a detach asked for now is carried out."""
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    finish = bench.engine_side.finish_attach

    def finish_and_detach(*args: object) -> None:
        finish(*args)  # type: ignore[arg-type]
        bench.ask_detach(volume_id)
        bench.agent.detach({}, ident)

    bench.engine_side.finish_attach = finish_and_detach  # type: ignore[method-assign]
    bench.agent.attach({}, ident)
    assert bench.state(ident) == 'detached'
    bench.check_gone(volume_id)


# -- what it tells -----------------------------------------------------------------------------


def test_report_and_servers(bench: Bench) -> None:
    bench.hypervisor.reason = 'too old'
    assert bench.agent.report() == {
        'connector': {'host': HOST, 'ip': '127.0.0.1'},
        'cannot_share': 'too old',
        'hypervisor': {'libvirt': '9.0.0', 'qemu': '7.2.0'},
    }
    assert bench.agent.domains()[SERVERS[0]] == {
        'name': 'server-1',
        'project_id': PROJECT,
        'power_state': 'running',
        'devices': ['vda'],
    }
    found = bench.deployed.engine.servers.show(bench.deployed.ctx, SERVERS[0])
    assert (found.name, found.host) == ('server-1', HOST)


def test_whose_a_server_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that names its project is out of reach for the members of the host's."""
    theirs, ours = SERVERS[:2]
    monkeypatch.setattr(
        bench.hypervisor,
        'domains',
        lambda: [Domain(theirs, 'theirs', 'running', project='other'), Domain(ours, 'ours', 'running')],
    )
    found = bench.agent.domains()
    assert {ident: known['project_id'] for ident, known in found.items()} == {theirs: 'other', ours: PROJECT}
    bench.engine_side.register_servers(found)
    member = contexts.make_context(PROJECT, admin=False, roles=('member', 'reader'))
    assert bench.deployed.engine.servers.show(member, ours).name == 'ours'
    with pytest.raises(errors.NotFound):
        bench.deployed.engine.servers.show(member, theirs)
    assert list(bench.start_agent(project='').domains()) == [theirs]


def test_read_only_attachment_gives_a_read_only_disk(bench: Bench) -> None:
    volume_id = bench.deployed.make_volume('multi')
    ident = bench.reserve(volume_id)
    with bench.deployed.db.writer() as session:
        session.execute(sa.update(models.Attachment).values(attach_mode='ro'))
    bench.agent.attach({}, ident)
    assert bench.hypervisor.disks[SERVERS[0]][volume_id].mode == 'ro'


def test_wished_device_is_told_and_the_real_one_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = bench.deployed.make_volume('multi')
    monkeypatch.setattr(bench.hypervisor, 'attach', lambda server, disk: '/dev/vdq')
    wish = ServerAttach(volume_id, device='/dev/vdf', supports_multiattach=True)
    ident = bench.deployed.engine.servers.attach(bench.deployed.ctx, SERVERS[0], wish).id
    assert bench.row(ident).mountpoint == '/dev/vdf'
    bench.agent.attach({}, ident)
    assert bench.row(ident).mountpoint == '/dev/vdq'


def test_no_secret_in_the_log_or_on_the_row(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('DEBUG')
    volume_id = bench.deployed.make_volume('multi')
    bench.hypervisor.trouble['attach'] = Trouble(RuntimeError('not foreseen'))
    ident = bench.reserve(volume_id)
    bench.agent.attach({}, ident)
    secret = bench.engine_side.load(ident).connection_info['auth_password']  # type: ignore[index]
    bench.agent.resume()
    bench.ask_detach(volume_id)
    bench.agent.detach({}, ident)
    assert 'not foreseen' in caplog.text
    assert secret not in caplog.text
    assert secret not in bench.timeline(ident)
