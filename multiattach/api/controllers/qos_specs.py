# SPDX-License-Identifier: Apache-2.0
"""QoS specs, and which types have them."""

from typing import Any

from oslo_utils import strutils

from multiattach.api import paging
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import qos_specs as schemas
from multiattach.api.views import qos_specs as views
from multiattach.api.views.elements import Links
from multiattach.domain import idents, qos
from multiattach.engine import queries

_ONE = '/qos-specs/{qos_id}'


class QosSpecsController(Controller):
    """``/qos-specs``."""

    @route('GET', '/qos-specs', query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List QoS specs."""
        page = paging.parse_page(req.query, self.settings, queries.QOS_SORT_KEYS)
        wanted = {key: value for key, value in req.query.items() if key not in paging.PARAMETERS}
        found = self.engine.qos_specs.list_page(req.ctx, queries.qos_conditions(req.ctx, wanted, req.minor), page)
        reply: dict[str, Any] = {'qos_specs': [views.show_brief(row) for row in found]}
        links = paging.next_link(req, self.settings, found, page)
        return reply | ({'qos_specs_links': links} if links else {})

    @route('POST', '/qos-specs', body=schemas.CREATE)
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Create QoS specs."""
        specs = dict(body['qos_specs'])
        name, consumer = specs.pop('name').strip(), specs.pop('consumer', None)
        found = self.engine.qos_specs.create(
            req.ctx, name, qos.DEFAULT_CONSUMER if consumer is None else consumer, specs
        )
        return views.show(found, Links(req, self.settings))

    @route('GET', _ONE)
    def show(self, req: Request, qos_id: str) -> dict[str, Any]:
        """Show QoS specs."""
        return views.show(self.engine.qos_specs.show(req.ctx, qos_id), Links(req, self.settings))

    @route('PUT', _ONE, body=schemas.UPDATE)
    def update(self, req: Request, body: dict[str, Any], qos_id: str) -> dict[str, Any]:
        """Set keys; those that are not named stay."""
        self.engine.qos_specs.update(req.ctx, qos_id, body['qos_specs'])
        return body

    @route('DELETE', _ONE, status=202, query=schemas.DELETE)
    def delete(self, req: Request, qos_id: str) -> None:
        """Delete QoS specs; by force also those that types have."""
        self.engine.qos_specs.delete(req.ctx, qos_id, force=strutils.bool_from_string(req.query.get('force', False)))

    @route('PUT', _ONE + '/delete_keys', status=202, body=schemas.DELETE_KEYS)
    def delete_keys(self, req: Request, body: dict[str, Any], qos_id: str) -> None:
        """Delete keys."""
        self.engine.qos_specs.delete_keys(req.ctx, qos_id, body['keys'])

    # -- types; Block Storage changes these by GET -----------------------------------------------

    @route('GET', _ONE + '/associations')
    def list_types(self, req: Request, qos_id: str) -> dict[str, Any]:
        """List the types that have QoS specs."""
        return {'qos_associations': [views.show_type(row) for row in self.engine.qos_specs.list_types(req.ctx, qos_id)]}

    @route('GET', _ONE + '/associate', status=202, query=schemas.ASSOCIATE)
    def associate(self, req: Request, qos_id: str) -> None:
        """Give a type QoS specs."""
        self.engine.qos_specs.associate(req.ctx, qos_id, _find_type(req))

    @route('GET', _ONE + '/disassociate', status=202, query=schemas.ASSOCIATE)
    def disassociate(self, req: Request, qos_id: str) -> None:
        """Take QoS specs from a type."""
        self.engine.qos_specs.disassociate(req.ctx, qos_id, _find_type(req))

    @route('GET', _ONE + '/disassociate_all', status=202)
    def disassociate_all(self, req: Request, qos_id: str) -> None:
        """Take QoS specs from all types."""
        self.engine.qos_specs.disassociate_all(req.ctx, qos_id)


def _find_type(req: Request) -> str:
    return idents.normalise(req.query.get('vol_type_id', ''))
