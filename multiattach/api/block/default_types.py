# SPDX-License-Identifier: Apache-2.0
"""Default types of projects (3.62)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import TEXT, UUID_OR_NULL, many, one, strict
from multiattach.db import models

_SINCE = 62
_PREFIX = 'volume_extension:default_'
_SET = requests.wrap('default_type', requests.fields({'volume_type': requests.NAME}, 'volume_type'))
_DEFAULT = strict({'project_id': TEXT, 'volume_type_id': UUID_OR_NULL})
_ONE = one('default_type', _DEFAULT)


def _show(row: models.DefaultType) -> dict[str, Any]:
    return {'project_id': row.project_id, 'volume_type_id': row.volume_type_id}


class DefaultTypesController(Controller):
    """``/default-types``."""

    @route(
        'GET', '/default-types', since=_SINCE, reply=one('default_types', many(_DEFAULT)), rules=(_PREFIX + 'get_all',)
    )
    def index(self, req: Request) -> dict[str, Any]:
        """List the default types of all projects."""
        return {'default_types': [_show(row) for row in self.engine.default_types.list_all(req.ctx)]}

    @route('GET', '/default-types/{project_id}', since=_SINCE, reply=_ONE, rules=(_PREFIX + 'get',))
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        """Show the default type of a project."""
        return {'default_type': _show(self.engine.default_types.show(req.ctx, project_id))}

    @route(
        'PUT', '/default-types/{project_id}', since=_SINCE, body=_SET, reply=_ONE, rules=(_PREFIX + 'set_or_update',)
    )
    def update(self, req: Request, body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Set the default type of a project."""
        row = self.engine.default_types.set(req.ctx, project_id, body['default_type']['volume_type'])
        return {'default_type': _show(row)}

    @route('DELETE', '/default-types/{project_id}', since=_SINCE, status=204, rules=(_PREFIX + 'unset',))
    def delete(self, req: Request, project_id: str) -> None:
        """Forget the default type of a project."""
        self.engine.default_types.unset(req.ctx, project_id)
