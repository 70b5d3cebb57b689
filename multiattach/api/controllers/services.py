# SPDX-License-Identifier: Apache-2.0
"""Services (contract 10.4)."""

from typing import Any, NoReturn

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import services as schemas
from multiattach.api.views import services as views
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY


class ServicesController(Controller):
    """``/os-services``."""

    @route('GET', '/os-services', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List services."""
        query = req.query
        found = self.engine.services.list_all(
            req.ctx, views.find_binary(query.get('binary') or query.get('service') or None), query.get('host') or None
        )
        return {
            'services': [
                views.show(
                    row, is_up=self.engine.services.is_up(row), is_backend=row.binary == VOLUME_BINARY, minor=req.minor
                )
                for row in found
            ]
        }

    @route('PUT', '/os-services/enable', body=schemas.ENABLE)
    def enable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Let new volumes be placed on a backend again."""
        return views.changed(self._set(req, body, disabled=False))

    @route('PUT', '/os-services/disable', body=schemas.DISABLE)
    def disable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Let no new volumes be placed on a backend."""
        return views.changed(self._set(req, body, disabled=True))

    @route('PUT', '/os-services/disable-log-reason', body=schemas.DISABLE_LOG_REASON)
    def disable_log_reason(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Let no new volumes be placed on a backend and say why."""
        return views.changed(self._set(req, body, disabled=True), reason=True)

    def _set(self, req: Request, body: dict[str, Any], *, disabled: bool) -> Any:
        return self.engine.services.set_disabled(
            req.ctx,
            views.find_binary(body.get('binary') or body['service']),
            body['host'],
            disabled,
            body.get('disabled_reason'),
        )

    # -- what this service does not have -------------------------------------------------------

    @route('PUT', '/os-services/freeze', body=schemas.HOST)
    def freeze(self, req: Request, body: dict[str, Any]) -> NoReturn:
        """Refuse: nothing is replicated here."""
        self._refuse(req, body['host'], 'volume:freeze_host')

    @route('PUT', '/os-services/thaw', body=schemas.HOST)
    def thaw(self, req: Request, body: dict[str, Any]) -> NoReturn:
        """Refuse: nothing is replicated here."""
        self._refuse(req, body['host'], 'volume:thaw_host')

    @route('PUT', '/os-services/failover_host', body=schemas.HOST)
    def fail_over(self, req: Request, body: dict[str, Any]) -> NoReturn:
        """Refuse: nothing is replicated here."""
        self._refuse(req, body['host'], 'volume:failover_host')

    def _refuse(self, req: Request, host: str, rule: str) -> NoReturn:
        self.engine.policy.check(req.ctx, rule)
        raise errors.InvalidInput(f'Host {host[:64]} has no replication: it cannot be frozen, thawed or failed over.')
