# SPDX-License-Identifier: Apache-2.0
"""Services (contract 10.4)."""

from typing import Any, NoReturn

from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import FLAG, NULL, TEXT, TEXT_OR_NULL, TIME_OR_NULL, Schema, many, one, strict
from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY

_CLUSTERS = 7
_BACKEND_STATE = 49
_UPDATE_RULE = 'volume_extension:services:update'
# Scripts and dashboards ask for volume workers by this name.
_VOLUME = 'cinder-volume'

# ``service`` is the old name of ``binary``.
_NAMES = {'host': requests.NAME, 'binary': requests.NAME, 'service': requests.NAME}
_NAMED = [{'required': ['binary']}, {'required': ['service']}]
_QUERY = requests.fields(dict.fromkeys(('host', 'binary', 'service'), requests.TEXT), strict=False)
_ENABLE = requests.fields(_NAMES, 'host', anyOf=_NAMED)
_DISABLE = requests.fields(_NAMES | {'disabled_reason': requests.TEXT_OR_NULL}, 'host', anyOf=_NAMED)
_REASON = requests.fields(_NAMES | {'disabled_reason': requests.NAME}, 'host', 'disabled_reason', anyOf=_NAMED)
_HOST = requests.fields({'host': requests.NAME}, 'host', strict=False)

_STATE = {'enum': ['up', 'down']}
STATUS = {'enum': ['enabled', 'disabled']}
_CHANGED = {'host': TEXT, 'service': TEXT, 'binary': TEXT, 'status': STATUS, 'disabled': FLAG}


def _list(minor: int) -> Schema:
    required: dict[str, Any] = {
        'binary': TEXT,
        'host': TEXT,
        'zone': TEXT_OR_NULL,
        'status': STATUS,
        'state': _STATE,
        'updated_at': TIME_OR_NULL,
        'disabled_reason': TEXT_OR_NULL,
    }
    if minor >= _CLUSTERS:
        required['cluster'] = TEXT_OR_NULL
    backend: dict[str, Any] = {'replication_status': TEXT, 'active_backend_id': NULL, 'frozen': {'const': False}}
    if minor >= _BACKEND_STATE:
        backend['backend_state'] = _STATE
    return one('services', many(strict(required, backend)))


def find_binary(name: str | None) -> Any:
    """Return a program's own name for what a client may call it; None for none."""
    return VOLUME_BINARY if name == _VOLUME else name


def name_binary(service: models.Service) -> str:
    """Name a service's program as clients know it."""
    return _VOLUME if service.binary == VOLUME_BINARY else str(service.binary)


def _show(service: models.Service, *, is_up: bool, minor: int) -> dict[str, Any]:
    state = 'up' if is_up else 'down'
    view: dict[str, Any] = {
        'binary': name_binary(service),
        'host': service.host,
        'zone': service.availability_zone,
        'status': 'disabled' if service.disabled else 'enabled',
        'state': state,
        'updated_at': format_time(service.heartbeat_at or service.updated_at),
        'disabled_reason': service.disabled_reason,
    }
    if minor >= _CLUSTERS:
        view['cluster'] = (service.report or {}).get('cluster')
    if service.binary == VOLUME_BINARY:
        view |= {'replication_status': 'disabled', 'active_backend_id': None, 'frozen': False}
        if minor >= _BACKEND_STATE:
            # Of a worker that is down nobody knows; what it said last is no news.
            view['backend_state'] = (service.report or {}).get('backend_state', state) if is_up else state
    return view


def _changed(row: models.Service) -> dict[str, Any]:
    return {
        'host': row.host,
        'service': name_binary(row),
        'binary': name_binary(row),
        'status': 'disabled' if row.disabled else 'enabled',
        'disabled': row.disabled,
    }


class ServicesController(Controller):
    """``/os-services``."""

    @route('GET', '/os-services', query=_QUERY, reply=_list, rules=('volume_extension:services:index',))
    def index(self, req: Request) -> dict[str, Any]:
        """List services."""
        query = req.query
        found = self.engine.services.list_all(
            req.ctx, find_binary(query.get('binary') or query.get('service') or None), query.get('host') or None
        )
        return {'services': [_show(row, is_up=self.engine.services.is_up(row), minor=req.minor) for row in found]}

    @route('PUT', '/os-services/enable', body=_ENABLE, reply=strict(_CHANGED), rules=(_UPDATE_RULE,))
    def enable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Let new volumes be placed on a backend again."""
        return _changed(self._set(req, body, disabled=False))

    @route('PUT', '/os-services/disable', body=_DISABLE, reply=strict(_CHANGED), rules=(_UPDATE_RULE,))
    def disable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Let no new volumes be placed on a backend."""
        return _changed(self._set(req, body, disabled=True))

    @route(
        'PUT',
        '/os-services/disable-log-reason',
        body=_REASON,
        reply=strict({**_CHANGED, 'disabled_reason': TEXT}),
        rules=(_UPDATE_RULE,),
    )
    def disable_log_reason(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Let no new volumes be placed on a backend and say why."""
        row = self._set(req, body, disabled=True)
        return {**_changed(row), 'disabled_reason': row.disabled_reason}

    def _set(self, req: Request, body: dict[str, Any], *, disabled: bool) -> models.Service:
        binary = find_binary(body.get('binary') or body['service'])
        return self.engine.services.set_disabled(req.ctx, binary, body['host'], disabled, body.get('disabled_reason'))

    # -- what this service does not have -------------------------------------------------------

    @route('PUT', '/os-services/freeze', body=_HOST, rules=('volume:freeze_host',))
    def freeze(self, req: Request, body: dict[str, Any]) -> NoReturn:
        """Refuse: nothing is replicated here."""
        self._refuse(req, body['host'], 'volume:freeze_host')

    @route('PUT', '/os-services/thaw', body=_HOST, rules=('volume:thaw_host',))
    def thaw(self, req: Request, body: dict[str, Any]) -> NoReturn:
        """Refuse: nothing is replicated here."""
        self._refuse(req, body['host'], 'volume:thaw_host')

    @route('PUT', '/os-services/failover_host', body=_HOST, rules=('volume:failover_host',))
    def fail_over(self, req: Request, body: dict[str, Any]) -> NoReturn:
        """Refuse: nothing is replicated here."""
        self._refuse(req, body['host'], 'volume:failover_host')

    def _refuse(self, req: Request, host: str, rule: str) -> NoReturn:
        self.engine.policy.check(req.ctx, rule)
        raise errors.InvalidInput(f'Host {host[:64]} has no replication: it cannot be frozen, thawed or failed over.')
