# SPDX-License-Identifier: Apache-2.0
"""What hosts look like."""

from collections.abc import Sequence
from typing import Any

from multiattach.api.views.elements import format_time
from multiattach.api.views.services import name_binary
from multiattach.engine import rows
from multiattach.engine.volume_hosts import Usage

_TOTAL = '(total)'


def show_brief(service: rows.Service, *, is_up: bool) -> dict[str, Any]:
    """Show a host in a list.

    :param is_up: its last heartbeat is recent.
    """
    return {
        'host_name': service.host,
        'service': name_binary(service),
        'zone': service.availability_zone,
        'service-status': 'available' if is_up else 'unavailable',
        'service-state': 'disabled' if service.disabled else 'enabled',
        'last-update': format_time(service.heartbeat_at or service.updated_at),
    }


def show(host: str, usages: Sequence[Usage]) -> list[dict[str, Any]]:
    """Show what volumes a backend has: the total, then each project.

    :param host: ``host@backend``.
    :param usages: one for each project.
    :returns: JSON array; all numbers in it are texts.
    """
    total = Usage(_TOTAL, sum(usage.volumes for usage in usages), sum(usage.gigabytes for usage in usages))
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
