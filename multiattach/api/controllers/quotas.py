# SPDX-License-Identifier: Apache-2.0
"""Quotas of projects and of classes (contract 10.5)."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import quotas as schemas
from multiattach.domain import errors
from multiattach.engine import queries
from multiattach.engine.quotas import QuotaSet


class QuotaSetsController(Controller):
    """``/os-quota-sets`` and ``/os-quota-class-sets``."""

    @route('GET', '/os-quota-sets/{project_id}', query=schemas.SHOW)
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        """Show a project's quotas, with what is used if that is asked for."""
        found = self.engine.quotas.show(req.ctx, project_id)
        if queries.parse_boolean(req.query.get('usage', 'false')):
            return {
                'quota_set': {'id': found.name}
                | {
                    key: {'limit': limit, 'in_use': found.in_use[key], 'reserved': 0}
                    for key, limit in found.limits.items()
                }
            }
        return {'quota_set': _show(found)}

    @route('GET', '/os-quota-sets/{project_id}/defaults')
    def show_defaults(self, req: Request, project_id: str) -> dict[str, Any]:
        """Show the quotas of projects for which none are set."""
        return {'quota_set': _show(self.engine.quotas.show_defaults(req.ctx, project_id))}

    @route('PUT', '/os-quota-sets/{project_id}', body=schemas.UPDATE)
    def update(self, req: Request, body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Set a project's quotas."""
        found = self.engine.quotas.update(req.ctx, project_id, _parse(body['quota_set']))
        return {'quota_set': dict(found.limits)}

    @route('DELETE', '/os-quota-sets/{project_id}')
    def delete(self, req: Request, project_id: str) -> None:
        """Forget a project's quotas."""
        self.engine.quotas.delete(req.ctx, project_id)

    @route('GET', '/os-quota-class-sets/{name}')
    def show_class(self, req: Request, name: str) -> dict[str, Any]:
        """Show a quota class."""
        return {'quota_class_set': _show(self.engine.quotas.show_class(req.ctx, name))}

    @route('PUT', '/os-quota-class-sets/{name}', body=schemas.UPDATE_CLASS)
    def update_class(self, req: Request, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Set a quota class."""
        found = self.engine.quotas.update_class(req.ctx, name, _parse(body['quota_class_set']))
        return {'quota_class_set': dict(found.limits)}


def _show(found: QuotaSet) -> dict[str, Any]:
    return {'id': found.name, **found.limits}


def _parse(body: Mapping[str, Any]) -> dict[str, int]:
    limits = {key: int(value) for key, value in body.items() if key != 'tenant_id'}
    low = sorted(key for key, limit in limits.items() if limit < -1)
    if low:
        raise errors.InvalidInput(f'Quota limit of {", ".join(low)} must be -1 or more.')
    return limits
