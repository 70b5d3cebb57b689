# SPDX-License-Identifier: Apache-2.0
"""Who is calling: one WSGI middleware per strategy, each leaves a request context."""

import functools
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from multiattach.api import faults
from multiattach.api.faults import WsgiApp
from multiattach.api.request import CONTEXT, JSON_TYPES
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors
from multiattach.engine.context import RequestContext

Middleware = Callable[[WsgiApp, ApiSettings], WsgiApp]
_SAFE = ('GET', 'HEAD')
_ASKED_FOR = ('HTTP_X_AUTH_TOKEN', 'HTTP_OPENSTACK_API_VERSION', 'HTTP_X_OPENSTACK_NOVA_API_VERSION')
_DEFAULT_USER = 'admin'
_MAX_NAME = 255
_ALL_ROLES = ('admin', 'member', 'reader')


class NoAuth:
    """Believes everybody: the token is ``USER:PROJECT``, both may be absent.

    Everybody is an admin. A project that the token does not name is that of the URL, else the
    default project, so that all ways to call without Keystone see the same volumes.

    Whoever reaches the service is believed, but a web page in a browser that reaches it is not meant: what
    a browser sends for any page without asking us before, and names that pages have lead here, are refused.
    """

    def __init__(self, application: WsgiApp, settings: ApiSettings) -> None:
        self._application = application
        self._default_project = settings.default_project_id
        self._hosts = {
            name.lower()
            for name in (
                'localhost',
                socket.gethostname(),
                *settings.noauth_hosts,
                urlsplit(settings.public_endpoint).hostname or 'localhost',
            )
        }
        self._is_served = functools.lru_cache(maxsize=64)(self._is_ours)  # clients name the same few hosts
        # Two segments at least: a lone one is no project but a collection.
        self._in_url = re.compile(rf'(?:/v\d[\d.]*)?/({settings.project_id_regex})/.+')

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self._check_browser(environ)
        user, _, project = environ.get('HTTP_X_AUTH_TOKEN', '').partition(':')
        if not project:
            match = self._in_url.fullmatch(environ.get('PATH_INFO', ''))
            project = match[1] if match else self._default_project
        if any(len(name) > _MAX_NAME or '\0' in name for name in (user, project)):
            raise errors.InvalidInput('User and project must be texts of 1 to 255 characters.')
        ctx = environ[CONTEXT] = RequestContext(
            user_id=user or _DEFAULT_USER,
            project_id=project,
            roles=list(_ALL_ROLES),
            is_admin=True,
            service_roles=split_roles(environ.get('HTTP_X_SERVICE_ROLES', '')),
            request_id=environ.get('openstack.request_id'),
            global_request_id=environ.get('openstack.global_request_id'),
        )
        ctx.address = environ.get('REMOTE_ADDR')
        ctx.bind()
        return self._application(environ, start_response)

    def _check_browser(self, environ: dict[str, Any]) -> None:
        """Refuse what a web page of somebody else makes a browser send.

        :raises NotAuthorized: the name of the host, or of the page, is another one's.
        :raises UnsupportedMediaType: a POST as any page may send it.
        """
        host = environ.get('HTTP_HOST', '')
        if host and not self._is_served(host):
            raise errors.NotAuthorized(
                f'Without authentication the API is not served as {host[:255]!r}: name it in option '
                'noauth_hosts in [api], or use an address.'
            )
        if environ['REQUEST_METHOD'] in _SAFE:
            return
        origin = environ.get('HTTP_ORIGIN')
        if origin is not None and _split(origin).netloc.lower() != host.lower():
            raise errors.NotAuthorized('Without authentication no request of another web page is taken.')
        # For these a browser asks before, and is not answered.
        if any(name in environ for name in _ASKED_FOR):
            return
        if environ.get('CONTENT_TYPE', '').partition(';')[0].strip().lower() not in JSON_TYPES:
            raise faults.UnsupportedMediaType(
                'Without authentication a request that changes something needs Content-Type: '
                'application/json, or an X-Auth-Token.'
            )

    def _is_ours(self, host: str) -> bool:
        """Tell whether a page cannot have given itself the name of a host: addresses have no name server."""
        name = _split(f'//{host}').hostname or ''
        if name in self._hosts or name.endswith('.localhost'):
            return True
        try:
            ipaddress.ip_address(name.partition('%')[0])
        except ValueError:
            return False
        return True


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # no URL at all
        return urlsplit('')


def split_roles(header: str) -> list[str]:
    return [role.strip() for role in header.split(',') if role.strip()]


STRATEGIES: dict[str, Middleware] = {'noauth': NoAuth}
