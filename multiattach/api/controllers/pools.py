# SPDX-License-Identifier: Apache-2.0
"""Pools of backends, and availability zones."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import pools as schemas
from multiattach.api.views import pools as views
from multiattach.domain.pools import name_pool
from multiattach.engine.queries import parse_boolean


class PoolsController(Controller):
    """``/scheduler-stats/get_pools`` and ``/os-availability-zone``."""

    @route('GET', '/scheduler-stats/get_pools', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List the pools, with ``detail`` also what they report."""
        detail = parse_boolean(req.query.get('detail', 'false'))
        return {
            'pools': [
                {'name': name_pool(backend.host), **({'capabilities': views.show(backend)} if detail else {})}
                for backend in self.engine.services.list_pools(req.ctx)
            ]
        }

    @route('GET', '/os-availability-zone')
    def list_zones(self, req: Request) -> dict[str, Any]:
        """List the availability zones."""
        zones = self.engine.services.list_zones(req.ctx)
        return {
            'availabilityZoneInfo': [
                {'zoneName': name, 'zoneState': {'available': available}} for name, available in sorted(zones.items())
            ]
        }
