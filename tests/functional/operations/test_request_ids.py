# SPDX-License-Identifier: Apache-2.0
"""One id from the caller to the worker, in each line of the log."""

import json
import logging
import re

import oslo_messaging as messaging
import pytest
from oslo_context import context as oslo_context
from oslo_log import formatters

from multiattach import request_ids
from multiattach.engine.context import RequestContext
from multiattach.rpc import clients, transport
from tests.functional.operations.conftest import Api

GLOBAL = 'req-11111111-2222-3333-4444-555555555555'
LOG = logging.getLogger('multiattach.test_request_ids')
REQUEST_ID = re.compile(r'req-[0-9a-f-]{36}')


class Lines(logging.Handler):
    """Lines as oslo.log's formatters write them."""

    def __init__(self, formatter):
        super().__init__(logging.INFO)
        self.setFormatter(formatter)
        self.lines = []

    def emit(self, record):
        self.lines.append((record.name, self.format(record)))


@pytest.fixture(params=['text', 'json'])
def lines(request, deployed):
    formatter = (
        formatters.JSONFormatter()
        if request.param == 'json'
        else formatters.ContextFormatter(config=deployed.conf, project='multiattach')
    )
    handler = Lines(formatter)
    root = logging.getLogger('multiattach')
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def test_from_the_caller_to_the_worker(lines, deployed, monkeypatch):
    api = Api(deployed)
    volume_id = deployed.make_volume()
    exporter = deployed.exporter
    real = type(exporter).export

    def export(self, *args):
        LOG.info('the worker is asked')
        return real(self, *args)

    monkeypatch.setattr(type(exporter), 'export', export)
    real_reserve = type(deployed.engine.attachments).reserve

    def reserve(self, *args):
        LOG.info('the API is asked')
        return real_reserve(self, *args)

    monkeypatch.setattr(type(deployed.engine.attachments), 'reserve', reserve)
    reply = api.ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume_id,
                'instance_uuid': GLOBAL.removeprefix('req-'),
                'connector': {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h'},
            }
        },
        **{'X-OpenStack-Request-ID': GLOBAL},
    )
    own = reply.headers['X-OpenStack-Request-ID']
    assert REQUEST_ID.fullmatch(own)
    assert own != GLOBAL
    said = [text for name, text in lines.lines if name == LOG.name]
    assert len(said) == 2
    for text in said:
        assert own in text
        assert GLOBAL in text
    assert oslo_context.get_current() is None


def test_the_next_request_has_ids_of_its_own(lines, deployed, monkeypatch):
    api = Api(deployed)
    seen = []
    monkeypatch.setattr(
        type(deployed.engine.volumes), 'list_page', lambda self, *a, **k: seen.append(oslo_context.get_current()) or []
    )
    for index in range(3):
        reply = api.ask('GET', '/v3/volumes', **{'X-Auth-Token': f'user{index}:{"a" * 32}'})
        assert seen[index].request_id == reply.headers['X-OpenStack-Request-ID']
        assert seen[index].user_id == f'user{index}'


@pytest.mark.parametrize('value', ['nonsense', 'req-none', GLOBAL + 'x', GLOBAL.upper()])
def test_a_bogus_global_id_is_not_taken(deployed, value):
    api = Api(deployed)
    reply = api.ask('GET', '/v3/volumes', **{'X-OpenStack-Request-ID': value})
    assert REQUEST_ID.fullmatch(reply.headers['X-OpenStack-Request-ID'])
    assert value not in str(reply.headers)


def test_a_context_that_the_service_makes_is_nobodys_request():
    request_ids.clear()
    RequestContext(is_admin=True, request_id='req-1')
    assert oslo_context.get_current() is None
    RequestContext(request_id='req-2').bind()
    assert oslo_context.get_current().request_id == 'req-2'
    RequestContext(is_admin=True, request_id='req-3')
    assert oslo_context.get_current().request_id == 'req-2'
    request_ids.clear()


def test_a_worker_takes_contexts_of_an_older_release(deployed):
    seen = []

    class Endpoint:
        target = messaging.Target(version='1.0')

        @messaging.expose
        def create_volume(self, context, volume_id):
            seen.append((dict(context), oslo_context.get_current()))

    server = transport.make_server(deployed.rpc, clients.VOLUME_TOPIC, 'old@x', Endpoint())
    server.start()
    client = messaging.get_rpc_client(
        deployed.rpc, messaging.Target(topic=clients.VOLUME_TOPIC, server='old@x', version='1.0'), timeout=10
    )
    client.call({'request_id': 'req-old'}, 'create_volume', volume_id='v')
    client.call({'request_id': None}, 'create_volume', volume_id='v')
    client.call({}, 'create_volume', volume_id='v')
    server.stop()
    server.wait()
    assert seen[0][1].request_id == 'req-old'
    assert [found for _context, found in seen[1:]] == [None, None]


def test_json_lines_hold_no_token(lines, deployed):
    RequestContext(request_id='req-9', auth_token='gAAAAsecrettoken').bind()
    LOG.warning('something')
    request_ids.clear()
    [(_, text)] = [found for found in lines.lines if found[0] == LOG.name]
    assert 'gAAAAsecrettoken' not in text
    if text.startswith('{'):
        assert json.loads(text)['context']['request_id'] == 'req-9'
