# SPDX-License-Identifier: Apache-2.0
"""Who did it, from where, by which request: in the timeline, in notifications, and in a line of the log."""

import json
import logging
import re
import uuid

import pytest
from oslo_messaging.notify import _impl_test

from multiattach.db import attachments as db_attachments
from tests.functional.operations.test_notifications import notifying

WHO = {'X-Auth-Token': f'eve:{"c" * 32}', 'X-OpenStack-Request-ID': f'req-{uuid.UUID(int=7)}'}


@pytest.fixture
def audited(caplog):
    """The audit lines so far, as a mapping each."""
    caplog.set_level(logging.INFO, 'multiattach.audit')

    def read():
        found = []
        for record in caplog.records:
            if record.name == 'multiattach.audit':
                method, path, status, *rest = record.getMessage().split(' ')
                found.append({'what': f'{method} {path} {status}', **dict(one.split('=', 1) for one in rest)})
        return found

    return read


def make_volume(api):
    reply = api.ask('POST', '/v3/volumes', {'volume': {'size': 1}}, **WHO)
    ident = reply.json['volume']['id']
    api.deployed.wait(lambda: api.deployed.status(ident) == 'available')
    return ident


def test_each_act_has_a_line(api, audited):
    volume = make_volume(api)
    api.ask('POST', f'/v3/volumes/{volume}/action', {'os-extend': {'new_size': 2}}, **WHO)
    api.deployed.wait(lambda: api.deployed.status(volume) == 'available')
    api.ask('GET', f'/v3/volumes/{volume}', **WHO)  # which changes nothing
    reply = api.ask('DELETE', f'/v3/volumes/{volume}', **WHO)
    api.ask('DELETE', f'/v3/volumes/{uuid.uuid4()}', status=404, **WHO)
    created, extended, deleted, missed = audited()
    assert created['what'] == 'POST /v3/volumes 202'
    assert extended['what'] == f'POST /v3/volumes/{volume}/action 202'
    assert extended['action'] == 'os-extend'
    assert deleted == {
        'what': f'DELETE /v3/volumes/{volume} 202',
        'user': 'eve',
        'project': 'c' * 32,
        'from': '192.0.2.9',
        'request': reply.headers['X-OpenStack-Request-ID'],
        'global_request': WHO['X-OpenStack-Request-ID'],
    }
    assert missed['what'].endswith(' 404')


def test_those_who_are_not_let_in_have_a_line_too(api, audited):
    api.ask('POST', '/v3/volumes', {'volume': {'size': 1}}, status=403, Host='evil.example')
    [line] = audited()
    assert (line['what'], line['from']) == ('POST /v3/volumes 403', '192.0.2.9')
    assert 'user' not in line


def test_nobody_forges_a_line(api, audited):
    api.ask('DELETE', '/v3/volumes/a%0Auser=root%20b', status='*', **{'X-Auth-Token': 'eve user=root\x1b[31m:p q'})
    [line] = audited()
    assert line['what'] == 'DELETE /v3/volumes/a%0Auser%3Droot%20b 404'
    assert line['user'] == 'eve?user?root??31m'
    assert line['project'] == 'p?q'


def test_the_timeline_names_the_user(api):
    volume = make_volume(api)
    reply = api.ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume,
                'instance_uuid': str(uuid.uuid4()),
                'connector': {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h', 'ip': '192.0.2.7'},
            }
        },
        **WHO,
    )
    ident = reply.json['attachment']['id']
    deleted = api.ask('DELETE', f'/v3/attachments/{ident}', **WHO)
    with api.deployed.db.reader() as session:
        lines = [json.loads(line) for line in db_attachments.get_timeline(session, ident).splitlines()]
    by_event = {line['event']: line for line in lines}
    for event in ('reserve', 'export', 'unexport'):
        line = by_event[event]
        assert (line['by'], line['user'], line['project'], line['from']) == ('api', 'eve', 'c' * 32, '192.0.2.9'), event
    assert by_event['unexport']['request_id'] == deleted.headers['X-OpenStack-Request-ID']
    # What the worker does is found by the request.
    assert by_event['remove']['request_id'] == by_event['unexport']['request_id']
    assert 'user' not in by_event['remove']
    shown = api.ask('GET', f'/v3/multiattach/attachments/{ident}/explain', **WHO).json['explanation']
    step = next(step for step in shown['timeline'] if step['event'] == 'unexport')
    assert (step['user_id'], step['project_id'], step['address']) == ('eve', 'c' * 32, '192.0.2.9')


def test_notifications_name_the_user(api):
    _impl_test.reset()
    volume = make_volume(api)
    with notifying(api.deployed, 'test'):
        api.ask(
            'POST',
            '/v3/attachments',
            {
                'attachment': {
                    'volume_uuid': volume,
                    'instance_uuid': str(uuid.uuid4()),
                    'connector': {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h', 'ip': '192.0.2.7'},
                }
            },
            **{**WHO, 'X-Auth-Token': f'mallory:{"c" * 32}'},
        )
        api.deployed.wait(lambda: len(_impl_test.NOTIFICATIONS) >= 1)
    ctxt, message, *_ = _impl_test.NOTIFICATIONS[0]
    payload = message['payload']
    assert payload['user_id'] == 'eve'  # whose volume it is
    assert re.fullmatch('req-.*', payload['request_id'])
    assert payload['caller'] == {
        'user_id': 'mallory',
        'project_id': 'c' * 32,
        'service_id': None,
        'address': '192.0.2.9',
    }
    assert ctxt.user_id == 'mallory'
    _impl_test.reset()
