# SPDX-License-Identifier: Apache-2.0
"""Which projects may use a type, and encryption records of types."""

from typing import Any

import pecan

from multiattach.api.actions import ANY_BODY, ActionController, action
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import type_access as schemas
from multiattach.api.views.elements import format_time
from multiattach.domain import errors
from multiattach.engine import rows


class TypeAccessController(ActionController):
    """``/types/{type_id}/os-volume-type-access`` and ``/types/{type_id}/action``."""

    @route('GET', '/types/{type_id}/os-volume-type-access')
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

    @action('addProjectAccess', schemas.ACCESS)
    def add(self, req: Request, type_id: str, value: dict[str, Any]) -> None:
        """Let a project use a type."""
        self.engine.type_access.add(req.ctx, type_id, value['project'])

    @action('removeProjectAccess', schemas.ACCESS)
    def remove(self, req: Request, type_id: str, value: dict[str, Any]) -> None:
        """Take a project's use of a type back."""
        self.engine.type_access.remove(req.ctx, type_id, value['project'])


class EncryptionController(Controller):
    """``/types/{type_id}/encryption``."""

    @route('GET', '/types/{type_id}/encryption')
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

    @route('GET', '/types/{type_id}/encryption/{key}')
    def show(self, req: Request, type_id: str, key: str) -> dict[str, Any]:
        """Show one property of the record."""
        found = self.engine.encryptions.show(req.ctx, type_id)
        values = _show(found) if found is not None else {}
        if key not in values:
            raise errors.NotFound(f'Volume type {type_id} has no encryption property {key[:64]}.')
        return {key: values[key]}

    @route('POST', '/types/{type_id}/encryption', body=schemas.CREATE_ENCRYPTION)
    def create(self, req: Request, body: dict[str, Any], type_id: str) -> dict[str, Any]:
        """Give a type an encryption record."""
        wanted = {'cipher': None, 'key_size': None} | _parse(body['encryption'])
        return {
            'encryption': {**_show(self.engine.encryptions.create(req.ctx, type_id, wanted)), 'volume_type_id': type_id}
        }

    @route('PUT', '/types/{type_id}/encryption/{encryption_id}', body=schemas.UPDATE_ENCRYPTION)
    def update(self, req: Request, body: dict[str, Any], type_id: str, encryption_id: str) -> dict[str, Any]:
        """Change the encryption record of a type."""
        self.engine.encryptions.update(req.ctx, type_id, encryption_id, _parse(body['encryption']))
        return body

    @route('DELETE', '/types/{type_id}/encryption/{encryption_id}', status=202)
    def delete(self, req: Request, type_id: str, encryption_id: str) -> None:
        """Take the encryption record of a type away."""
        self.engine.encryptions.delete(req.ctx, type_id, encryption_id)


def _show(found: rows.TypeEncryption) -> dict[str, Any]:
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
