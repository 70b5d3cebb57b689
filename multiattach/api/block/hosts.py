# SPDX-License-Identifier: Apache-2.0
"""Compute hosts, and attaching to their servers with a mode: an extension of this service's own."""

from typing import Any

from multiattach.api.block.fences import MARK, mark
from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import (
    COUNT,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME_OR_NULL,
    UUID,
    Schema,
    many,
    one,
    strict,
)
from multiattach.domain import states
from multiattach.engine.hosts import ComputeHost
from multiattach.engine.servers import ServerAttach

_RULES = ('multiattach:hosts',)
_ATTACH = requests.wrap(
    'attachment',
    requests.fields(
        {'volume_id': requests.UUID, 'mode': {'enum': ['rw', 'ro']}, 'device': requests.DEVICE}, 'volume_id'
    ),
)

DRIVER: Schema = {'enum': ['host agent', 'client']}
HOST: Schema = {
    'host': TEXT,
    'driven_by': DRIVER,
    'state': {'enum': ['up', 'down', None]},
    'status': {'enum': ['enabled', 'disabled', None]},
    'zone': TEXT_OR_NULL,
    'heartbeat_at': TIME_OR_NULL,
    'attachments': {'type': 'object', 'additionalProperties': COUNT},
    'server_count': COUNT,
    'initiator_count': COUNT,
    'fenced': {'anyOf': [strict(MARK), NULL]},
}
_DETAIL = strict(
    {
        **HOST,
        'initiators': many(TEXT),
        'cannot_share': TEXT_OR_NULL,
        'disabled_reason': TEXT_OR_NULL,
        'servers': many(strict({'id': UUID, 'name': TEXT, 'project_id': TEXT, 'power_state': TEXT})),
    }
)
_ATTACHMENT = strict(
    {
        'id': UUID,
        'volume_id': UUID,
        'server_id': UUID,
        'status': TEXT,
        'mode': {'enum': ['rw', 'ro', None]},
        'device': TEXT_OR_NULL,
    }
)


def _summary(host: ComputeHost) -> dict[str, Any]:
    agent = host.agent
    return {
        'host': host.name,
        'driven_by': 'client' if agent is None else 'host agent',
        'state': None if agent is None else 'up' if host.agent_is_up else 'down',
        'status': None if agent is None else 'disabled' if agent.disabled else 'enabled',
        'zone': None if agent is None else agent.availability_zone,
        'heartbeat_at': None if agent is None else format_time(agent.heartbeat_at),
        'attachments': dict(sorted(host.facts.attachments.items())),
        'server_count': host.facts.servers,
        'initiator_count': len(host.facts.initiators),
        'fenced': None if host.fenced is None else mark(host.fenced),
    }


def detail(host: ComputeHost) -> dict[str, Any]:
    report = (host.agent.report if host.agent is not None else None) or {}
    return {
        **_summary(host),
        'initiators': host.facts.initiators,
        'cannot_share': report.get('cannot_share'),
        'disabled_reason': None if host.agent is None else host.agent.disabled_reason,
        'servers': [
            {'id': one.id, 'name': one.name, 'project_id': one.project_id, 'power_state': one.power_state}
            for one in host.servers
        ],
    }


class HostsController(Controller):
    """``/multiattach/hosts`` and ``/multiattach/servers/{id}/attachments``."""

    @route('GET', '/multiattach/hosts', reply=one('hosts', many(strict(HOST))), rules=_RULES)
    def index(self, req: Request) -> dict[str, Any]:
        """List compute hosts: those with an agent, and those that connectors named."""
        return {'hosts': [_summary(host) for host in self.engine.hosts.list_all(req.ctx)]}

    @route('GET', '/multiattach/hosts/{host}', reply=one('host', _DETAIL), rules=_RULES)
    def show(self, req: Request, host: str) -> dict[str, Any]:
        """Show a compute host with its servers and initiators."""
        return {'host': detail(self.engine.hosts.show(req.ctx, host))}

    @route(
        'POST',
        '/multiattach/servers/{server_id}/attachments',
        status=202,
        body=_ATTACH,
        reply=one('attachment', _ATTACHMENT),
        rules=('os_compute_api:os-volumes-attachments:create', 'volume:attachment_create'),
    )
    def attach(self, req: Request, body: dict[str, Any], server_id: str) -> dict[str, Any]:
        """Attach a volume to a server of a host agent, as the compute API does, with a mode."""
        wish = body['attachment']
        row = self.engine.servers.attach(
            req.ctx,
            server_id,
            ServerAttach(
                volume_id=wish['volume_id'], device=wish.get('device'), mode=wish.get('mode'), supports_multiattach=True
            ),
        )
        return {
            'attachment': {
                'id': row.id,
                'volume_id': row.volume_id,
                'server_id': row.instance_uuid,
                'status': states.public_status(row.state),
                'mode': row.attach_mode,
                'device': row.mountpoint,
            }
        }
