# SPDX-License-Identifier: Apache-2.0
"""Nouns that this service does not have but clients list: the lists are empty.

The dashboard shows no volume at all if the list of transfers is a 404.
"""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route


class AbsentController(Controller):
    """Empty lists."""

    @route('GET', '/extensions')
    def list_extensions(self, _req: Request) -> dict[str, Any]:
        """List extensions: everything is part of the API."""
        return {'extensions': []}

    @route('GET', '/snapshots')
    def list_snapshots(self, _req: Request) -> dict[str, Any]:
        """List snapshots."""
        return {'snapshots': []}

    @route('GET', '/snapshots/detail')
    def list_snapshot_details(self, _req: Request) -> dict[str, Any]:
        """List snapshots."""
        return {'snapshots': []}

    @route('GET', '/backups')
    def list_backups(self, _req: Request) -> dict[str, Any]:
        """List backups."""
        return {'backups': []}

    @route('GET', '/backups/detail')
    def list_backup_details(self, _req: Request) -> dict[str, Any]:
        """List backups."""
        return {'backups': []}

    @route('GET', '/os-volume-transfer')
    def list_transfers(self, _req: Request) -> dict[str, Any]:
        """List transfers."""
        return {'transfers': []}

    @route('GET', '/os-volume-transfer/detail')
    def list_transfer_details(self, _req: Request) -> dict[str, Any]:
        """List transfers."""
        return {'transfers': []}

    @route('GET', '/volume-transfers', since=55)
    def list_new_transfers(self, _req: Request) -> dict[str, Any]:
        """List transfers."""
        return {'transfers': []}

    @route('GET', '/volume-transfers/detail', since=55)
    def list_new_transfer_details(self, _req: Request) -> dict[str, Any]:
        """List transfers."""
        return {'transfers': []}

    @route('GET', '/qos-specs')
    def list_qos_specs(self, _req: Request) -> dict[str, Any]:
        """List QoS specs."""
        return {'qos_specs': []}
