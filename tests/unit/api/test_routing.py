# SPDX-License-Identifier: Apache-2.0
import pecan
import pytest
import webob

from multiattach.api import microversion, routing
from multiattach.api.routing import Controller, route
from multiattach.api.settings import ApiSettings
from multiattach.api.validation import Versioned
from multiattach.domain import errors

ANY = Versioned({0: {}})


class Things(Controller):
    """Tells which method answered, with what."""

    @route('GET', '/things')
    def index(self, req):
        return {'index': req.query, 'project': req.url_project, 'version': str(req.version)}

    @route('GET', '/things/detail')
    def detail(self, _req):
        return {'detail': True}

    @route('GET', '/things/{thing}')
    def show(self, _req, thing):
        return {'show': thing}

    @route('GET', '/things/{thing}/parts/{part}')
    def part(self, _req, thing, part):
        return {'part': [thing, part]}

    @route('POST', '/things', status=202, body=ANY)
    def create(self, _req, body):
        return {'create': body}

    @route('DELETE', '/things/{thing}', status=202)
    def delete(self, _req, _thing):
        return None

    @route('GET', '/empty')
    def empty(self, _req):
        return None

    @route('GET', '/later', since=27)
    def later(self, _req):
        return {}

    @route('GET', '/whole')
    def whole(self, _req):
        return pecan.Response('text', status=203, content_type='text/plain')

    @route('GET', '/wrong')
    def wrong(self, _req):
        raise errors.Conflict('why')

    @route('GET', '/broken')
    def broken(self, _req):
        raise RuntimeError

    @route('GET', '/strict', query=Versioned({0: {'properties': {'n': {'pattern': '^[0-9]+$'}}}}))
    def strict(self, req):
        return req.query


@pytest.fixture(scope='module')
def application():
    settings = ApiSettings()
    return routing.make_app(microversion.BLOCK_STORAGE, [Things(None, settings)], settings)


@pytest.fixture
def call(application):
    def call(method, path, body=None, **headers):
        request = webob.Request.blank(
            path,
            method=method,
            headers={'Accept': 'application/json', **{name.replace('_', '-'): text for name, text in headers.items()}},
        )
        if body is not None:
            request.body = body
            request.content_type = headers.get('content_type', 'application/json')
        return request.get_response(application)

    return call


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('/things', {'index': {}, 'project': None, 'version': '3.0'}),
        ('/things?a=1&a=2', {'index': {'a': '2'}, 'project': None, 'version': '3.0'}),
        ('/abc/things', {'index': {}, 'project': 'abc', 'version': '3.0'}),
        ('/things.json', {'index': {}, 'project': None, 'version': '3.0'}),
        ('/things/detail', {'detail': True}),
        ('/things/detail.json', {'detail': True}),
        ('/things/abc', {'show': 'abc'}),
        ('/things/a.b.json', {'show': 'a.b'}),
        ('/things/a%20b', {'show': 'a b'}),
        ('/things/%C3%A4', {'show': 'ä'}),
        ('/abc/things/abc', {'show': 'abc'}),
        ('/things/detail/parts/2', {'part': ['detail', '2']}),
        ('/things/1/parts/2', {'part': ['1', '2']}),
    ],
)
def test_what_answers(call, path, expected):
    reply = call('GET', path)
    assert (reply.status_int, reply.json) == (200, expected)
    assert reply.content_type == 'application/json'


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('GET', '/'),
        ('GET', ''),
        ('GET', '/nothing'),
        ('GET', '/things/'),
        ('GET', '/things/1/parts'),
        ('GET', '//things'),
        ('GET', '/things/1/parts/2/3'),
        ('GET', '/XYZ/things'),
        ('GET', '/abc'),
        ('GET', '/abc/'),
        ('GET', '/abc/abc/things'),
        ('PUT', '/things'),
        ('PATCH', '/things/1'),
        ('HEAD', '/things'),
        ('OPTIONS', '/things'),
        ('GET', '/things/%00'),
        ('GET', '/_route'),
        ('GET', '/index'),
        ('GET', '/ABC/things'),
        ('GET', '/.json'),
    ],
)
def test_what_is_not_routed(call, method, path):
    reply = call(method, path)
    assert reply.status == '404 Not Found'
    assert 'openstack-api-version' not in reply.headers
    if method != 'HEAD':
        assert reply.json['code'] == '404 Not Found'


def test_an_empty_200_stays_200(call):
    reply = call('GET', '/empty')
    assert (reply.status_int, reply.body, reply.headers['Content-Length']) == (200, b'', '0')


def test_a_status_without_body(call):
    reply = call('DELETE', '/things/1')
    assert (reply.status_int, reply.body) == (202, b'')


def test_a_body(call):
    reply = call('POST', '/things', b'{"a": [1, "\\u00e4"]}')
    assert (reply.status_int, reply.json) == (202, {'create': {'a': [1, 'ä']}})


@pytest.mark.parametrize(
    'kind', ['application/json', 'application/json; charset=utf-8', 'application/vnd.openstack.volume+json']
)
def test_types_of_bodies(call, kind):
    assert call('POST', '/things', b'1', content_type=kind).status_int == 202


@pytest.mark.parametrize(
    'kind', ['text/plain', 'application/xml', 'multipart/form-data', 'nonsense', 'application/x-www-form-urlencoded']
)
def test_other_types_of_bodies(call, kind):
    assert call('POST', '/things', b'1', content_type=kind).json['badMediaType']['code'] == 415


def test_a_body_where_none_belongs_is_ignored(call):
    assert call('DELETE', '/things/1', b'{', content_type='text/plain').status_int == 202


def test_a_whole_response(call):
    reply = call('GET', '/whole')
    assert (reply.status_int, reply.text, reply.content_type) == (203, 'text', 'text/plain')


def test_errors_carry_the_version(call):
    reply = call('GET', '/wrong', OpenStack_API_Version='volume 3.5')
    assert reply.json == {'conflictingRequest': {'code': 409, 'message': 'why'}}
    assert reply.headers['OpenStack-API-Version'] == 'volume 3.5'


def test_the_unexpected_is_500(call):
    assert call('GET', '/broken').json['computeFault']['code'] == 500


@pytest.mark.parametrize(('version', 'status'), [('3.26', 404), ('3.27', 200), ('3.71', 200)])
def test_later_methods(call, version, status):
    assert call('GET', '/later', OpenStack_API_Version=f'volume {version}').status_int == status


def test_routing_comes_before_negotiation(call):
    assert call('GET', '/nothing', OpenStack_API_Version='volume x').status_int == 404
    assert call('GET', '/things', OpenStack_API_Version='volume x').status_int == 400


def test_queries_are_checked(call):
    assert call('GET', '/strict?n=1').json == {'n': '1'}
    assert call('GET', '/strict?n=x').status_int == 400


def test_two_routes_at_one_place_are_an_error():
    class Twice(Controller):
        @route('GET', '/things/{a}')
        def one(self, _req, _a):
            return {}

        @route('GET', '/things/{b}')
        def two(self, _req, _b):
            return {}

    with pytest.raises(ValueError, match='Two routes'):
        routing.make_app(microversion.BLOCK_STORAGE, [Twice(None, ApiSettings())], ApiSettings())
