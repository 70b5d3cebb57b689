# SPDX-License-Identifier: Apache-2.0
"""What clients ask on their way to servers and volumes, and what does not exist here.

``server list`` of the openstack client lists flavors, ``limits show`` asks every service.
"""

from typing import Any

from multiattach.api.elements import Links
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.settings import ApiSettings
from multiattach.api.versions import COMPUTE
from multiattach.domain import errors

# A server that nobody made from a flavor: what clients read unconditionally, and not more.
FLAVOR = 'libvirt'


def links(req: Request, settings: ApiSettings) -> Links:
    return Links(req, settings, mount=COMPUTE, version='v2.1')


def _detail(req: Request, settings: ApiSettings) -> dict[str, Any]:
    """Show the flavor that all servers have."""
    shown = {
        'id': FLAVOR,
        'name': FLAVOR,
        'ram': 0,
        'vcpus': 0,
        'disk': 0,
        'swap': '' if req.minor < 75 else 0,
        'OS-FLV-EXT-DATA:ephemeral': 0,
        'OS-FLV-DISABLED:disabled': False,
        'os-flavor-access:is_public': True,
        'rxtx_factor': 1.0,
        'links': links(req, settings).of('flavors', FLAVOR),
    }
    if req.minor >= 55:
        shown['description'] = None
    if req.minor >= 61:
        shown['extra_specs'] = {}
    return shown


class FlavorsController(Controller):
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
        if flavor_id == FLAVOR:
            return {'flavor': _detail(req, self.settings)}
        raise errors.NotFound(f'Flavor {flavor_id[:64]} could not be found.')

    @route('GET', '/extensions')
    def list_extensions(self, _req: Request) -> dict[str, Any]:
        """List extensions: everything is part of the API."""
        return {'extensions': []}

    @route('GET', '/limits')
    def show_limits(self, _req: Request) -> dict[str, Any]:
        """Show the limits."""
        return {'limits': {'rate': [], 'absolute': {}}}
