# SPDX-License-Identifier: Apache-2.0
"""Explanations, hosts and targets: who sees what, what differs, and what is not there to ask."""

import datetime
import json
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import oslo_messaging as messaging
import pytest

from multiattach.db import models, services as db_services
from multiattach.domain.blocklist import Cause, Reason
from multiattach.domain.explanations import SHARED_WARNING
from multiattach.domain.services import HOST_BINARY, VOLUME_BINARY
from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.base import Grant
from multiattach.rpc import clients, transport
from multiattach.steps.blocklist import BlocklistRows
from tests import contexts
from tests.deployments import embedded
from tests.functional.api.conftest import AwkwardTarget, Caller, make_application
from tests.functional.compute import compute_host

MINE = compute_host.PROJECT
MEMBER = {'X-Roles': 'member,reader', 'X-Project-Id': MINE}
SERVICE = {'X-Roles': 'reader', 'X-Project-Id': MINE, 'X-Service-Roles': 'service'}
SECRET = 'auth_password'


def explain(call: Caller, noun: str, ident: str, **headers: str) -> Any:
    reply = call('GET', f'/multiattach/{noun}/{ident}/explain', **headers)
    assert reply.status_int == 200, reply.text
    return reply.json['explanation']


def target_of(call: Caller, volume_id: str) -> Any:
    reply = call('GET', f'/multiattach/targets/{volume_id}')
    assert reply.status_int == 200, reply.text
    return reply.json['target']


def kinds(target: Any) -> list[tuple[str, str]]:
    return [(one['kind'], one['about']) for one in target['differences']]


def test_the_owner_sees_the_timeline_without_hosts(awkward: Caller, target: AwkwardTarget) -> None:
    volume_id = awkward.make_volume()
    ident = awkward.reserve(volume_id).json['attachment']['id']
    target.refuses = True
    target_error = awkward.connect(ident, 'compute-7')
    assert target_error.status_int == 500
    whole = explain(awkward, 'attachments', ident)
    seen = explain(awkward, 'attachments', ident, **MEMBER)
    assert whole['error'] == seen['error'] == 'export volume: no more targets'
    assert [step['by'] for step in whole['timeline']] == ['api', 'api', 'volume:testhost@file']
    assert [step['by'] for step in seen['timeline']] == ['api', 'api', 'volume worker']
    assert not {'host', 'initiator', 'owner_name'} & set(seen)
    assert 'testhost' not in json.dumps(seen)
    assert whole['timeline'][2]['error'] == 'export volume: no more targets'
    assert 'can be supplied' in whole['next']


def test_errors_lose_hosts_and_files_on_the_way_to_the_owner(call: Caller) -> None:
    volume_id = call.make_volume()
    ident = call.attach(volume_id, 'compute-7')
    text = 'detach volume: testhost@file: /srv/volumes/volume-1 at 192.0.2.9:3260 for compute-7'
    with call.deployed.db.writer() as session:
        row = session.get(models.Attachment, ident)
        assert row is not None
        row.error = text
    assert explain(call, 'attachments', ident)['error'] == text
    seen = explain(call, 'attachments', ident, **MEMBER)['error']
    assert seen == 'detach volume: (hidden): (hidden) at (hidden) for (hidden)'
    [row] = explain(call, 'volumes', volume_id, **MEMBER)['attachments']
    assert row['error'] == seen
    assert 'host' not in row


@pytest.mark.parametrize('status', ['backing-up', 'restoring-backup', 'error_backing-up'])
def test_a_status_that_an_earlier_release_let_be_set_is_a_dead_end_with_a_way_out(call: Caller, status: str) -> None:
    volume_id = call.make_volume()
    with call.deployed.db.writer() as session:
        row = session.get(models.Volume, volume_id)
        assert row is not None
        row.status = status
    shown = explain(call, 'volumes', volume_id)
    assert (shown['status'], shown['owner']) == (status, 'user')
    assert 'openstack volume set --state available VOLUME' in shown['advice']
    assert call.act(volume_id, 'os-reset_status', {'status': status}).status_int == 400
    assert call.act(volume_id, 'os-reset_status', {'status': 'available'}).status_int == 202
    assert explain(call, 'volumes', volume_id)['owner'] == 'nobody'


def test_a_service_sees_all(call: Caller) -> None:
    ident = call.attach(call.make_volume(), 'compute-7')
    assert explain(call, 'attachments', ident, **SERVICE)['host'] == 'compute-7'


@pytest.mark.parametrize('path', ['attachments/{}/explain', 'volumes/{}/explain'])
def test_strangers_find_nothing(call: Caller, path: str) -> None:
    volume_id = call.make_volume()
    ident = call.attach(volume_id, 'one') if path.startswith('attachments') else volume_id
    foreign = {'X-Roles': 'member,reader', 'X-Project-Id': compute_host.OTHER_PROJECT}
    assert call('GET', f'/multiattach/{path.format(ident)}', **foreign).status_int == 404
    if path.startswith('attachments'):
        assert call.delete(ident).status_int == 200
        assert call('GET', f'/multiattach/{path.format(ident)}', **foreign).status_int == 404
        assert explain(call, 'attachments', ident, **MEMBER)['state'] == 'detached'


def test_system_readers_see_hosts_and_targets(call: Caller) -> None:
    policy = call.deployed.engine.policy
    scoped = embedded.RequestContext(user_id='u', roles=['reader'], system_scope='all', is_admin=False)
    plain = contexts.make_context(admin=False, roles=('reader',))
    for rule in ('multiattach:hosts', 'multiattach:targets', 'multiattach:explain_internals'):
        assert policy.allows(scoped, rule, None)
        assert not policy.allows(plain, rule, None)


def test_what_ceph_keeps_out_is_told_to_who_sees_hosts(call: Caller) -> None:
    ident = call.attach(call.make_volume(), 'one')
    assert 'blocklist' not in explain(call, 'attachments', ident)
    reply = call('POST', f'/multiattach/attachments/{ident}/fence', {'fence': {}})
    assert reply.status_int == 200, reply.text
    row = explain(call, 'attachments', ident)
    reason = Reason(Cause.FENCE, row['initiator'], row['volume_id'])
    rows = BlocklistRows(call.deployed.db, embedded.BACKEND)
    rows.intend('fsid', {'192.0.2.1:0/7': reason})
    rows.intend('fsid', {'192.0.2.1:0/8': Reason(Cause.FENCE, 'another', row['volume_id'])})
    entry = {'instance': '192.0.2.1:0/7', 'until': None, 'state': 'adding', 'needed': True}
    assert explain(call, 'attachments', ident)['blocklist'] == [entry]
    rows.confirm('fsid', {'192.0.2.1:0/7': datetime.datetime(2030, 1, 2, 3, 4, 5)})
    assert explain(call, 'attachments', ident)['blocklist'] == [
        {**entry, 'state': 'held', 'until': '2030-01-02T03:04:05.000000'}
    ]
    assert 'blocklist' not in explain(call, 'attachments', ident, **MEMBER)


def test_a_shared_volume_warns(call: Caller) -> None:
    volume_id = call.make_volume()
    call.attach(volume_id, 'one')
    assert explain(call, 'volumes', volume_id)['warning'] is None
    second = call.attach(volume_id, 'two')
    shown = explain(call, 'volumes', volume_id, **MEMBER)
    assert shown['warning'] == SHARED_WARNING
    assert second in shown['decided_by']
    assert shown['reason'] == '2 attachments are in state attached.'


def test_secrets_are_nowhere(call: Caller) -> None:
    volume_id = call.make_volume()
    ident = call.attach(volume_id, 'one')
    secret = call('GET', f'/attachments/{ident}').json['attachment']['connection_info'][SECRET]
    paths = (
        f'attachments/{ident}/explain',
        f'volumes/{volume_id}/explain',
        'hosts',
        'hosts/one',
        'targets',
        f'targets/{volume_id}',
    )
    for path in paths:
        reply = call('GET', f'/multiattach/{path}')
        assert reply.status_int == 200
        assert secret not in reply.text
        assert SECRET not in reply.text


# -- targets ---------------------------------------------------------------------------------------


def test_what_a_target_lost_is_told(awkward: Caller, target: AwkwardTarget) -> None:
    volume_id = awkward.make_volume()
    awkward.attach(volume_id, 'one')
    awkward.attach(volume_id, 'two')
    assert kinds(target_of(awkward, volume_id)) == []
    initiator, lost = 'iqn.1994-05.com.redhat:one', target_of(awkward, volume_id)['recorded'][0]
    target.revoke(volume_id, initiator, lost['account'])
    assert kinds(target_of(awkward, volume_id)) == [('shut_out', initiator), ('no_account', lost['account'])]
    target.remove_export(volume_id)
    assert kinds(target_of(awkward, volume_id)) == [('no_target', volume_id)]
    [listed] = awkward('GET', '/multiattach/targets').json['targets']
    assert (listed['exists'], kinds(listed)) == (False, [('no_target', volume_id)])


def test_what_a_target_has_too_much_is_told(awkward: Caller, target: AwkwardTarget) -> None:
    volume_id, stray = awkward.make_volume(), str(uuid.uuid4())
    awkward.attach(volume_id, 'one')
    target.grant(volume_id, '', grant_to('iqn.bad'))
    target.grant(stray, '', grant_to('iqn.worse'))
    found = {one['volume_id']: one for one in awkward('GET', '/multiattach/targets').json['targets']}
    assert kinds(found[volume_id]) == [('admitted', 'iqn.bad'), ('account', 'x')]
    assert kinds(found[stray])[0] == ('no_volume', stray)
    assert (found[stray]['recorded'], found[stray]['host']) == (None, embedded.BACKEND)
    assert awkward('GET', f'/multiattach/targets/{stray}').status_int == 404


def grant_to(initiator: str) -> Grant:
    return Grant(initiator, 'x', 'y' * 16)


def test_pages_hold_every_target_once(awkward: Caller, target: AwkwardTarget) -> None:
    volumes = [awkward.make_volume() for _ in range(3)]
    for volume_id in volumes:
        awkward.attach(volume_id, 'one')
    strays = [str(uuid.uuid4()) for _ in range(3)]
    for stray in strays:
        target.grant(stray, '', grant_to('iqn.x'))
    target.remove_export(volumes[0])
    seen: list[str] = []
    marker = None
    while True:
        page = awkward('GET', f'/multiattach/targets?limit=2{f"&marker={marker}" if marker else ""}').json
        assert len(page['targets']) <= 2
        seen += [one['volume_id'] for one in page['targets']]
        marker = page['next_marker']
        if marker is None:
            break
    assert seen == sorted([*volumes, *strays])


@pytest.fixture
def broken(tmp_path: pathlib.Path) -> Iterator[Caller]:
    class Silent(AwkwardTarget):
        def list_exports(self) -> Any:
            raise TargetUnavailable('tgtd does not answer')

    with embedded.deploy(tmp_path, Silent(), report_interval=60) as parts:
        yield Caller(make_application(parts), parts)


def test_a_target_daemon_that_does_not_answer(broken: Caller) -> None:
    volume_id = broken.make_volume()
    broken.attach(volume_id, 'one')
    reply = broken('GET', f'/multiattach/targets/{volume_id}')
    assert (reply.status_int, 'tgtd does not answer' in reply.text) == (503, True)
    page = broken('GET', '/multiattach/targets').json
    assert page['targets'] == []
    [one] = page['unanswered']
    assert one['host'] == embedded.BACKEND
    assert 'tgtd does not answer' in one['reason']


def silence(call: Caller, host: str = embedded.BACKEND, binary: str = VOLUME_BINARY) -> None:
    with call.deployed.db.writer() as session:
        db_services.get(session, binary, host).heartbeat_at = models.now().replace(year=2020)


def test_a_worker_that_is_down_is_not_waited_for(awkward: Caller) -> None:
    volume_id = awkward.make_volume()
    ident = awkward.attach(volume_id, 'one')
    silence(awkward)
    reply = awkward('GET', f'/multiattach/targets/{volume_id}')
    assert (reply.status_int, 'does not report' in reply.text) == (503, True)
    [one] = awkward('GET', '/multiattach/targets').json['unanswered']
    assert 'restart it' in one['reason']
    with awkward.deployed.db.writer() as session:
        row = session.get(models.Attachment, ident)
        assert row is not None
        row.state = 'unexporting'
    shown = explain(awkward, 'attachments', ident)
    assert (shown['owner'], shown['owner_name'], shown['owner_is_up']) == ('volume worker', embedded.BACKEND, False)
    assert shown['advice'].startswith('The volume worker does not report: restart it.')


class OldWorker:
    """What the release before answered to."""

    target = messaging.Target(version='1.0')

    def __init__(self) -> None:
        self.asked: list[str] = []

    @messaging.expose
    def delete_volume(self, context: Any, volume_id: str) -> None:
        self.asked.append(volume_id)


def test_a_worker_of_the_release_before(tmp_path: pathlib.Path) -> None:
    with embedded.deploy(tmp_path, start_worker=False) as parts:
        old = OldWorker()
        server = transport.make_server(parts.rpc, clients.VOLUME_TOPIC, 'old@lvm', old)
        server.start()
        try:
            workers = clients.VolumeWorkers(parts.rpc, 20)
            with pytest.raises(Exception, match='upgrade and restart it') as caught:
                workers.show_target('old@lvm', 'x', None)
            assert type(caught.value).__name__ == 'Unavailable'
            workers.delete_volume('old@lvm', 'v', None)  # what it knew, it still does
            parts.wait(lambda: old.asked == ['v'])
        finally:
            server.stop()
            server.wait()


# -- hosts -----------------------------------------------------------------------------------------


def test_hosts_of_agents_and_of_connectors(call: Caller) -> None:
    with compute_host.run(call.deployed) as host:
        host.register()
        volume_id = call.make_volume()
        call.attach(volume_id, 'nova-1')
        reply = call(
            'POST',
            f'/multiattach/servers/{compute_host.WEB}/attachments',
            {'attachment': {'volume_id': volume_id, 'mode': 'ro'}},
        )
        assert reply.status_int == 202, reply.text
        made = reply.json['attachment']
        assert (made['status'], made['mode'], made['server_id']) == ('reserved', 'ro', compute_host.WEB)
        call.deployed.wait(lambda: explain(call, 'attachments', made['id'])['state'] == 'attached')
        shown = explain(call, 'attachments', made['id'])
        assert (shown['driven_by'], shown['mode'], shown['host'], shown['device']) == (
            'host agent',
            'ro',
            compute_host.HOST,
            '/dev/vdb',
        )
        assert call('GET', f'/attachments/{made["id"]}').json['attachment']['connection_info']['access_mode'] == 'ro'
        found = {one['host']: one for one in call('GET', '/multiattach/hosts').json['hosts']}
        assert set(found) == {'nova-1', compute_host.HOST}
        assert found['nova-1']['state'] is None
        agent = found[compute_host.HOST]
        assert (agent['state'], agent['status'], agent['zone'], agent['attachments']) == (
            'up',
            'enabled',
            'nova',
            {'attached': 1},
        )
        detail = call('GET', f'/multiattach/hosts/{compute_host.HOST}').json['host']
        assert detail['server_count'] == len(compute_host.SERVERS) == len(detail['servers'])
        assert {'id': compute_host.WEB, 'name': 'web', 'project_id': MINE, 'power_state': 'running'} in detail[
            'servers'
        ]
        host.beat(cannot_share='libvirt is too old')
        shown = call('GET', f'/multiattach/hosts/{compute_host.HOST}').json['host']
        assert shown['cannot_share'] == 'libvirt is too old'
        silence(call, compute_host.HOST, HOST_BINARY)
        assert call('GET', f'/multiattach/hosts/{compute_host.HOST}').json['host']['state'] == 'down'


def test_an_attach_that_waits_for_a_dead_agent_says_so(call: Caller) -> None:
    with compute_host.run(call.deployed) as host:
        host.register()
        host.may_go_on.clear()
        volume_id = call.make_volume()
        made = call(
            'POST', f'/multiattach/servers/{compute_host.WEB}/attachments', {'attachment': {'volume_id': volume_id}}
        ).json['attachment']
        shown = explain(call, 'attachments', made['id'])
        assert (shown['owner'], shown['owner_name'], shown['owner_is_up']) == ('host agent', compute_host.HOST, True)
        silence(call, compute_host.HOST, HOST_BINARY)
        shown = explain(call, 'volumes', volume_id, **MEMBER)
        assert (shown['owner'], shown['owner_is_up']) == ('host agent', False)
        assert shown['advice'].startswith('The host agent does not report')
        assert 'owner_name' not in shown
