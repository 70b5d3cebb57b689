# SPDX-License-Identifier: Apache-2.0
"""Without authentication, a web page of somebody else makes nothing happen."""

import socket

import pytest
import webob

from multiattach.api import auth, edge
from multiattach.api.settings import ApiSettings

JSON = {'Content-Type': 'application/json'}


def ask(method='POST', *, settings=None, **headers):
    served = []

    def application(environ, start_response):
        served.append(environ)
        return webob.Response()(environ, start_response)

    guarded = edge.Edge(auth.NoAuth(application, settings or ApiSettings(noauth_hosts=('box',))))
    request = webob.Request.blank(
        '/multiattach/hosts/x/fence',
        method=method,
        body=b'{}',
        headers={name.replace('_', '-'): text for name, text in headers.items()},
    )
    status = request.get_response(guarded).status_int
    assert bool(served) == (status == 200)
    return status


@pytest.mark.parametrize(
    'kind',
    [
        None,
        '',
        'text/plain',
        'text/plain;application/json',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
    ],
)
@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH'])
def test_what_a_page_may_send_without_asking(method, kind):
    assert ask(method, **({} if kind is None else {'Content_Type': kind})) == 415


@pytest.mark.parametrize(
    'headers',
    [
        JSON,
        {'Content_Type': 'application/json; charset=utf-8'},
        {'X_Auth_Token': ''},
        {'OpenStack_API_Version': 'volume 3.70'},
        {'X_OpenStack_Nova_API_Version': '2.1'},
    ],
)
def test_what_a_browser_asks_for_before(headers):
    assert ask(**headers) == 200


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_what_changes_nothing(method):
    assert ask(method) == 200


@pytest.mark.parametrize(
    ('origin', 'status'),
    [
        ('http://evil.example', 403),
        ('null', 403),
        ('http://localhost', 403),
        ('http://[', 403),
        ('http://localhost:8776', 200),
        ('https://LOCALHOST:8776', 200),
    ],
)
def test_the_page_that_sends_it(origin, status):
    assert ask(Host='localhost:8776', Origin=origin, **JSON) == status


@pytest.mark.parametrize(
    ('host', 'status'),
    [
        ('localhost', 200),
        ('localhost:8776', 200),
        ('LocalHost:8776', 200),
        ('127.0.0.1:8776', 200),
        ('192.0.2.7', 200),
        ('[::1]:8776', 200),
        ('[fe80::1%25eth0]:8776', 200),
        ('a.localhost', 200),
        (socket.gethostname(), 200),
        ('box', 200),
        ('BOX:1', 200),
        ('cloud.example', 403),
        ('evil.example:8776', 403),
        ('localhost.evil.example', 403),
        ('127.0.0.1.evil.example', 403),
        ('1.2.3.4.5', 403),
        ('[', 403),
        ('box:x', 200),
        ('[::1', 403),
    ],
)
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_the_name_by_which_it_is_reached(method, host, status):
    assert ask(method, Host=host, **JSON) == status


def test_the_public_name_is_fine():
    settings = ApiSettings(public_endpoint='https://cloud.example/volume')
    assert ask(Host='cloud.example', settings=settings, **JSON) == 200
    assert ask(Host='other.example', settings=settings, **JSON) == 403
