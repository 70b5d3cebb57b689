# SPDX-License-Identifier: Apache-2.0
"""What targets really have, next to what is recorded: an extension of this service's own."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import targets as schemas
from multiattach.api.views import targets as views
from multiattach.domain import idents


class TargetsController(Controller):
    """``/multiattach/targets``."""

    @route('GET', '/multiattach/targets', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List targets, those that should be and those that are, in order of their volumes' ids."""
        query = req.query
        limit = min(int(query.get('limit') or self.settings.max_limit), self.settings.max_limit)
        found = self.engine.targets.list_page(
            req.ctx, idents.normalise(query.get('marker', '')) or None, limit, query.get('host') or None
        )
        return {
            'targets': [views.show(target) for target in found.targets],
            'unanswered': [{'host': host, 'reason': reason} for host, reason in sorted(found.unanswered.items())],
            'next_marker': found.marker,
        }

    @route('GET', '/multiattach/targets/{volume_id}')
    def show(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Show the target of a volume."""
        return {'target': views.show(self.engine.targets.show(req.ctx, volume_id))}
