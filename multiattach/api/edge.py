# SPDX-License-Identifier: Apache-2.0
"""What is done around each request: its ids, its line in the audit log, its time in the metrics, its last resort.

One plain WSGI middleware instead of one for each: every one that makes objects of request and reply costs as much as
routing does.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import webob
from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_log import log
from oslo_middleware import http_proxy_to_wsgi, request_id, sizelimit

from multiattach import request_ids, signals
from multiattach.api import faults
from multiattach.api.faults import WsgiApp
from multiattach.api.request import ACTION, CONTEXT, ROUTE
from multiattach.domain.callers import Caller

# Its lines alone may be sent elsewhere, by the name of the logger.
AUDIT = log.getLogger('multiattach.audit')
_READING = ('GET', 'HEAD', 'OPTIONS')
_MOST_PATH = 1000
_MOST_DIGITS = 19
_PLAIN = frozenset({'healthcheck'})
_GLOBAL_ID = re.compile(request_id.ID_FORMAT)


class Edge:
    """The outermost middleware, but for the one that reads a proxy's headers.

    It gives a request its id and has each line of the log carry it, logs who did what (one line for each request
    that changes something, or tries to), reports each request by the template of its path, and lets no exception
    through to the server.
    """

    def __init__(self, application: WsgiApp) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        started = time.perf_counter()
        mount = environ.get('PATH_INFO', '')[1:].partition('/')[0]
        ident = _identify(environ)
        path = None if environ['REQUEST_METHOD'] in _READING else _quote_path(environ)
        status = 500

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            if path is not None:
                _log_act(environ, path, line[:3])
            return start_response(line, [*headers, (request_id.HTTP_RESP_HEADER_REQUEST_ID, ident)], *exc_info)

        try:
            return self._application(environ, start)
        except Exception as error:
            replied: Iterable[bytes] = faults.answer(error)(environ, start)
            return replied
        finally:
            request_ids.clear()
            signals.sink.http(
                _find_route(environ, mount), environ['REQUEST_METHOD'], status, time.perf_counter() - started
            )


def _identify(environ: dict[str, Any]) -> str:
    """Give a request its id; a caller may bring a global one along, as oslo.middleware has it."""
    ident: str = oslo_context.generate_request_id()
    environ[request_id.ENV_REQUEST_ID] = ident
    brought = environ.get('HTTP_X_OPENSTACK_REQUEST_ID', '')
    if _GLOBAL_ID.match(brought):
        environ[request_id.GLOBAL_REQ_ID] = brought
    oslo_context.RequestContext(request_id=ident, global_request_id=environ.get(request_id.GLOBAL_REQ_ID))
    return ident


def _find_route(environ: dict[str, Any], mount: str) -> str:
    """Return a name out of the code: what a client may choose would be labels without end."""
    path = environ.get(ROUTE)
    if path is not None:
        return f'/{mount}{path}'
    return f'/{mount}' if mount in _PLAIN else 'none'


def _quote_path(environ: dict[str, Any]) -> str:
    path = environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    return quote(path.encode('latin-1'))[:_MOST_PATH]


def _log_act(environ: dict[str, Any], path: str, status: str) -> None:
    ctx = environ.get(CONTEXT)  # none for one who was not let in
    caller = (ctx and ctx.caller) or Caller(address=environ.get('REMOTE_ADDR'))
    told = {
        **caller.tell(),
        'action': environ.get(ACTION),
        'request': environ.get(request_id.ENV_REQUEST_ID),
        'global_request': environ.get(request_id.GLOBAL_REQ_ID),
    }
    AUDIT.info(
        '%s %s %s%s',
        environ['REQUEST_METHOD'] if environ['REQUEST_METHOD'].isalpha() else '?',
        path,
        status,
        ''.join(f' {key}={value}' for key, value in told.items() if value),
    )


class BodyLimit(sizelimit.RequestBodySizeLimiter):
    """oslo.middleware's limit of bodies, asked only about those that may be too long."""

    def __init__(self, application: WsgiApp, conf: cfg.ConfigOpts) -> None:
        super().__init__(application, conf)
        self._served = application
        self._most: int = conf.oslo_middleware.max_request_body_size

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        serve = super().__call__ if self._may_exceed(environ) else self._served
        replied: Iterable[bytes] = serve(environ, start_response)
        return replied

    def _may_exceed(self, environ: dict[str, Any]) -> bool:
        length = environ.get('CONTENT_LENGTH') or ''
        if length.isdecimal() and len(length) < _MOST_DIGITS:
            return int(length) > self._most
        return 'wsgi.input_terminated' in environ  # else WebOb reads nothing of it


class ProxyHeaders(http_proxy_to_wsgi.HTTPProxyToWSGI):
    """oslo.middleware's reading of what a proxy says of the client, without a copy of request and reply."""

    def __init__(self, application: WsgiApp, conf: cfg.ConfigOpts) -> None:
        super().__init__(application, conf)
        self._served = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        self.process_request(webob.Request(environ))
        return self._served(environ, start_response)
