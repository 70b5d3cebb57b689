# SPDX-License-Identifier: Apache-2.0
"""Which projects may use a private type."""

from typing import Any

import pecan

from multiattach.api.actions import ANY_BODY, ActionController, action
from multiattach.api.request import Request
from multiattach.api.routing import route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import TEXT, UUID, many, one, strict

_PREFIX = 'volume_extension:volume_type_access:'
_PROJECT = requests.fields({'project': requests.WORD}, 'project')
_ACCESS = one('volume_type_access', many(strict({'volume_type_id': UUID, 'project_id': TEXT})))


class TypeAccessController(ActionController):
    """``/types/{type_id}/os-volume-type-access`` and ``/types/{type_id}/action``."""

    @route('GET', '/types/{type_id}/os-volume-type-access', reply=_ACCESS, rules=(_PREFIX + 'get_all_for_type',))
    def index(self, req: Request, type_id: str) -> dict[str, Any]:
        """List the projects that may use a type."""
        return {
            'volume_type_access': [
                {'volume_type_id': type_id, 'project_id': project_id}
                for project_id in self.engine.type_access.list_projects(req.ctx, type_id)
            ]
        }

    @route('POST', '/types/{type_id}/action', body=ANY_BODY)
    def act(self, req: Request, body: Any, type_id: str) -> pecan.Response:
        """Carry out an action."""
        return self.run(req, body, type_id)

    @action('addProjectAccess', _PROJECT, rules=(_PREFIX + 'addProjectAccess',))
    def add(self, req: Request, type_id: str, value: dict[str, Any]) -> None:
        """Let a project use a type."""
        self.engine.type_access.add(req.ctx, type_id, value['project'])

    @action('removeProjectAccess', _PROJECT, rules=(_PREFIX + 'removeProjectAccess',))
    def remove(self, req: Request, type_id: str, value: dict[str, Any]) -> None:
        """Take a project's use of a type back."""
        self.engine.type_access.remove(req.ctx, type_id, value['project'])
