# SPDX-License-Identifier: Apache-2.0
"""Hosts of volumes, which os-services shows otherwise."""

from collections.abc import Sequence
from typing import Any

from multiattach.api.block.services import STATUS, find_binary, name_binary
from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import TEXT, TIME_OR_NULL, many, one, strict
from multiattach.db import models
from multiattach.engine.volume_hosts import ProjectUse

_RULES = ('volume_extension:hosts',)
_TOTAL = '(total)'
_NUMBER = {'type': 'string', 'pattern': '^[0-9]+$'}
_HOST = strict(
    {
        'host_name': TEXT,
        'service': TEXT,
        'zone': TEXT,
        'service-status': {'enum': ['available', 'unavailable']},
        'service-state': STATUS,
        'last-update': TIME_OR_NULL,
    }
)
_RESOURCE = strict(
    {
        'host': TEXT,
        'project': TEXT,
        'volume_count': _NUMBER,
        'total_volume_gb': _NUMBER,
        'snapshot_count': {'const': '0'},
        'total_snapshot_gb': {'const': '0'},
    }
)


def _summary(service: models.Service, *, is_up: bool) -> dict[str, Any]:
    return {
        'host_name': service.host,
        'service': name_binary(service),
        'zone': service.availability_zone,
        'service-status': 'available' if is_up else 'unavailable',
        'service-state': 'disabled' if service.disabled else 'enabled',
        'last-update': format_time(service.heartbeat_at or service.updated_at),
    }


def _detail(host: str, usages: Sequence[ProjectUse]) -> list[dict[str, Any]]:
    """Show what volumes a backend has: the total, then each project; all numbers are texts."""
    total = ProjectUse(_TOTAL, sum(usage.volumes for usage in usages), sum(usage.gigabytes for usage in usages))
    return [
        {
            'resource': {
                'host': host,
                'project': usage.project_id,
                'volume_count': str(usage.volumes),
                'total_volume_gb': str(usage.gigabytes),
                'snapshot_count': '0',
                'total_snapshot_gb': '0',
            }
        }
        for usage in (total, *usages)
    ]


class VolumeHostsController(Controller):
    """``/os-hosts``."""

    @route(
        'GET',
        '/os-hosts',
        query=requests.fields({'zone': requests.TEXT, 'service': requests.TEXT}, strict=False),
        reply=one('hosts', many(_HOST)),
        rules=_RULES,
    )
    def index(self, req: Request) -> dict[str, Any]:
        """List the services of all hosts."""
        found = self.engine.volume_hosts.list_all(
            req.ctx, req.query.get('zone') or None, find_binary(req.query.get('service') or None)
        )
        return {'hosts': [_summary(row, is_up=self.engine.services.is_up(row)) for row in found]}

    @route(
        'GET',
        '/os-hosts/{host}',
        reply=one('host', {**many(strict({'resource': _RESOURCE})), 'minItems': 1}),
        rules=_RULES,
    )
    def show(self, req: Request, host: str) -> dict[str, Any]:
        """Show how many volumes of which projects a backend has."""
        return {'host': _detail(host, self.engine.volume_hosts.show(req.ctx, host))}

    @route(
        'PUT',
        '/os-hosts/{host}',
        body=requests.fields({'status': {'enum': ['enable', 'disable']}}, 'status'),
        reply=strict({'host': TEXT, 'status': STATUS}),
        rules=_RULES,
    )
    def update(self, req: Request, body: dict[str, Any], host: str) -> dict[str, Any]:
        """Let new volumes be placed on a backend, or not."""
        self.engine.volume_hosts.set_enabled(req.ctx, host, body['status'] == 'enable')
        return {'host': host, 'status': f'{body["status"]}d'}
