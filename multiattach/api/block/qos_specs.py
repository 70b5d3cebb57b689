# SPDX-License-Identifier: Apache-2.0
"""QoS specs, and which types have them."""

from typing import Any

from multiattach.api import paging
from multiattach.api.elements import Links
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import LINKS, TEXT, TEXT_OR_NULL, UUID, many, one, page, strict
from multiattach.api.validation import flag
from multiattach.db import models
from multiattach.domain import bounds, idents, qos
from multiattach.engine import queries

_ONE = '/qos-specs/{qos_id}'
_PREFIX = 'volume_extension:qos_specs_manage:'

# A new one may have any keys, later ones are those of extra specs; as Block Storage has it.
_CREATE = requests.wrap(
    'qos_specs',
    {
        'type': 'object',
        'required': ['name'],
        'properties': {'name': requests.NAME},
        'propertyNames': requests.WORD,
        'maxProperties': bounds.ITEMS,
        'additionalProperties': requests.TEXT_OR_NULL,
    },
)
_UPDATE = requests.wrap(
    'qos_specs',
    {
        'type': 'object',
        'additionalProperties': False,
        'maxProperties': bounds.ITEMS,
        'patternProperties': {r'^[a-zA-Z0-9\-_:. /]{1,255}\Z': requests.TEXT_OR_NULL},
    },
)
_KEYS = {'type': 'array', 'items': requests.WORD, 'uniqueItems': True, 'maxItems': bounds.ITEMS}
_TYPE = requests.fields({'vol_type_id': requests.TEXT}, strict=False)

_SPECS = {'type': 'object', 'additionalProperties': TEXT_OR_NULL}
_QOS = strict({'id': UUID, 'name': TEXT, 'consumer': {'enum': ['front-end', 'back-end', 'both']}, 'specs': _SPECS})
_SHOWN = strict({'qos_specs': _QOS, 'links': LINKS})
_ASSOCIATION = strict({'association_type': {'const': 'volume_type'}, 'id': UUID, 'name': TEXT})


def _summary(found: models.QosSpecs) -> dict[str, Any]:
    return {'id': found.id, 'name': found.name, 'consumer': found.consumer, 'specs': found.specs}


class QosSpecsController(Controller):
    """``/qos-specs``."""

    @route('GET', '/qos-specs', query=requests.query(), reply=page('qos_specs', _QOS), rules=(_PREFIX + 'get_all',))
    def index(self, req: Request) -> dict[str, Any]:
        """List QoS specs."""
        wanted = paging.parse_page(req.query, self.settings, queries.QOS_SORT_KEYS)
        conditions = queries.qos_conditions(req.ctx, paging.filters(req.query), req.minor)
        found = self.engine.qos_specs.list_page(req.ctx, conditions, wanted)
        return paging.reply(req, self.settings, wanted, found, 'qos_specs', _summary)

    @route('POST', '/qos-specs', body=_CREATE, reply=_SHOWN, rules=(_PREFIX + 'create',))
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Create QoS specs."""
        specs = dict(body['qos_specs'])
        name, consumer = specs.pop('name').strip(), specs.pop('consumer', None)
        return self._show(
            req,
            self.engine.qos_specs.create(req.ctx, name, qos.DEFAULT_CONSUMER if consumer is None else consumer, specs),
        )

    @route('GET', _ONE, reply=_SHOWN, rules=(_PREFIX + 'get',))
    def show(self, req: Request, qos_id: str) -> dict[str, Any]:
        """Show QoS specs."""
        return self._show(req, self.engine.qos_specs.show(req.ctx, qos_id))

    def _show(self, req: Request, found: models.QosSpecs) -> dict[str, Any]:
        """Show QoS specs; the links are beside them."""
        return {'qos_specs': _summary(found), 'links': Links(req, self.settings).of('qos-specs', found.id)}

    @route('PUT', _ONE, body=_UPDATE, reply=one('qos_specs', _SPECS), rules=(_PREFIX + 'update',))
    def update(self, req: Request, body: dict[str, Any], qos_id: str) -> dict[str, Any]:
        """Set keys; those that are not named stay."""
        self.engine.qos_specs.update(req.ctx, qos_id, body['qos_specs'])
        return body

    @route(
        'DELETE',
        _ONE,
        status=202,
        query=requests.fields({'force': requests.BOOLEAN_QUERY}, strict=False),
        rules=(_PREFIX + 'delete',),
    )
    def delete(self, req: Request, qos_id: str) -> None:
        """Delete QoS specs; by force also those that types have."""
        self.engine.qos_specs.delete(req.ctx, qos_id, force=flag(req.query, 'force'))

    @route('PUT', _ONE + '/delete_keys', status=202, body=requests.wrap('keys', _KEYS), rules=(_PREFIX + 'delete',))
    def delete_keys(self, req: Request, body: dict[str, Any], qos_id: str) -> None:
        """Delete keys."""
        self.engine.qos_specs.delete_keys(req.ctx, qos_id, body['keys'])

    # -- types; Block Storage changes these by GET -----------------------------------------------

    @route(
        'GET', _ONE + '/associations', reply=one('qos_associations', many(_ASSOCIATION)), rules=(_PREFIX + 'get_all',)
    )
    def list_types(self, req: Request, qos_id: str) -> dict[str, Any]:
        """List the types that have QoS specs."""
        return {
            'qos_associations': [
                {'association_type': 'volume_type', 'name': row.name, 'id': row.id}
                for row in self.engine.qos_specs.list_types(req.ctx, qos_id)
            ]
        }

    @route('GET', _ONE + '/associate', status=202, query=_TYPE, rules=(_PREFIX + 'update',))
    def associate(self, req: Request, qos_id: str) -> None:
        """Give a type QoS specs."""
        self.engine.qos_specs.associate(req.ctx, qos_id, _find_type(req))

    @route('GET', _ONE + '/disassociate', status=202, query=_TYPE, rules=(_PREFIX + 'update',))
    def disassociate(self, req: Request, qos_id: str) -> None:
        """Take QoS specs from a type."""
        self.engine.qos_specs.disassociate(req.ctx, qos_id, _find_type(req))

    @route('GET', _ONE + '/disassociate_all', status=202, rules=(_PREFIX + 'update',))
    def disassociate_all(self, req: Request, qos_id: str) -> None:
        """Take QoS specs from all types."""
        self.engine.qos_specs.disassociate_all(req.ctx, qos_id)


def _find_type(req: Request) -> str:
    return idents.normalise(req.query.get('vol_type_id', ''))
