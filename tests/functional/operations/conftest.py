# SPDX-License-Identifier: Apache-2.0
import contextlib
import urllib.request
import uuid

import pytest
import webtest

from multiattach import signals
from multiattach.cmd import operations
from multiattach.cmd.application import make_application
from tests.testbed.servers import pick_port

CONNECTOR = {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h', 'ip': '192.0.2.7'}


class Api:
    """The API of a deployment, with what an operator switches on."""

    def __init__(self, deployed):
        self.deployed = deployed
        self.app = webtest.TestApp(
            make_application(deployed.conf, deployed.engine, deployed.rpc), extra_environ={'REMOTE_ADDR': '192.0.2.9'}
        )

    def ask(self, method, path, body=None, status=None, **headers):
        headers = {'OpenStack-API-Version': 'volume 3.71', **headers}
        if body is None:
            return self.app.request(path, method=method, headers=headers, status=status)
        return getattr(self.app, f'{method.lower()}_json')(path, body, headers=headers, status=status)

    def attach(self, volume_id, complete=True):
        reply = self.ask(
            'POST',
            '/v3/attachments',
            {
                'attachment': {
                    'volume_uuid': volume_id,
                    'instance_uuid': str(uuid.uuid4()),
                    'connector': {**CONNECTOR, 'host': f'h-{uuid.uuid4()}'},
                }
            },
        )
        ident = reply.json['attachment']['id']
        if complete:
            self.ask('POST', f'/v3/attachments/{ident}/action', {'os-complete': None})
        return ident


@pytest.fixture
def api(deployed):
    return Api(deployed)


@pytest.fixture
def scrape(deployed):
    """Metrics switched on; returns what a scrape gives."""
    port = pick_port()
    deployed.conf.set_override('listen', f'127.0.0.1:{port}', group='metrics')
    with contextlib.ExitStack() as stack:
        stack.callback(deployed.conf.clear_override, 'listen', group='metrics')
        stack.callback(operations.start(deployed.conf, 'test', deployed.db, counts_rows=True))

        def get():
            with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=10) as reply:
                return reply.read().decode()

        yield get
    assert type(signals.sink) is signals.Sink
