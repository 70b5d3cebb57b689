# SPDX-License-Identifier: Apache-2.0
"""What is done around each request: its ids in the log, its time in the metrics."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from oslo_context import context as oslo_context

from multiattach import metrics, request_ids
from multiattach.api.faults import WsgiApp
from multiattach.api.request import ROUTE

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
            metrics.http(_find_route(environ, mount), environ['REQUEST_METHOD'], status,
                         time.perf_counter() - started)


def _find_route(environ: dict[str, Any], mount: str) -> str:
    """Return a name out of the code: what a client may choose would be labels without end."""
    path = environ.get(ROUTE)
    if path is not None:
        return f'/{mount}{path}'
    return f'/{mount}' if mount in _PLAIN else 'none'


class LoggedIds:
    """Middleware that has each line of the log carry the ids of the request; inside the one that makes them.

    :param application: what logs.
    """

    def __init__(self, application: WsgiApp) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        oslo_context.RequestContext(request_id=environ.get('openstack.request_id'),
                                    global_request_id=environ.get('openstack.global_request_id'))
        try:
            return self._application(environ, start_response)
        finally:
            request_ids.clear()
