# SPDX-License-Identifier: Apache-2.0
"""Version discovery of the compute API, in Nova's shape."""

from typing import Any

import pecan

from multiattach.api import microversion
from multiattach.api.compute.views import base_url
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.versions import follow_bookmark

_API = microversion.COMPUTE


class VersionsController(Controller):
    """``GET /compute`` and ``GET /compute/``."""

    @route('GET', '')
    def index_bare(self, req: Request) -> dict[str, Any]:
        """List the versions."""
        return {'versions': [self._describe(req)]}

    @route('GET', '/')
    def index(self, req: Request) -> dict[str, Any]:
        """List the versions."""
        return {'versions': [self._describe(req)]}

    @route('GET', '/servers/{server_id}', status=302)
    def find_server(self, req: Request, server_id: str) -> pecan.Response:
        """Send whoever follows a server's ``bookmark`` to the version that there is."""
        return follow_bookmark(req, f'{base_url(req, self.settings)}/v2.1')

    @route('GET', '/flavors/{flavor_id}', status=302)
    def find_flavor(self, req: Request, flavor_id: str) -> pecan.Response:
        """Send whoever follows a flavor's ``bookmark`` to the version that there is."""
        return follow_bookmark(req, f'{base_url(req, self.settings)}/v2.1')

    def _describe(self, req: Request) -> dict[str, Any]:
        return _describe(f'{base_url(req, self.settings)}/v2.1/')


class VersionController(Controller):
    """``GET /compute/v2.1`` and ``GET /compute/v2.1/``; no redirect, which clients may take amiss."""

    @route('GET', '')
    def show_bare(self, req: Request) -> dict[str, Any]:
        """Show the version."""
        return self._show(req)

    @route('GET', '/')
    def show(self, req: Request) -> dict[str, Any]:
        """Show the version."""
        return self._show(req)

    def _show(self, req: Request) -> dict[str, Any]:
        version = _describe(f'{base_url(req, self.settings)}/v2.1/')
        version['links'].append({'rel': 'describedby', 'type': 'text/html', 'href': 'https://docs.openstack.org/'})
        version['media-types'] = [
            {'base': 'application/json', 'type': 'application/vnd.openstack.compute+json;version=2.1'}
        ]
        return {'version': version}


def _describe(href: str) -> dict[str, Any]:
    return {
        'id': 'v2.1',
        'status': 'CURRENT',
        'version': str(_API.maximum),
        'min_version': str(_API.minimum),
        'updated': '2013-07-23T11:33:21Z',
        'links': [{'rel': 'self', 'href': href}],
    }
