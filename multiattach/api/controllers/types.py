# SPDX-License-Identifier: Apache-2.0
"""Volume types and extra specs (contract 10.3)."""

from typing import Any

from oslo_utils import strutils

from multiattach.api import paging
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import types as schemas
from multiattach.api.views import types as views
from multiattach.domain import errors
from multiattach.engine import queries

_PUBLIC = 'os-volume-type-access:is_public'


class TypesController(Controller):
    """``/types``."""

    @route('GET', '/types', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List types."""
        page = paging.parse_page(req.query, self.settings, queries.TYPE_SORT_KEYS)
        found = self.engine.types.list_page(req.ctx, queries.type_conditions(req.ctx, req.query, req.minor), page)
        specs, qos = self.engine.types.make_spec_view(req.ctx), self.engine.types.shows_qos(req.ctx)
        reply: dict[str, Any] = {'volume_types': [views.show(row, specs(row), qos=qos) for row in found]}
        links = paging.next_link(req, self.settings, found, page)
        return reply | ({'volume_type_links': links} if links else {})

    @route('POST', '/types', body=schemas.CREATE)
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Create a type."""
        wanted = body['volume_type']
        found = self.engine.types.create(
            req.ctx,
            wanted['name'].strip(),
            wanted.get('description'),
            strutils.bool_from_string(wanted.get(_PUBLIC, True)),
            wanted.get('extra_specs') or {},
        )
        return {'volume_type': views.show(found, self.engine.types.make_spec_view(req.ctx)(found))}

    @route('GET', '/types/default')
    def show_default(self, req: Request) -> dict[str, Any]:
        """Show the type that volumes get if they ask for none."""
        found = self.engine.types.show_default(req.ctx)
        specs, qos = self.engine.types.make_spec_view(req.ctx), self.engine.types.shows_qos(req.ctx)
        return {'volume_type': views.show(found, specs(found), access=False, qos=qos)}

    @route('GET', '/types/{type_id}')
    def show(self, req: Request, type_id: str) -> dict[str, Any]:
        """Show a type."""
        found = self.engine.types.show(req.ctx, type_id)
        specs = self.engine.types.make_spec_view(req.ctx)
        return {'volume_type': views.show(found, specs(found), qos=self.engine.types.shows_qos(req.ctx))}

    @route('PUT', '/types/{type_id}', body=schemas.UPDATE)
    def update(self, req: Request, body: dict[str, Any], type_id: str) -> dict[str, Any]:
        """Change a type's name, description or visibility."""
        changes = dict(body['volume_type'])
        if changes.get('name') is None:
            changes.pop('name', None)
        else:
            changes['name'] = changes['name'].strip()
        if 'is_public' in changes:
            changes['is_public'] = strutils.bool_from_string(changes['is_public'])
        if not changes:
            raise errors.InvalidInput('Specify volume type name, description, is_public or a combination thereof.')
        found = self.engine.types.update(req.ctx, type_id, changes)
        specs = self.engine.types.make_spec_view(req.ctx)
        return {'volume_type': views.show(found, specs(found), access=False)}

    @route('DELETE', '/types/{type_id}', status=202)
    def delete(self, req: Request, type_id: str) -> None:
        """Delete a type that no volume has."""
        self.engine.types.delete(req.ctx, type_id)


class ExtraSpecsController(Controller):
    """``/types/{type_id}/extra_specs``."""

    @route('GET', '/types/{type_id}/extra_specs')
    def index(self, req: Request, type_id: str) -> dict[str, Any]:
        """List extra specs."""
        return {'extra_specs': self.engine.types.list_specs(req.ctx, type_id)}

    @route('POST', '/types/{type_id}/extra_specs', body=schemas.SET_SPECS)
    def create(self, req: Request, body: dict[str, Any], type_id: str) -> dict[str, Any]:
        """Set extra specs; those that are not named stay."""
        self.engine.types.set_specs(req.ctx, type_id, body['extra_specs'])
        return body

    @route('GET', '/types/{type_id}/extra_specs/{key}')
    def show(self, req: Request, type_id: str, key: str) -> dict[str, Any]:
        """Show one extra spec."""
        return {key: self.engine.types.show_spec(req.ctx, type_id, key)}

    @route('PUT', '/types/{type_id}/extra_specs/{key}', body=schemas.SET_SPEC)
    def update(self, req: Request, body: dict[str, Any], type_id: str, key: str) -> dict[str, Any]:
        """Set one extra spec."""
        if key not in body:
            raise errors.InvalidInput('Request body and URI mismatch')
        self.engine.types.set_specs(req.ctx, type_id, body, is_update=True)
        return body

    @route('DELETE', '/types/{type_id}/extra_specs/{key}', status=202)
    def delete(self, req: Request, type_id: str, key: str) -> None:
        """Delete one extra spec."""
        self.engine.types.delete_spec(req.ctx, type_id, key)
