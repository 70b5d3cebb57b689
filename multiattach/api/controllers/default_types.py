# SPDX-License-Identifier: Apache-2.0
"""Default types of projects (3.62)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import default_types as schemas
from multiattach.engine import rows


class DefaultTypesController(Controller):
    """``/default-types``."""

    @route('GET', '/default-types', since=62)
    def index(self, req: Request) -> dict[str, Any]:
        """List the default types of all projects."""
        return {'default_types': [_show(row) for row in self.engine.default_types.list_all(req.ctx)]}

    @route('GET', '/default-types/{project_id}', since=62)
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        """Show the default type of a project."""
        return {'default_type': _show(self.engine.default_types.show(req.ctx, project_id))}

    @route('PUT', '/default-types/{project_id}', since=62, body=schemas.SET)
    def update(self, req: Request, body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Set the default type of a project."""
        row = self.engine.default_types.set(req.ctx, project_id, body['default_type']['volume_type'])
        return {'default_type': _show(row)}

    @route('DELETE', '/default-types/{project_id}', since=62, status=204)
    def delete(self, req: Request, project_id: str) -> None:
        """Forget the default type of a project."""
        self.engine.default_types.unset(req.ctx, project_id)


def _show(row: rows.DefaultType) -> dict[str, Any]:
    return {'project_id': row.project_id, 'volume_type_id': row.volume_type_id}
