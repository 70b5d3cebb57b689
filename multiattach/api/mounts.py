# SPDX-License-Identifier: Apache-2.0
"""Several WSGI applications under one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multiattach.api.faults import WsgiApp

# Where the server in front mounts us: SCRIPT_NAME before any mount of our own is in it.
ROOT = 'multiattach.root'


class Mounts:
    """Dispatches on the first segment of the path.

    :param applications: by path prefix, one segment each.
    :param default: for all other paths.
    """

    def __init__(self, applications: Mapping[str, WsgiApp], default: WsgiApp) -> None:
        self._applications = dict(applications)
        self._default = default

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        path = environ.get('PATH_INFO', '')
        prefix = path[1:].partition('/')[0]
        application = self._applications.get(f'/{prefix}')
        if application is None:
            return self._default(environ, start_response)
        environ.setdefault(ROOT, environ.get('SCRIPT_NAME', ''))
        environ['SCRIPT_NAME'] = f'{environ.get("SCRIPT_NAME", "")}/{prefix}'
        environ['PATH_INFO'] = path[len(prefix) + 1 :]
        return application(environ, start_response)
