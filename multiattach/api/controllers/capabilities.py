# SPDX-License-Identifier: Apache-2.0
"""What clients may find out about this service: filters (3.33) and capabilities of backends."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import capabilities as schemas
from multiattach.api.views import pools as views
from multiattach.engine import queries


class CapabilitiesController(Controller):
    """``/resource_filters`` and ``/capabilities``."""

    @route('GET', '/resource_filters', since=33, query=schemas.FILTERS)
    def list_filters(self, req: Request) -> dict[str, Any]:
        """List the filters that everybody may use."""
        wanted = req.query.get('resource')
        return {
            'resource_filters': [
                {'resource': resource, 'filters': list(names)}
                for resource, names in queries.RESOURCE_FILTERS.items()
                if wanted in (None, resource)
            ]
        }

    @route('GET', '/capabilities/{host}')
    def show(self, req: Request, host: str) -> dict[str, Any]:
        """Show what a backend can do.

        :param host: name of the host, with ``@backend`` for a backend.
        """
        return views.show_capabilities(self.engine.services.show_backend(req.ctx, host))
