# SPDX-License-Identifier: Apache-2.0
"""Who is calling: one WSGI middleware per strategy, each leaves a request context."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from multiattach.api.faults import WsgiApp
from multiattach.api.request import CONTEXT
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors
from multiattach.engine.context import RequestContext

Middleware = Callable[[WsgiApp, ApiSettings], WsgiApp]
_DEFAULT_USER = 'admin'
_MAX_NAME = 255
_ALL_ROLES = ('admin', 'member', 'reader')


class NoAuth:
    """Believes everybody: the token is ``USER:PROJECT``, both may be absent.

    Everybody is an admin. A project that the token does not name is that of the URL, else the
    default project, so that all ways to call without Keystone see the same volumes.

    :param application: what it guards.
    :param settings: settings of the API.
    """

    def __init__(self, application: WsgiApp, settings: ApiSettings) -> None:
        self._application = application
        self._default_project = settings.default_project_id
        # Two segments at least: a lone one is no project but a collection.
        self._in_url = re.compile(rf'(?:/v\d[\d.]*)?/({settings.project_id_regex})/.+')

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        user, _, project = environ.get('HTTP_X_AUTH_TOKEN', '').partition(':')
        if not project:
            match = self._in_url.fullmatch(environ.get('PATH_INFO', ''))
            project = match[1] if match else self._default_project
        if any(len(name) > _MAX_NAME or '\0' in name for name in (user, project)):
            raise errors.InvalidInput('User and project must be texts of 1 to 255 characters.')
        ctx = environ[CONTEXT] = RequestContext(
            user_id=user or _DEFAULT_USER, project_id=project, roles=list(_ALL_ROLES), is_admin=True,
            service_roles=split_roles(environ.get('HTTP_X_SERVICE_ROLES', '')),
            request_id=environ.get('openstack.request_id'),
            global_request_id=environ.get('openstack.global_request_id'))
        ctx.bind()
        return self._application(environ, start_response)


def split_roles(header: str) -> list[str]:
    """Split a header of roles.

    :param header: names with commas between.
    :returns: the names.
    """
    return [role.strip() for role in header.split(',') if role.strip()]


STRATEGIES: dict[str, Middleware] = {'noauth': NoAuth}
