# SPDX-License-Identifier: Apache-2.0
"""What clients ask on their way to servers and volumes, and what does not exist here.

``server list`` of the openstack client lists flavors, ``limits show`` asks every service.
"""

from typing import Any

from multiattach.api.compute import views
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.domain import errors


class SurroundingsController(Controller):
    """Flavors, extensions and quotas: none to choose from."""

    @route('GET', '/flavors')
    def list_flavors(self, _req: Request) -> dict[str, Any]:
        """List flavors."""
        return {'flavors': []}

    @route('GET', '/flavors/detail')
    def list_flavor_details(self, _req: Request) -> dict[str, Any]:
        """List flavors."""
        return {'flavors': []}

    @route('GET', '/flavors/{flavor_id}')
    def show_flavor(self, req: Request, flavor_id: str) -> dict[str, Any]:
        """Show a flavor: that of the servers, to which they link, and no other."""
        if flavor_id == views.FLAVOR:
            return {'flavor': views.flavor(req, self.settings)}
        raise errors.NotFound(f'Flavor {flavor_id[:64]} could not be found.')

    @route('GET', '/extensions')
    def list_extensions(self, _req: Request) -> dict[str, Any]:
        """List extensions: everything is part of the API."""
        return {'extensions': []}

    @route('GET', '/limits')
    def show_limits(self, _req: Request) -> dict[str, Any]:
        """Show the limits."""
        return {'limits': {'rate': [], 'absolute': {}}}
