# SPDX-License-Identifier: Apache-2.0
"""Services, availability zones and pools (contract 10.4)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import pools as pool_schemas
from multiattach.api.schemas import services as schemas
from multiattach.api.views import services as views
from multiattach.engine.placement import Backend
from multiattach.engine.queries import parse_boolean
from multiattach.engine.services import VOLUME_BINARY


class ServicesController(Controller):
    """``/os-services``."""

    @route('GET', '/os-services', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List services."""
        query = req.query
        found = self.engine.services.list_all(
            req.ctx, query.get('binary') or query.get('service') or None, query.get('host') or None)
        return {'services': [
            views.show(row, is_up=self.engine.services.is_up(row), is_backend=row.binary == VOLUME_BINARY,
                       minor=req.minor)
            for row in found]}

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
            req.ctx, body.get('binary') or body['service'], body['host'], disabled,
            body.get('disabled_reason'))


class PoolsController(Controller):
    """``/scheduler-stats/get_pools`` and ``/os-availability-zone``."""

    @route('GET', '/scheduler-stats/get_pools', query=pool_schemas.INDEX)
    def list_pools(self, req: Request) -> dict[str, Any]:
        """List the backends, with ``detail`` also what they report."""
        detail = parse_boolean(req.query.get('detail', 'false'))
        return {'pools': [
            {'name': backend.host, **({'capabilities': _describe(backend)} if detail else {})}
            for backend in self.engine.services.list_pools(req.ctx)]}

    @route('GET', '/os-availability-zone')
    def list_zones(self, req: Request) -> dict[str, Any]:
        """List the availability zones."""
        zones = self.engine.services.list_zones(req.ctx)
        return {'availabilityZoneInfo': [
            {'zoneName': name, 'zoneState': {'available': available}}
            for name, available in sorted(zones.items())]}


def _describe(backend: Backend) -> dict[str, Any]:
    return {
        **backend.capabilities, 'pool_name': backend.host,
        'total_capacity_gb': 'unknown' if backend.total_gb is None else backend.total_gb,
        'free_capacity_gb': 'unknown' if backend.free_gb is None else backend.free_gb,
        'allocated_capacity_gb': backend.allocated_gb,
        'max_over_subscription_ratio': str(backend.max_over_subscription),
    }
