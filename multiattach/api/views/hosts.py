# SPDX-License-Identifier: Apache-2.0
"""What compute hosts look like."""

from typing import Any

from multiattach.api.views.elements import format_time
from multiattach.api.views.fences import mark
from multiattach.domain import states
from multiattach.engine.compute_hosts import ComputeHost
from multiattach.engine.rows import Attachment


def summary(host: ComputeHost) -> dict[str, Any]:
    """Show a host in a list."""
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
        'fenced': mark(host.fenced),
    }


def detail(host: ComputeHost) -> dict[str, Any]:
    """Show a host with what is on it."""
    report = (host.agent.report if host.agent is not None else None) or {}
    return {
        **summary(host),
        'initiators': host.facts.initiators,
        'cannot_share': report.get('cannot_share'),
        'disabled_reason': None if host.agent is None else host.agent.disabled_reason,
        'servers': [
            {'id': one.id, 'name': one.name, 'project_id': one.project_id, 'power_state': one.power_state}
            for one in host.servers
        ],
    }


def server_attachment(row: Attachment) -> dict[str, Any]:
    """Show an attachment that a host agent is to make."""
    return {
        'id': row.id,
        'volume_id': row.volume_id,
        'server_id': row.instance_uuid,
        'status': states.public_status(row.state),
        'mode': row.attach_mode,
        'device': row.mountpoint,
    }
