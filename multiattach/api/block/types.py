# SPDX-License-Identifier: Apache-2.0
"""Volume types and extra specs (contract 10.3)."""

from collections.abc import Mapping
from typing import Any

from multiattach.api import paging
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import FLAG, TEXT, TEXT_OR_NULL, UUID, UUID_OR_NULL, one, page, strict
from multiattach.api.validation import flag
from multiattach.db import models
from multiattach.domain import errors
from multiattach.engine import queries

_PUBLIC = 'os-volume-type-access:is_public'
_PREFIX = 'volume_extension:'
_SPEC_PREFIX = _PREFIX + 'types_extra_specs:'
_SHOWS_SPECS = _PREFIX + 'access_types_extra_specs'
_SHOWS_QOS = _PREFIX + 'access_types_qos_specs_id'
_SENSITIVE = _SPEC_PREFIX + 'read_sensitive'
# What is shown of a type beside its name.
_SPECS_SHOWN = (_SHOWS_SPECS, _SENSITIVE)
_SPECS_PATH = '/types/{type_id}/extra_specs'

_QUERY = requests.query({'is_public': {'type': 'string', 'format': 'boolean-or-none'}})
_CREATE = requests.wrap(
    'volume_type',
    requests.fields(
        {
            'name': requests.NAME,
            'description': requests.TEXT_OR_NULL,
            'extra_specs': {'anyOf': [requests.EXTRA_SPECS, {'type': 'null'}]},
            _PUBLIC: requests.BOOLEAN,
        },
        'name',
    ),
)
_UPDATE = requests.wrap(
    'volume_type',
    requests.fields(
        {
            'name': {'anyOf': [requests.NAME, {'type': 'null'}]},
            'description': requests.TEXT_OR_NULL,
            'is_public': requests.BOOLEAN,
        },
        minProperties=1,
    ),
)
_SET_SPECS = requests.wrap('extra_specs', {**requests.EXTRA_SPECS, 'minProperties': 1})
_SET_SPEC = {**requests.EXTRA_SPECS, 'minProperties': 1, 'maxProperties': 1}

_SPECS = {'type': 'object', 'additionalProperties': TEXT_OR_NULL}
_SPEC = {**_SPECS, 'minProperties': 1, 'maxProperties': 1}
_TYPE = strict(
    {'id': UUID, 'name': TEXT, 'description': TEXT_OR_NULL, 'is_public': FLAG},
    {_PUBLIC: FLAG, 'extra_specs': _SPECS, 'qos_specs_id': UUID_OR_NULL},
)
_ONE = one('volume_type', _TYPE)


def _show(
    found: models.VolumeType, specs: Mapping[str, str | None] | None, *, access: bool = True, qos: bool = False
) -> dict[str, Any]:
    """Show a type.

    :param specs: the extra specs that the caller may see, None if none at all.
    """
    view: dict[str, Any] = {
        'id': found.id,
        'name': found.name,
        'description': found.description,
        'is_public': found.is_public,
    }
    if access:
        view[_PUBLIC] = found.is_public
    if specs is not None:
        view['extra_specs'] = dict(specs)
    if qos:
        view['qos_specs_id'] = found.qos_specs_id
    return view


class TypesController(Controller):
    """``/types``."""

    @route(
        'GET',
        '/types',
        query=_QUERY,
        reply=page('volume_types', _TYPE, links='volume_type_links'),
        rules=(_PREFIX + 'type_get_all', *_SPECS_SHOWN, _SHOWS_QOS),
    )
    def index(self, req: Request) -> dict[str, Any]:
        """List types."""
        wanted = paging.parse_page(req.query, self.settings, queries.TYPE_SORT_KEYS)
        found = self.engine.types.list_page(req.ctx, queries.type_conditions(req.ctx, req.query, req.minor), wanted)
        specs, qos = self.engine.types.make_spec_view(req.ctx), self.engine.types.shows_qos(req.ctx)
        return paging.reply(
            req,
            self.settings,
            wanted,
            found,
            'volume_types',
            lambda row: _show(row, specs(row), qos=qos),
            links='volume_type_links',
        )

    @route('POST', '/types', body=_CREATE, reply=_ONE, rules=(_PREFIX + 'type_create', *_SPECS_SHOWN))
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Create a type."""
        wanted = body['volume_type']
        found = self.engine.types.create(
            req.ctx,
            wanted['name'].strip(),
            wanted.get('description'),
            flag(wanted, _PUBLIC, default=True),
            wanted.get('extra_specs') or {},
        )
        return {'volume_type': _show(found, self.engine.types.make_spec_view(req.ctx)(found))}

    @route('GET', '/types/default', reply=_ONE, rules=(_PREFIX + 'type_get', *_SPECS_SHOWN, _SHOWS_QOS))
    def show_default(self, req: Request) -> dict[str, Any]:
        """Show the type that volumes get if they ask for none."""
        return {'volume_type': self._show_one(req, self.engine.types.show_default(req.ctx), access=False)}

    @route('GET', '/types/{type_id}', reply=_ONE, rules=(_PREFIX + 'type_get', *_SPECS_SHOWN, _SHOWS_QOS))
    def show(self, req: Request, type_id: str) -> dict[str, Any]:
        """Show a type."""
        return {'volume_type': self._show_one(req, self.engine.types.show(req.ctx, type_id), access=True)}

    def _show_one(self, req: Request, found: models.VolumeType, *, access: bool) -> dict[str, Any]:
        specs, qos = self.engine.types.make_spec_view(req.ctx), self.engine.types.shows_qos(req.ctx)
        return _show(found, specs(found), access=access, qos=qos)

    @route('PUT', '/types/{type_id}', body=_UPDATE, reply=_ONE, rules=(_PREFIX + 'type_update', *_SPECS_SHOWN))
    def update(self, req: Request, body: dict[str, Any], type_id: str) -> dict[str, Any]:
        """Change a type's name, description or visibility."""
        changes = dict(body['volume_type'])
        if changes.get('name') is None:
            changes.pop('name', None)
        else:
            changes['name'] = changes['name'].strip()
        if 'is_public' in changes:
            changes['is_public'] = flag(changes, 'is_public')
        if not changes:
            raise errors.InvalidInput('Specify volume type name, description, is_public or a combination thereof.')
        found = self.engine.types.update(req.ctx, type_id, changes)
        specs = self.engine.types.make_spec_view(req.ctx)
        return {'volume_type': _show(found, specs(found), access=False)}

    @route('DELETE', '/types/{type_id}', status=202, rules=(_PREFIX + 'type_delete',))
    def delete(self, req: Request, type_id: str) -> None:
        """Delete a type that no volume has."""
        self.engine.types.delete(req.ctx, type_id)


class ExtraSpecsController(Controller):
    """``/types/{type_id}/extra_specs``."""

    @route('GET', _SPECS_PATH, reply=one('extra_specs', _SPECS), rules=(_SPEC_PREFIX + 'index', _SENSITIVE))
    def index(self, req: Request, type_id: str) -> dict[str, Any]:
        """List extra specs."""
        return {'extra_specs': self.engine.types.list_specs(req.ctx, type_id)}

    @route('POST', _SPECS_PATH, body=_SET_SPECS, reply=one('extra_specs', _SPECS), rules=(_SPEC_PREFIX + 'create',))
    def create(self, req: Request, body: dict[str, Any], type_id: str) -> dict[str, Any]:
        """Set extra specs; those that are not named stay."""
        self.engine.types.set_specs(req.ctx, type_id, body['extra_specs'])
        return body

    @route('GET', _SPECS_PATH + '/{key}', reply=_SPEC, rules=(_SPEC_PREFIX + 'show', _SENSITIVE))
    def show(self, req: Request, type_id: str, key: str) -> dict[str, Any]:
        """Show one extra spec."""
        return {key: self.engine.types.show_spec(req.ctx, type_id, key)}

    @route('PUT', _SPECS_PATH + '/{key}', body=_SET_SPEC, reply=_SPEC, rules=(_SPEC_PREFIX + 'update',))
    def update(self, req: Request, body: dict[str, Any], type_id: str, key: str) -> dict[str, Any]:
        """Set one extra spec."""
        if key not in body:
            raise errors.InvalidInput('Request body and URI mismatch')
        self.engine.types.set_specs(req.ctx, type_id, body, is_update=True)
        return body

    @route('DELETE', _SPECS_PATH + '/{key}', status=202, rules=(_SPEC_PREFIX + 'delete',))
    def delete(self, req: Request, type_id: str, key: str) -> None:
        """Delete one extra spec."""
        self.engine.types.delete_spec(req.ctx, type_id, key)
