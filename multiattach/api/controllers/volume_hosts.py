# SPDX-License-Identifier: Apache-2.0
"""Hosts, which os-services shows otherwise."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import volume_hosts as schemas
from multiattach.api.views import volume_hosts as views
from multiattach.api.views.services import find_binary


class VolumeHostsController(Controller):
    """``/os-hosts``."""

    @route('GET', '/os-hosts', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List the services of all hosts."""
        found = self.engine.volume_hosts.list_all(
            req.ctx, req.query.get('zone') or None, find_binary(req.query.get('service') or None)
        )
        return {'hosts': [views.show_brief(row, is_up=self.engine.services.is_up(row)) for row in found]}

    @route('GET', '/os-hosts/{host}')
    def show(self, req: Request, host: str) -> dict[str, Any]:
        """Show how many volumes of which projects a backend has.

        :param host: backend, ``host@backend``.
        """
        return {'host': views.show(host, self.engine.volume_hosts.show(req.ctx, host))}

    @route('PUT', '/os-hosts/{host}', body=schemas.UPDATE)
    def update(self, req: Request, body: dict[str, Any], host: str) -> dict[str, Any]:
        """Let new volumes be placed on a backend, or not.

        :param host: backend, ``host@backend``.
        """
        self.engine.volume_hosts.set_enabled(req.ctx, host, body['status'] == 'enable')
        return {'host': host, 'status': f'{body["status"]}d'}
