# SPDX-License-Identifier: Apache-2.0
"""Compute hosts, and attaching to their servers with a mode: an extension of this service's own."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import server_attachments as schemas
from multiattach.api.views import hosts as views
from multiattach.engine.servers import ServerAttach


class HostsController(Controller):
    """``/multiattach/hosts`` and ``/multiattach/servers/{id}/attachments``."""

    @route('GET', '/multiattach/hosts')
    def index(self, req: Request) -> dict[str, Any]:
        """List compute hosts: those with an agent, and those that connectors named."""
        return {'hosts': [views.summary(host) for host in self.engine.compute_hosts.list_all(req.ctx)]}

    @route('GET', '/multiattach/hosts/{host}')
    def show(self, req: Request, host: str) -> dict[str, Any]:
        """Show a compute host with its servers and initiators."""
        return {'host': views.detail(self.engine.compute_hosts.show(req.ctx, host))}

    @route('POST', '/multiattach/servers/{server_id}/attachments', status=202, body=schemas.CREATE)
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
        return {'attachment': views.server_attachment(row)}
