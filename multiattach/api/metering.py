# SPDX-License-Identifier: Apache-2.0
"""What is done around each request: who did it and its ids in the log, its time in the metrics."""

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from oslo_context import context as oslo_context
from oslo_log import log

from multiattach import request_ids, signals
from multiattach.api.faults import WsgiApp
from multiattach.api.request import ACTION, CONTEXT, ROUTE
from multiattach.domain.callers import Caller

# Its lines alone may be sent elsewhere, by the name of the logger.
AUDIT = log.getLogger('multiattach.audit')
_READING = ('GET', 'HEAD', 'OPTIONS')
_MOST_PATH = 1000
_PLAIN = frozenset({'healthcheck'})


class Meter:
    """Middleware that reports each request by the template of its path.

    :param application: what is measured.
    """

    def __init__(self, application: WsgiApp) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        started = time.perf_counter()
        mount = environ.get('PATH_INFO', '')[1:].partition('/')[0]
        status = 500

        def start(line: str, headers: Any, *exc_info: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, *exc_info)

        try:
            return self._application(environ, start)
        finally:
            signals.http(_find_route(environ, mount), environ['REQUEST_METHOD'], status, time.perf_counter() - started)


def _find_route(environ: dict[str, Any], mount: str) -> str:
    """Return a name out of the code: what a client may choose would be labels without end."""
    path = environ.get(ROUTE)
    if path is not None:
        return f'/{mount}{path}'
    return f'/{mount}' if mount in _PLAIN else 'none'


class AuditLog:
    """Middleware that logs who did what: one line for each request that changes something, or tries to.

    :param application: what is logged.
    """

    def __init__(self, application: WsgiApp) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        if environ['REQUEST_METHOD'] in _READING:
            return self._application(environ, start_response)
        path = quote(environ.get('SCRIPT_NAME', '').encode('latin-1') + environ.get('PATH_INFO', '').encode('latin-1'))[
            :_MOST_PATH
        ]

        def start(line: str, headers: Any, *exc_info: Any) -> Any:
            _log_act(environ, path, line[:3])
            return start_response(line, headers, *exc_info)

        return self._application(environ, start)


def _log_act(environ: dict[str, Any], path: str, status: str) -> None:
    ctx = environ.get(CONTEXT)  # none for one who was not let in
    caller = (ctx and ctx.caller) or Caller(address=environ.get('REMOTE_ADDR'))
    told = {
        **caller.tell(),
        'action': environ.get(ACTION),
        'request': environ.get('openstack.request_id'),
        'global_request': environ.get('openstack.global_request_id'),
    }
    AUDIT.info(
        '%s %s %s%s',
        environ['REQUEST_METHOD'] if environ['REQUEST_METHOD'].isalpha() else '?',
        path,
        status,
        ''.join(f' {key}={value}' for key, value in told.items() if value),
    )


class LoggedIds:
    """Middleware that has each line of the log carry the ids of the request; inside the one that makes them.

    :param application: what logs.
    """

    def __init__(self, application: WsgiApp) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        oslo_context.RequestContext(
            request_id=environ.get('openstack.request_id'), global_request_id=environ.get('openstack.global_request_id')
        )
        try:
            return self._application(environ, start_response)
        finally:
            request_ids.clear()
