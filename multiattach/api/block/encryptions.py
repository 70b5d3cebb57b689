# SPDX-License-Identifier: Apache-2.0
"""Encryption records of volume types."""

from typing import Any

from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import NULL, TEXT, TEXT_OR_NULL, TIME, TIME_OR_NULL, UUID, one, strict
from multiattach.db import models
from multiattach.domain import errors

_ALL = '/types/{type_id}/encryption'
_PREFIX = 'volume_extension:volume_type_encryption:'
_FIELDS = {
    'provider': requests.WORD,
    'control_location': {'enum': ['front-end', 'back-end']},
    'cipher': requests.TEXT_OR_NULL,
    'key_size': {
        'anyOf': [
            {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1},
            {'type': 'null'},
            {'type': 'string', 'pattern': r'^[0-9]{1,9}\Z'},
        ]
    },
}
_CREATE = requests.wrap('encryption', requests.fields(_FIELDS, 'provider', 'control_location'))
_UPDATE = requests.wrap('encryption', requests.fields(_FIELDS, minProperties=1))

_SIZE = {'type': ['integer', 'null'], 'minimum': 0}
_RECORD = {
    'encryption_id': UUID,
    'provider': TEXT,
    'cipher': TEXT_OR_NULL,
    'key_size': _SIZE,
    'control_location': {'enum': ['front-end', 'back-end']},
}
_WHOLE = {
    **_RECORD,
    'volume_type_id': UUID,
    'deleted': {'const': False},
    'deleted_at': NULL,
    'created_at': TIME,
    'updated_at': TIME_OR_NULL,
}
_ITEM = {**strict({}, _RECORD), 'minProperties': 1, 'maxProperties': 1}
# A PUT answers with its own body.
_CHANGED = {
    **{key: schema for key, schema in _RECORD.items() if key != 'encryption_id'},
    'key_size': {'anyOf': [_SIZE, {'type': 'string', 'pattern': '^[0-9]+$'}]},
}


class EncryptionsController(Controller):
    """``/types/{type_id}/encryption``."""

    @route('GET', _ALL, reply={'anyOf': [strict({}), strict(_WHOLE)]}, rules=(_PREFIX + 'get',))
    def index(self, req: Request, type_id: str) -> dict[str, Any]:
        """Show the encryption record of a type; an empty object if there is none."""
        found = self.engine.encryptions.show(req.ctx, type_id)
        if found is None:
            return {}
        return {
            **_show(found),
            'volume_type_id': type_id,
            'deleted': False,
            'deleted_at': None,
            'created_at': format_time(found.created_at),
            'updated_at': format_time(found.updated_at),
        }

    @route('GET', _ALL + '/{key}', reply=_ITEM, rules=(_PREFIX + 'get',))
    def show(self, req: Request, type_id: str, key: str) -> dict[str, Any]:
        """Show one property of the record."""
        found = self.engine.encryptions.show(req.ctx, type_id)
        values = _show(found) if found is not None else {}
        if key not in values:
            raise errors.NotFound(f'Volume type {type_id} has no encryption property {key[:64]}.')
        return {key: values[key]}

    @route(
        'POST',
        _ALL,
        body=_CREATE,
        reply=one('encryption', strict({**_RECORD, 'volume_type_id': UUID})),
        rules=(_PREFIX + 'create',),
    )
    def create(self, req: Request, body: dict[str, Any], type_id: str) -> dict[str, Any]:
        """Give a type an encryption record."""
        wanted = {'cipher': None, 'key_size': None} | _parse(body['encryption'])
        found = self.engine.encryptions.create(req.ctx, type_id, wanted)
        return {'encryption': {**_show(found), 'volume_type_id': type_id}}

    @route(
        'PUT',
        _ALL + '/{encryption_id}',
        body=_UPDATE,
        reply=one('encryption', strict({}, _CHANGED)),
        rules=(_PREFIX + 'update',),
    )
    def update(self, req: Request, body: dict[str, Any], type_id: str, encryption_id: str) -> dict[str, Any]:
        """Change the encryption record of a type."""
        self.engine.encryptions.update(req.ctx, type_id, encryption_id, _parse(body['encryption']))
        return body

    @route('DELETE', _ALL + '/{encryption_id}', status=202, rules=(_PREFIX + 'delete',))
    def delete(self, req: Request, type_id: str, encryption_id: str) -> None:
        """Take the encryption record of a type away."""
        self.engine.encryptions.delete(req.ctx, type_id, encryption_id)


def _show(found: models.TypeEncryption) -> dict[str, Any]:
    return {
        'encryption_id': found.encryption_id,
        'provider': found.provider,
        'cipher': found.cipher,
        'key_size': found.key_size,
        'control_location': found.control_location,
    }


def _parse(wanted: dict[str, Any]) -> dict[str, Any]:
    values = dict(wanted)
    if values.get('key_size') is not None:
        values['key_size'] = int(values['key_size'])
    return values
