# SPDX-License-Identifier: Apache-2.0
"""The one renderer of errors (contract 1.3)."""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import webob
from webob import exc

from multiattach.domain import errors

LOG = logging.getLogger(__name__)

_KEYS = {
    400: 'badRequest',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'itemNotFound',
    405: 'badMethod',
    409: 'conflictingRequest',
    413: 'overLimit',
    415: 'badMediaType',
    501: 'notImplemented',
    503: 'serviceUnavailable',
}
_UNEXPECTED = 'The server has either erred or is incapable of performing the requested operation.'
_MAX_MESSAGE = 2000

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Unrouted(Exception):
    """No route matched: answered in WebOb's own shape (contract 1.3)."""


class NoSuchMethod(errors.NotFound):
    """The method exists from a later microversion only (contract 1.2)."""

    def __init__(self) -> None:
        super().__init__('The resource could not be found.')


class UnsupportedMediaType(errors.MultiattachError):
    """The body is of a type that is not served (415)."""

    code = 415


class Malformed(errors.InvalidInput):
    """The body cannot be read (400)."""

    def __init__(self, message: str = 'Malformed request body') -> None:
        super().__init__(message)


def find_key(status: int) -> str:
    """Return the one key in the body of an error."""
    return _KEYS.get(status, 'computeFault')


def render(status: int, message: str, retry_after: int | None = None) -> webob.Response:
    """Render an error; *retry_after* is in seconds."""
    key = find_key(status)
    fault: dict[str, Any] = {'code': status, 'message': message[:_MAX_MESSAGE]}
    response = webob.Response(status=status, content_type='application/json', charset='UTF-8')
    if status == 413:
        retry_after = 0
    if retry_after is not None:
        fault['retryAfter'] = response.headers['Retry-After'] = str(retry_after)
    response.body = json.dumps({key: fault}).encode()
    return response


def answer(error: BaseException) -> webob.Response:
    """Turn whatever was raised into a reply; the unexpected is logged.

    An :class:`Unrouted` and a body too large are in WebOb's own shape, as the client accepts it.
    """
    if isinstance(error, Unrouted):
        return exc.HTTPNotFound()
    if isinstance(error, exc.HTTPRequestEntityTooLarge):
        return exc.HTTPRequestEntityTooLarge(explanation=error.explanation)
    if isinstance(error, errors.MultiattachError):
        # That the database is away is told once, where it is connected to, and not for each request.
        if error.code >= 500 and not isinstance(error, errors.DatabaseAway):
            LOG.warning('%s: %s', type(error).__name__, error.message)
        return render(error.code, error.message)
    if isinstance(error, exc.HTTPException):
        return render(error.status_int, error.detail or error.explanation)
    LOG.error('Unexpected %s', type(error).__name__, exc_info=error)
    return render(500, _UNEXPECTED)
