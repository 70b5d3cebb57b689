# SPDX-License-Identifier: Apache-2.0
"""Quotas of projects and of classes, and the limits of a caller's own project (contract 10.5)."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import COUNT, LIMIT, TEXT, one, strict
from multiattach.domain import errors
from multiattach.engine import queries
from multiattach.engine.quotas import QuotaSet

_ONE = '/os-quota-sets/{project_id}'
_CLASS = '/os-quota-class-sets/{name}'
_SHOW_RULE = 'volume_extension:quotas:show'
_USED_RULE = 'limits_extension:used_limits'
_OTHER_PROJECT = 39
# Keys of /limits with the resource of each.
_LIMITS = {
    'maxTotalVolumes': 'volumes',
    'maxTotalVolumeGigabytes': 'gigabytes',
    'maxTotalSnapshots': 'snapshots',
    'maxTotalBackups': 'backups',
    'maxTotalBackupGigabytes': 'backup_gigabytes',
}
_USES = {
    'totalVolumesUsed': 'volumes',
    'totalGigabytesUsed': 'gigabytes',
    'totalSnapshotsUsed': 'snapshots',
    'totalBackupsUsed': 'backups',
    'totalBackupGigabytesUsed': 'backup_gigabytes',
}

_WISH = {
    'type': 'object',
    'minProperties': 1,
    'properties': {'tenant_id': {'type': ['string', 'null']}},
    'patternProperties': {
        r'^(?!tenant_id$).{1,300}\Z': {
            'oneOf': [
                {'type': 'integer', 'minimum': -1, 'maximum': 2**31 - 1},
                {'type': 'string', 'pattern': r'^-?[0-9]{1,9}\Z'},
            ]
        }
    },
    'additionalProperties': False,
}

_USE = strict({'limit': LIMIT, 'in_use': COUNT, 'reserved': COUNT})
_SHOWN = {'type': 'object', 'required': ['id'], 'properties': {'id': TEXT}}
# One key per resource, and per resource and volume type.
_PLAIN = {**_SHOWN, 'additionalProperties': LIMIT}
_WITH_USAGE = {**_SHOWN, 'additionalProperties': {'anyOf': [LIMIT, _USE]}}
_CHANGED = {'type': 'object', 'additionalProperties': LIMIT}


class QuotaSetsController(Controller):
    """``/os-quota-sets`` and ``/os-quota-class-sets``."""

    @route(
        'GET',
        _ONE,
        query=requests.fields({'usage': requests.BOOLEAN_QUERY}, strict=False),
        reply=one('quota_set', _WITH_USAGE),
        rules=(_SHOW_RULE,),
    )
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        """Show a project's quotas, with what is used if that is asked for."""
        found = self.engine.quotas.show(req.ctx, project_id)
        if queries.parse_boolean(req.query.get('usage', 'false')):
            return {
                'quota_set': {'id': found.name}
                | {
                    key: {'limit': limit, 'in_use': found.in_use[key], 'reserved': found.reserved[key]}
                    for key, limit in found.limits.items()
                }
            }
        return {'quota_set': _show(found)}

    @route('GET', _ONE + '/defaults', reply=one('quota_set', _PLAIN), rules=(_SHOW_RULE,))
    def show_defaults(self, req: Request, project_id: str) -> dict[str, Any]:
        """Show the quotas of projects for which none are set."""
        return {'quota_set': _show(self.engine.quotas.show_defaults(req.ctx, project_id))}

    @route(
        'PUT',
        _ONE,
        body=requests.wrap('quota_set', _WISH),
        reply=one('quota_set', _CHANGED),
        rules=('volume_extension:quotas:update',),
    )
    def update(self, req: Request, body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Set a project's quotas."""
        found = self.engine.quotas.update(req.ctx, project_id, _parse(body['quota_set']))
        return {'quota_set': dict(found.limits)}

    @route('DELETE', _ONE, rules=('volume_extension:quotas:delete',))
    def delete(self, req: Request, project_id: str) -> None:
        """Forget a project's quotas."""
        self.engine.quotas.delete(req.ctx, project_id)

    @route('GET', _CLASS, reply=one('quota_class_set', _PLAIN), rules=('volume_extension:quota_classes:get',))
    def show_class(self, req: Request, name: str) -> dict[str, Any]:
        """Show a quota class."""
        return {'quota_class_set': _show(self.engine.quotas.show_class(req.ctx, name))}

    @route(
        'PUT',
        _CLASS,
        body=requests.wrap('quota_class_set', _WISH),
        reply=one('quota_class_set', _CHANGED),
        rules=('volume_extension:quota_classes:update',),
    )
    def update_class(self, req: Request, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Set a quota class."""
        found = self.engine.quotas.update_class(req.ctx, name, _parse(body['quota_class_set']))
        return {'quota_class_set': dict(found.limits)}


class LimitsController(Controller):
    """``/limits``."""

    @route(
        'GET',
        '/limits',
        reply=one(
            'limits',
            strict(
                {
                    'rate': {'type': 'array', 'maxItems': 0},
                    'absolute': strict(dict.fromkeys(_LIMITS, LIMIT), dict.fromkeys(_USES, COUNT)),
                }
            ),
        ),
        rules=(_USED_RULE,),
    )
    def show(self, req: Request) -> dict[str, Any]:
        """Show the limits of a project, for all but admins the own one, and what of them is used."""
        other = req.query.get('project_id') or None
        if other is not None and req.minor >= _OTHER_PROJECT and req.ctx.is_admin:
            quotas = self.engine.quotas.show(req.ctx, other)
        else:
            quotas = self.engine.quotas.show_own(req.ctx)
        absolute = {name: quotas.limits[resource] for name, resource in _LIMITS.items()}
        if self.engine.policy.allows(req.ctx, _USED_RULE, None):
            absolute |= {name: quotas.in_use[resource] for name, resource in _USES.items()}
        return {'limits': {'rate': [], 'absolute': absolute}}


def _show(found: QuotaSet) -> dict[str, Any]:
    return {'id': found.name, **found.limits}


def _parse(body: Mapping[str, Any]) -> dict[str, int]:
    limits = {key: int(value) for key, value in body.items() if key != 'tenant_id'}
    low = sorted(key for key, limit in limits.items() if limit < -1)
    if low:
        raise errors.InvalidInput(f'Quota limit of {", ".join(low)} must be -1 or more.')
    return limits
