# SPDX-License-Identifier: Apache-2.0
"""What services look like (contract 10.4)."""

from typing import Any

from multiattach.api.views.elements import format_time
from multiattach.domain.services import VOLUME_BINARY
from multiattach.engine import rows

_CLUSTERS = 7
_BACKEND_STATE = 49
# Scripts and dashboards ask for volume workers by this name.
_VOLUME = 'cinder-volume'


def find_binary(name: str | None) -> Any:
    """Find the program that a client means.

    :param name: as clients know it, or its own; or None.
    :returns: its own name, or None.
    """
    return VOLUME_BINARY if name == _VOLUME else name


def name_binary(service: rows.Service) -> str:
    """Name a service's program as clients know it."""
    return _VOLUME if service.binary == VOLUME_BINARY else str(service.binary)


def show(service: rows.Service, *, is_up: bool, is_backend: bool, minor: int) -> dict[str, Any]:
    """Show a service.

    :param is_up: its last heartbeat is recent.
    :param is_backend: it is a volume worker.
    """
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
    if is_backend:
        view |= {'replication_status': 'disabled', 'active_backend_id': None, 'frozen': False}
        if minor >= _BACKEND_STATE:
            view['backend_state'] = state
    return view


def changed(service: rows.Service, *, reason: bool = False) -> dict[str, Any]:
    """Show a service that was enabled or disabled.

    :param service: the row after the change.
    :param reason: show why it is disabled.
    """
    view: dict[str, Any] = {
        'host': service.host,
        'service': name_binary(service),
        'binary': name_binary(service),
        'status': 'disabled' if service.disabled else 'enabled',
        'disabled': service.disabled,
    }
    if reason:
        view['disabled_reason'] = service.disabled_reason
    return view
