# SPDX-License-Identifier: Apache-2.0
"""Callers of use cases."""

from multiattach.engine.context import RequestContext


def make_context(
    project: str = 'a' * 32,
    *,
    admin: bool = True,
    roles: tuple[str, ...] = ('admin', 'member', 'reader'),
    service_roles: tuple[str, ...] = (),
) -> RequestContext:
    return RequestContext(
        user_id='u' * 32, project_id=project, is_admin=admin, roles=list(roles), service_roles=list(service_roles)
    )
