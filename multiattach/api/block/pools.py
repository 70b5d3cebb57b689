# SPDX-License-Identifier: Apache-2.0
"""Pools of backends, what backends can do, and availability zones (contract 10.2)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import FLAG, TEXT, TEXT_OR_NULL, many, one, strict
from multiattach.domain import extra_specs
from multiattach.domain.pools import name_pool
from multiattach.engine.placement import Candidate
from multiattach.engine.queries import parse_boolean

_GIGABYTES = {'anyOf': [{'type': 'number', 'minimum': 0}, {'enum': ['unknown', 'infinite']}]}
# A backend reports more, as its configuration says.
_POOL = {
    'type': 'object',
    'required': ['pool_name', 'total_capacity_gb', 'free_capacity_gb'],
    'properties': {
        'pool_name': TEXT,
        'total_capacity_gb': _GIGABYTES,
        'free_capacity_gb': _GIGABYTES,
        'allocated_capacity_gb': {'type': 'number'},
        'max_over_subscription_ratio': TEXT,
        'multiattach': FLAG,
        'storage_protocol': TEXT,
    },
}
_PROPERTY = strict({'title': TEXT, 'description': TEXT, 'type': TEXT})
_CAPABILITIES = strict(
    {
        'namespace': TEXT,
        'vendor_name': TEXT,
        'volume_backend_name': TEXT,
        'driver_version': TEXT,
        'storage_protocol': TEXT,
        'pool_name': TEXT_OR_NULL,
        'display_name': TEXT_OR_NULL,
        'description': TEXT_OR_NULL,
        'visibility': TEXT_OR_NULL,
        'replication_targets': many(TEXT),
        'properties': {'type': 'object', 'additionalProperties': _PROPERTY},
    }
)
_SPECS = (
    (extra_specs.MULTIATTACH, 'Multiattach', 'Volumes that several servers use at once.'),
    (extra_specs.RESERVATIONS, 'Reservations', 'SCSI-3 persistent reservations that outlast restarts.'),
    (extra_specs.ENFORCE_READ_ONLY, 'Enforced read-only', 'The target refuses writes of read-only attachments.'),
)
_ZONE = strict({'zoneName': TEXT, 'zoneState': strict({'available': FLAG})})


def _show(backend: Candidate) -> dict[str, Any]:
    return {
        **backend.capabilities,
        'pool_name': name_pool(backend.host),
        'total_capacity_gb': 'unknown' if backend.total_gb is None else backend.total_gb,
        'free_capacity_gb': 'unknown' if backend.free_gb is None else backend.free_gb,
        'allocated_capacity_gb': backend.allocated_gb,
        'max_over_subscription_ratio': str(backend.max_over_subscription),
    }


class PoolsController(Controller):
    """``/scheduler-stats/get_pools``, ``/capabilities`` and ``/os-availability-zone``."""

    @route(
        'GET',
        '/scheduler-stats/get_pools',
        query=requests.fields({'detail': requests.BOOLEAN_QUERY}, strict=False),
        reply=one('pools', many(strict({'name': TEXT}, {'capabilities': _POOL}))),
        rules=('scheduler_extension:scheduler_stats:get_pools',),
    )
    def index(self, req: Request) -> dict[str, Any]:
        """List the pools, with ``detail`` also what they report."""
        detail = parse_boolean(req.query.get('detail', 'false'))
        return {
            'pools': [
                {'name': name_pool(backend.host), **({'capabilities': _show(backend)} if detail else {})}
                for backend in self.engine.services.list_pools(req.ctx)
            ]
        }

    @route('GET', '/capabilities/{host}', reply=_CAPABILITIES, rules=('volume_extension:capabilities',))
    def show_capabilities(self, req: Request, host: str) -> dict[str, Any]:
        """Show what a backend can do."""
        backend = self.engine.services.show_backend(req.ctx, host)
        about = backend.capabilities
        return {
            'namespace': f'OS::Storage::Capabilities::{backend.host}',
            'vendor_name': about.get('vendor_name'),
            'volume_backend_name': about.get('volume_backend_name'),
            'pool_name': None,
            'driver_version': about.get('driver_version'),
            'storage_protocol': about.get('storage_protocol'),
            'display_name': None,
            'description': None,
            'visibility': None,
            'replication_targets': [],
            # The extra specs that it understands.
            'properties': {
                name: {'title': title, 'type': 'boolean', 'description': description}
                for name, title, description in _SPECS
                if about.get(extra_specs.OF_TARGETS.get(name, ''), name not in extra_specs.OF_TARGETS)
            },
        }

    @route(
        'GET',
        '/os-availability-zone',
        reply=one('availabilityZoneInfo', many(_ZONE)),
        rules=('volume:availability_zone_list',),
    )
    def list_zones(self, req: Request) -> dict[str, Any]:
        """List the availability zones."""
        zones = self.engine.services.list_zones(req.ctx)
        return {
            'availabilityZoneInfo': [
                {'zoneName': name, 'zoneState': {'available': available}} for name, available in sorted(zones.items())
            ]
        }
