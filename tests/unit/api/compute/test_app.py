# SPDX-License-Identifier: Apache-2.0
import webob

from multiattach.api.compute import app
from multiattach.api.settings import ApiSettings


class _Closed:
    """Lets nobody in."""

    def __init__(self, _application, _settings):
        pass

    def __call__(self, environ, start_response):
        return webob.Response(status=401)(environ, start_response)


def status_of(path):
    compute = app.make_app(None, ApiSettings(), _Closed)  # no use case is reached
    return webob.Request.blank(path).get_response(compute).status_int


def test_discovery_needs_no_token_and_all_the_rest_does():
    assert [status_of(path) for path in ('/', '/v2.1', '/v2.1/')] == [200] * 3
    for path in ('/v2.1/servers', '/v2.1/nothing', '/v2.1/flavors/detail'):
        assert status_of(path) == 401
    assert status_of('/v2/servers') == 404
