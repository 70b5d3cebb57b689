# SPDX-License-Identifier: Apache-2.0
import json
import time

import webob

from multiattach import signals, turns
from multiattach.api import admission
from multiattach.api.settings import ApiSettings


class Sink:
    def __init__(self):
        self.count = 0

    def refused(self):
        self.count += 1


def ask(settings, waited):
    asked = []

    def authenticate(application, _settings):
        def serve(environ, start_response):
            asked.append('token')
            return application(environ, start_response)

        return serve

    def application(environ, start_response):
        asked.append('application')
        return webob.Response('well')(environ, start_response)

    request = webob.Request.blank('/')
    if waited is not None:
        request.environ[turns.ARRIVED] = time.monotonic() - waited
    return request.get_response(admission.bound(authenticate, settings)(application, settings)), asked


def test_who_has_waited_too_long_is_told_when_to_come_back():
    sink = Sink()
    signals.install(sink)
    try:
        reply, asked = ask(ApiSettings(max_queue_time=5), 6)
    finally:
        signals.remove(sink)
    assert reply.status_int == 503
    fault = json.loads(reply.body)['serviceUnavailable']
    assert fault['code'] == 503
    assert 1 <= int(reply.headers['Retry-After']) <= 5
    assert fault['retryAfter'] == reply.headers['Retry-After']
    assert asked == []
    assert sink.count == 1


def test_others_are_served():
    for settings, waited in (
        (ApiSettings(max_queue_time=5), 4),
        (ApiSettings(max_queue_time=5), None),
        (ApiSettings(max_queue_time=0), 1000),
        (ApiSettings(max_active_requests=1), 0),
    ):
        reply, asked = ask(settings, waited)
        assert (reply.status_int, asked) == (200, ['token', 'application'])
