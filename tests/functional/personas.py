# SPDX-License-Identifier: Apache-2.0
"""Callers who are no admins, as Keystone would tell of them: roles and project in headers."""

from collections.abc import Callable, Iterable
from typing import Any

from multiattach.api import auth
from multiattach.api.faults import WsgiApp
from multiattach.api.request import CONTEXT
from multiattach.api.settings import ApiSettings
from multiattach.engine.context import RequestContext


class Personas:
    """``X-Roles`` makes the caller; without it everybody is admin as in noauth."""

    def __init__(self, application: WsgiApp, settings: ApiSettings) -> None:
        self._application = application
        self._noauth = auth.NoAuth(application, settings)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        roles = environ.get('HTTP_X_ROLES')
        if roles is None:
            return self._noauth(environ, start_response)
        environ[CONTEXT] = RequestContext(
            user_id='somebody',
            project_id=environ['HTTP_X_PROJECT_ID'],
            roles=auth.split_roles(roles),
            is_admin='admin' in roles,
            request_id=environ.get('openstack.request_id'),
            service_roles=auth.split_roles(environ.get('HTTP_X_SERVICE_ROLES', '')),
        )
        return self._application(environ, start_response)
