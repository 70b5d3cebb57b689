# SPDX-License-Identifier: Apache-2.0
"""Notifications as consumers of Cinder's know them."""

import contextlib
import json
import socket
import threading
import time
import uuid

import oslo_messaging as messaging
import pytest
from oslo_messaging.notify import _impl_test

from multiattach.cmd import operations
from multiattach.db import transitions
from multiattach.domain import errors
from multiattach.domain.leases import LeaseRules
from multiattach.engine.volumes import VolumeWish
from multiattach.notifications import events
from multiattach.notifications.sender import Sender
from tests.deployments import embedded
from tests.functional.operations.conftest import Api

# What Cinder's _usage_from_volume has, release 2026.1.
CINDER_FIELDS = {
    'tenant_id',
    'host',
    'user_id',
    'availability_zone',
    'volume_id',
    'volume_type',
    'display_name',
    'launched_at',
    'created_at',
    'status',
    'snapshot_id',
    'size',
    'replication_status',
    'replication_extended_status',
    'replication_driver_data',
    'metadata',
    'volume_attachment',
}
OVERRIDES = 'oslo_messaging_notifications'


@contextlib.contextmanager
def notifying(deployed, driver, url=None):
    deployed.conf.set_override('driver', [driver], group=OVERRIDES)
    deployed.conf.set_override('transport_url', url, group=OVERRIDES)
    stop = None
    try:
        stop = operations.start_notifications(deployed.conf, deployed.db)
        yield
    finally:
        if stop is not None:
            stop()
        deployed.conf.clear_override('driver', group=OVERRIDES)
        deployed.conf.clear_override('transport_url', group=OVERRIDES)


@pytest.fixture
def deployed(tmp_path):
    """With leases as in production: a step is done for its request, not by the worker's own round."""
    with embedded.deploy(tmp_path, lease_rules=LeaseRules()) as parts:
        yield parts


@pytest.fixture
def sent(deployed):
    """What was sent so far: (context, event type, payload, priority) each."""
    _impl_test.reset()
    with notifying(deployed, 'test'):

        def take(number):
            deployed.wait(lambda: len(_impl_test.NOTIFICATIONS) >= number)
            time.sleep(0.2)  # and no more of them
            return [
                (ctxt, message['event_type'], message['payload'], message)
                for ctxt, message, _priority, _retry in _impl_test.NOTIFICATIONS
            ]

        yield take
    _impl_test.reset()


def names(found):
    return [event for _ctxt, event, *_ in found]


def test_the_life_of_a_volume(deployed, sent):
    api = Api(deployed)
    volume_id = deployed.make_volume()
    api.ask('PUT', f'/v3/volumes/{volume_id}', {'volume': {'name': 'new', 'metadata': {'a': 'b'}}})
    api.ask('POST', f'/v3/volumes/{volume_id}/action', {'os-extend': {'new_size': 2}})
    deployed.wait(lambda: deployed.status(volume_id) == 'available')
    deployed.make_type('other', multiattach=False)
    api.ask(
        'POST', f'/v3/volumes/{volume_id}/action', {'os-retype': {'new_type': 'other', 'migration_policy': 'never'}}
    )
    api.ask('DELETE', f'/v3/volumes/{volume_id}')
    found = sent(8)
    assert names(found) == [
        'volume.create.start',
        'volume.create.end',
        'volume.update.end',
        'volume.resize.start',
        'volume.resize.end',
        'volume.retype',
        'volume.delete.start',
        'volume.delete.end',
    ]
    for _ctxt, _event, payload, message in found:
        assert payload.keys() >= CINDER_FIELDS
        assert payload['version'] == '1.0'
        assert payload['volume_id'] == volume_id
        assert message['publisher_id'] == 'volume.testhost@file'
        json.dumps(payload)
    assert [payload['size'] for _, event, payload, _ in found if event.startswith('volume.resize')][-1] == 2
    assert found[-1][2]['status'] == 'deleted'
    assert found[2][2]['display_name'] == 'new'
    assert found[2][2]['metadata'] == [{'key': 'a', 'value': 'b'}]


def test_attach_and_detach(deployed, sent):
    api = Api(deployed)
    volume_id = deployed.make_volume(deployed.make_type('shared'))
    first, second = api.attach(volume_id), api.attach(volume_id)
    api.ask('DELETE', f'/v3/attachments/{first}')
    found = sent(8)[2:]
    assert names(found) == ['volume.attach.start', 'volume.attach.end'] * 2 + [
        'volume.detach.start',
        'volume.detach.end',
    ]
    assert [payload['attachment_id'] for _, _, payload, _ in found] == ([first] * 2 + [second] * 2 + [first] * 2)
    for _ctxt, _event, payload, _message in found:
        assert payload['attachment']['id'] == payload['attachment_id']
        assert payload['instance_uuid'] == payload['attachment']['instance_uuid']
        assert payload['tenant_id']
    end = found[3][2]
    assert end['status'] == 'in-use'
    assert len(end['volume_attachment']) == 2
    assert [item['id'] for item in found[-1][2]['volume_attachment']] == [second]


def test_the_request_is_named(deployed, sent):
    api = Api(deployed)
    wish = api.ask('POST', '/v3/volumes', {'volume': {'size': 1}})
    found = sent(2)
    for ctxt, *_ in found:
        assert ctxt.request_id == wish.headers['X-OpenStack-Request-ID']
        assert ctxt.auth_token is None


def test_a_place_that_was_never_used_is_no_detach(deployed, sent):
    api = Api(deployed)
    volume_id = deployed.make_volume()
    reply = api.ask(
        'POST', '/v3/attachments', {'attachment': {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4())}}
    )
    api.ask('DELETE', f'/v3/attachments/{reply.json["attachment"]["id"]}')
    assert names(sent(2)) == ['volume.create.start', 'volume.create.end']


def test_errors_are_told_with_their_reason(deployed, sent, monkeypatch):
    from multiattach.drivers.errors import TargetError
    from multiattach.drivers.targets.null import NullTarget

    def refuse(self, *args):
        raise TargetError('the target is full')

    volume_id = deployed.make_volume()
    monkeypatch.setattr(NullTarget, 'grant', refuse)
    monkeypatch.setattr(NullTarget, 'ensure_export', refuse)
    Api(deployed).ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume_id,
                'instance_uuid': str(uuid.uuid4()),
                'connector': {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h'},
            }
        },
        status='*',
    )
    found = sent(4)
    error = next(item for item in found if item[1] == 'volume.attach.error')
    assert 'full' in error[2]['error']
    assert error[3]['priority'] == 'ERROR'
    assert deployed.engine.volumes.create(deployed.ctx, VolumeWish(10**6, None)).id
    deployed.wait(lambda: 'volume.create.error' in names(sent(1)))


def test_no_secret_is_ever_sent(deployed, sent):
    """Whatever the events: neither the secret of an attachment nor the keys that hold one."""
    api = Api(deployed)
    volume_id = deployed.make_volume()
    ident = api.attach(volume_id)
    info = deployed.engine.attachments.show_own(ident).connection_info
    api.ask('DELETE', f'/v3/attachments/{ident}')
    text = json.dumps([[event, payload, ctxt.to_dict()] for ctxt, event, payload, _ in sent(6)])
    for word in ('auth_password', 'auth_username', 'connection_info', 'connector', 'initiator', 'iqn.'):
        assert word not in text, word
    for key in ('auth_username', 'auth_password', 'target_iqn'):
        assert info[key] not in text


def test_what_is_rolled_back_is_not_told(deployed, sent):
    volume_id = deployed.make_volume()
    sent(2)
    with contextlib.suppress(RuntimeError), deployed.db.writer() as session:
        transitions.move_volume(session, volume_id, 'extend', new_size=2)
        raise RuntimeError
    assert len(sent(2)) == 2


def test_off_by_default(deployed):
    assert operations.start_notifications(deployed.conf, deployed.db)() is None
    assert deployed.db._observers == ()


@pytest.mark.parametrize(
    ('driver', 'url', 'named'),
    [('messagingv2', None, 'driver'), ('messaging', None, 'driver'), ('messagingv2', 'pigeon://x/', 'transport_url')],
)
def test_what_cannot_be_sent_is_refused_at_start(deployed, driver, url, named):
    if url is None:
        deployed.conf.set_override('transport_url', 'inproc://')
    try:
        with (
            pytest.raises(errors.ConfigurationError, match=rf'Option {named} in \[oslo_messaging_notifications\]'),
            notifying(deployed, driver, url),
        ):
            pass
    finally:
        deployed.conf.clear_override('transport_url')


def test_a_broker_that_is_away_slows_nobody(deployed):
    api = Api(deployed)
    volume_id = deployed.make_volume()
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        with notifying(deployed, 'messagingv2', f'rabbit://g:s3cret@127.0.0.1:{probe.getsockname()[1]}/'):
            started = time.monotonic()
            ident = api.attach(volume_id)
            api.ask('DELETE', f'/v3/attachments/{ident}')
            assert time.monotonic() - started < 3


def test_a_full_queue_drops_and_says_so(deployed, caplog):
    gate = threading.Event()

    class Slow:
        def prepare(self, **kwargs):
            return self

        def info(self, *args):
            gate.wait(10)

        error = info

    sender = Sender(deployed.db, Slow(), queue_size=1)
    deployed.db.observe(sender.changed)
    deployed.make_volume()
    deployed.make_volume()
    assert 'queue_size in [notifications]' in caplog.text
    gate.set()
    sender.stop()


def test_every_event_of_the_tables_is_known_or_silent():
    from multiattach.domain import states

    # A download is part of a creation; a retype is told when it is done, and its migration is.
    silent = {'reserve', 'exported', 'connect', 'fence_failed', 'download', 'retype'}
    told = set(events._VOLUME) | set(events._ATTACHMENT)
    assert {*states.ATTACHMENT_EVENTS, *states.VOLUME_EVENTS} - told <= silent


def test_over_a_real_broker(deployed, tmp_path):
    from tests.testbed.servers import RabbitMQ

    got = []

    class Endpoint:
        def info(self, ctxt, publisher_id, event_type, payload, metadata):
            got.append((event_type, payload))

    with RabbitMQ(tmp_path / 'rabbitmq') as rabbit, notifying(deployed, 'messagingv2', rabbit.url):
        listener = messaging.get_notification_listener(
            messaging.get_notification_transport(deployed.conf, url=rabbit.url),
            [messaging.Target(topic='notifications')],
            [Endpoint()],
        )
        listener.start()
        Api(deployed).attach(deployed.make_volume())
        deployed.wait(lambda: len(got) == 4, 30)
        listener.stop()
        listener.wait()
    assert [name for name, _ in got] == [
        'volume.create.start',
        'volume.create.end',
        'volume.attach.start',
        'volume.attach.end',
    ]


def test_the_life_of_a_snapshot(deployed, sent):
    api = Api(deployed)
    volume_id = deployed.make_volume()
    made = api.ask('POST', '/v3/snapshots', {'snapshot': {'volume_id': volume_id, 'metadata': {'a': 'b'}}})
    snapshots, ident = deployed.engine.snapshots, made.json['snapshot']['id']
    deployed.wait(lambda: snapshots.show(deployed.ctx, ident).status == 'available')
    api.ask('PUT', f'/v3/snapshots/{ident}', {'snapshot': {'name': 'new'}})
    api.ask('POST', f'/v3/volumes/{volume_id}/action', {'revert': {'snapshot_id': ident}})
    deployed.wait(lambda: deployed.status(volume_id) == 'available')
    api.ask('DELETE', f'/v3/snapshots/{ident}')
    found = [one for one in sent(11) if one[1].startswith(('snapshot.', 'volume.revert'))]
    assert names(found) == [
        'snapshot.create.start',
        'snapshot.create.end',
        'snapshot.update.end',
        'volume.revert.start',
        'snapshot.revert.start',
        'volume.revert.end',
        'snapshot.revert.end',
        'snapshot.delete.start',
        'snapshot.delete.end',
    ]
    for _ctxt, event, payload, message in found:
        if event.startswith('snapshot.'):
            # What Cinder's _usage_from_snapshot has.
            assert payload.keys() >= {
                'tenant_id',
                'user_id',
                'availability_zone',
                'volume_size',
                'display_name',
                'status',
            }
            assert (payload['snapshot_id'], payload['volume_id'], payload['volume_size']) == (ident, volume_id, 1)
            assert message['publisher_id'] == 'snapshot.testhost@file'
            json.dumps(payload)
    assert found[-1][2]['deleted'] == 'True'
