# SPDX-License-Identifier: Apache-2.0
"""Events to Nova over real HTTP; Nova's side is played by a small server."""

import http.server
import json
import threading

import pytest
from keystoneauth1 import adapter, session, token_endpoint

from multiattach.drivers.nova.events import NovaEvents


class Nova(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str, dict]] = []
    status = 200
    reply = b'{}'

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.seen.append((self.path, self.headers['OpenStack-API-Version'], body))
        self.send_response(self.status)
        self.send_header('Content-Length', str(len(self.reply)))
        self.end_headers()
        self.wfile.write(self.reply)

    def log_message(self, *_args):
        pass


@pytest.fixture
def events():
    Nova.seen, Nova.status, Nova.reply = [], 200, b'{}'
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Nova)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}/v2.1'
    yield NovaEvents(
        adapter.Adapter(
            session.Session(auth=token_endpoint.Token(url, 't')), service_type='compute', endpoint_override=url
        )
    )
    server.shutdown()
    server.server_close()


def test_one_event_for_each_server(events):
    events.tell_extended('v', ['a', 'b'])
    assert Nova.seen == [
        (
            '/v2.1/os-server-external-events',
            'compute 2.51',
            {'events': [{'name': 'volume-extended', 'server_uuid': server, 'tag': 'v'} for server in ('a', 'b')]},
        )
    ]


def test_nobody_to_tell(events):
    events.tell_extended('v', [])
    assert Nova.seen == []


@pytest.mark.parametrize('status', [404, 403, 500])
def test_a_refusal_is_logged_and_no_more(events, status, caplog):
    Nova.status = status
    events.tell_extended('v', ['a'])
    assert 'was not told' in caplog.text


def test_events_that_nova_drops_are_logged(events, caplog):
    """207: Nova finds no such server, or finds it on no host."""
    Nova.status, Nova.reply = (
        207,
        json.dumps(
            {
                'events': [
                    {'name': 'volume-extended', 'server_uuid': 'a', 'tag': 'v', 'status': 'completed', 'code': 200},
                    {'name': 'volume-extended', 'server_uuid': 'b', 'tag': 'v', 'status': 'failed', 'code': 404},
                    {'name': 'volume-extended', 'server_uuid': 'c', 'tag': 'v', 'status': 'failed', 'code': 422},
                ]
            }
        ).encode(),
    )
    events.tell_extended('v', ['a', 'b', 'c'])
    assert 'server b was not told that volume v has grown: Nova answers 404' in caplog.text
    assert 'server c was not told that volume v has grown: Nova answers 422' in caplog.text
    assert 'server a' not in caplog.text


@pytest.mark.parametrize('reply', [b'', b'<html>', b'[]', b'{"events": 1}', b'{"events": [1]}'])
def test_a_reply_that_is_none_is_no_failure(events, caplog, reply):
    Nova.reply = reply
    events.tell_extended('v', ['a'])
    assert 'Traceback' not in caplog.text
