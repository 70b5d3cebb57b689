# SPDX-License-Identifier: Apache-2.0
"""What pools and capabilities of backends look like (contract 10.2)."""

from typing import Any

from multiattach.domain.pools import name_pool
from multiattach.engine.placement import Backend


def show(backend: Backend) -> dict[str, Any]:
    """Show what a backend reports of its pool."""
    return {
        **backend.capabilities,
        'pool_name': name_pool(backend.host),
        'total_capacity_gb': 'unknown' if backend.total_gb is None else backend.total_gb,
        'free_capacity_gb': 'unknown' if backend.free_gb is None else backend.free_gb,
        'allocated_capacity_gb': backend.allocated_gb,
        'max_over_subscription_ratio': str(backend.max_over_subscription),
    }


def show_capabilities(backend: Backend) -> dict[str, Any]:
    """Show what a backend can do, and which extra specs it understands."""
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
        'properties': {
            'multiattach': {
                'title': 'Multiattach',
                'type': 'boolean',
                'description': 'Volumes that several servers use at once.',
            }
        },
    }
