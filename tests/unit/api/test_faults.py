# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import webob
from webob import exc

from multiattach.api import edge, faults
from multiattach.domain import errors


@pytest.mark.parametrize(
    ('error', 'status', 'key'),
    [
        (errors.InvalidInput('why'), 400, 'badRequest'),
        (errors.InvalidVolume('why'), 400, 'badRequest'),
        (faults.Malformed('why'), 400, 'badRequest'),
        (errors.NotAuthorized('why'), 403, 'forbidden'),
        (errors.NotFound('why'), 404, 'itemNotFound'),
        (errors.Conflict('why'), 409, 'conflictingRequest'),
        (errors.QuotaExceeded('why'), 413, 'overLimit'),
        (faults.UnsupportedMediaType('why'), 415, 'badMediaType'),
        (errors.BackendError('why'), 500, 'computeFault'),
        (errors.Unavailable('why'), 503, 'serviceUnavailable'),
        (errors.OutcomeUnknown('why'), 504, 'computeFault'),
        (exc.HTTPUnauthorized('why'), 401, 'unauthorized'),
        (exc.HTTPMethodNotAllowed('why'), 405, 'badMethod'),
        (exc.HTTPNotImplemented('why'), 501, 'notImplemented'),
        (exc.HTTPBadGateway('why'), 502, 'computeFault'),
    ],
)
def test_the_shape(error, status, key):
    reply = faults.answer(error)
    assert reply.status_int == status
    assert reply.content_type == 'application/json'
    body = dict(reply.json[key])
    assert body.pop('retryAfter', None) == ('0' if status == 413 else None)
    assert body == {'code': status, 'message': 'why'}
    assert list(reply.json) == [key]


def test_the_unexpected_is_logged_and_not_shown(caplog):
    with caplog.at_level(logging.ERROR):
        reply = faults.answer(KeyError('something internal'))
    assert reply.status_int == 500
    assert 'internal' not in reply.text
    assert 'something internal' in caplog.text


def test_the_expected_is_not_logged(caplog):
    faults.answer(errors.Conflict('why'))
    faults.answer(exc.HTTPBadRequest('why'))
    assert caplog.text == ''


def test_no_message_is_endless():
    assert len(faults.answer(errors.InvalidInput('x' * 100_000)).body) < 3000


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (faults.Unrouted('internal'), '404 Not Found'),
        (exc.HTTPRequestEntityTooLarge(explanation='too much'), '413 Request Entity Too Large'),
    ],
)
def test_what_keeps_webobs_shape(error, status):
    request = webob.Request.blank('/', headers={'Accept': 'application/json'})
    reply = request.get_response(faults.answer(error))
    assert reply.json['code'] == reply.status == status
    assert 'internal' not in reply.text


def test_the_edge_lets_nothing_through():
    def application(_environ, _start_response):
        raise RuntimeError

    reply = webob.Request.blank('/').get_response(edge.Edge(application))
    assert reply.json['computeFault']['code'] == 500
