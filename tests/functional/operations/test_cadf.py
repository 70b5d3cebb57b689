# SPDX-License-Identifier: Apache-2.0
"""CADF events of keystonemiddleware's audit filter, which an operator switches on."""

import pathlib
import socket
import time
import uuid

import pytest
from oslo_messaging.notify import _impl_test

from multiattach.domain import errors
from tests.functional.operations.conftest import CONNECTOR, Api

MAP = pathlib.Path(__file__).resolve().parents[3] / 'etc/multiattach/api_audit_map.conf'
NOTIFICATIONS = 'oslo_messaging_notifications'
WHO = {
    'X-Auth-Token': f'eve:{"c" * 32}',
    'X-OpenStack-Request-ID': f'req-{uuid.UUID(int=7)}',
    'X-User-Id': 'forged',
    'X-Service-Catalog': '{',
}


def switch_on(deployed, driver='test', url=None, path=MAP):
    deployed.conf.set_override('driver', [driver] if driver else [], group=NOTIFICATIONS)
    deployed.conf.set_override('transport_url', url, group=NOTIFICATIONS)
    deployed.conf.set_override('audit_map_file', str(path), group='notifications')
    return Api(deployed)


@pytest.fixture
def conf(deployed):
    _impl_test.reset()
    yield deployed.conf
    for name, group in (
        ('driver', NOTIFICATIONS),
        ('transport_url', NOTIFICATIONS),
        ('audit_map_file', 'notifications'),
    ):
        deployed.conf.clear_override(name, group=group)
    _impl_test.reset()


def await_events(deployed, number):
    deployed.wait(lambda: len(_impl_test.NOTIFICATIONS) >= number)
    found = [(message['event_type'], message['payload']) for _ctxt, message, *_ in _impl_test.NOTIFICATIONS]
    assert len(found) == number
    _impl_test.reset()
    return found


def test_who_did_what_to_what_and_how_it_ended(deployed, conf):
    api = switch_on(deployed)
    reply = api.ask('POST', '/v3/volumes', {'volume': {'size': 1}}, **WHO)
    volume = reply.json['volume']['id']
    api.ask('GET', f'/v3/volumes/{volume}', **WHO)  # which changes nothing
    before, after = await_events(deployed, 2)
    assert (before[0], before[1]['outcome']) == ('audit.http.request', 'pending')
    assert (after[0], after[1]['outcome']) == ('audit.http.response', 'success')
    event = after[1]
    assert event['typeURI'] == 'http://schemas.dmtf.org/cloud/audit/1.0/event'
    assert event['action'] == 'create'
    assert event['reason'] == {'reasonType': 'HTTP', 'reasonCode': '202'}
    who = event['initiator']
    assert (who['id'], who['project_id'], who['host']['address']) == ('eve', 'c' * 32, '192.0.2.9')
    assert who['request_id'] == reply.headers['X-OpenStack-Request-ID']
    assert who['global_request_id'] == WHO['X-OpenStack-Request-ID']
    assert (event['target']['typeURI'], event['target']['name']) == ('service/storage/block/volumes', 'multiattach')
    assert 'eve:' not in str(event), 'the token'


def test_an_attach_and_one_that_is_refused(deployed, conf):
    api = switch_on(deployed)
    volume = deployed.make_volume()
    body = {'os-attach': {'instance_uuid': str(uuid.uuid4()), 'mountpoint': '/dev/vdb'}}
    api.ask('POST', f'/v3/volumes/{volume}/action', body, **WHO)
    _, (_, event) = await_events(deployed, 2)
    assert (event['action'], event['outcome']) == ('update/os-attach', 'success')
    assert event['target']['typeURI'] == 'service/storage/block/volumes/volume'
    assert event['requestPath'] == f'/v3/volumes/{volume}/action'
    api.ask('POST', f'/v3/volumes/{volume}/action', {'os-attach': {}}, status=400, **WHO)
    _, (_, event) = await_events(deployed, 2)
    assert (event['action'], event['outcome'], event['reason']['reasonCode']) == ('update/os-attach', 'failure', '400')
    attachment = {'volume_uuid': volume, 'instance_uuid': str(uuid.uuid4()), 'connector': CONNECTOR}
    api.ask('POST', '/v3/attachments', {'attachment': attachment}, status='*', **WHO)
    _, (_, event) = await_events(deployed, 2)
    assert event['action'] == 'create'
    assert event['target']['typeURI'] == 'service/storage/block/attachments'


@pytest.mark.parametrize('body', ['[1]', '"os-attach"', '{', '[' * 50_000])
def test_a_body_that_is_no_object_has_its_events_and_no_traceback(deployed, conf, caplog, body):
    api = switch_on(deployed)
    api.app.request(
        f'/v3/volumes/{uuid.uuid4()}/action',
        method='POST',
        body=body.encode(),
        headers={**WHO, 'Content-Type': 'application/json'},
        status=400,
    )
    _, (_, event) = await_events(deployed, 2)
    assert event['outcome'] == 'failure'
    assert 'Traceback' not in caplog.text


def test_nobody_waits_for_a_broker_that_hangs(deployed, conf):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        api = switch_on(deployed, 'messagingv2', f'rabbit://u:p@127.0.0.1:{silent.getsockname()[1]}/')
        began = time.monotonic()
        for _ in range(3):
            api.ask('POST', '/v3/volumes', {'volume': {'size': 1}}, **WHO)
        assert time.monotonic() - began < 10


def test_it_is_off_unless_asked_for(deployed, conf):
    deployed.conf.set_override('driver', ['test'], group=NOTIFICATIONS)
    Api(deployed).ask('POST', '/v3/volumes', {'volume': {'size': 1}}, **WHO)
    time.sleep(0.5)
    assert not any('audit' in message['event_type'] for _ctxt, message, *_ in _impl_test.NOTIFICATIONS)


def test_what_cannot_be_is_refused_at_the_start(deployed, conf, tmp_path):
    with pytest.raises(errors.ConfigurationError, match=r'driver in .oslo_messaging_notifications'):
        switch_on(deployed, None)
    with pytest.raises(errors.ConfigurationError, match=r'audit_map_file in .* No such file'):
        switch_on(deployed, path=tmp_path / 'absent')
    (tmp_path / 'map').write_text('[path_keywords]\nvolumes = volume\n')
    with pytest.raises(errors.ConfigurationError, match='no section service_endpoints'):
        switch_on(deployed, path=tmp_path / 'map')
