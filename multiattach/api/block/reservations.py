# SPDX-License-Identifier: Apache-2.0
"""SCSI-3 persistent reservations of a volume: an extension of this service's own."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import COUNT, FLAG, NULL, TEXT_OR_NULL, UUID, UUID_OR_NULL, many, one, strict
from multiattach.domain import errors
from multiattach.domain.reservations import TYPES, VolumeReservations
from multiattach.engine.reservations import Whose

_WHOSE = {
    'attachment_id': requests.UUID_OR_NULL,
    'server_id': requests.UUID_OR_NULL,
    'initiator': requests.WORD_OR_NULL,
}
_REPLY = one(
    'reservations',
    strict(
        {
            'volume_id': UUID,
            'generation': COUNT,
            'type': {'anyOf': [{'enum': sorted(TYPES)}, NULL]},
            'type_name': TEXT_OR_NULL,
            'registrations': many(
                strict(
                    {
                        'key': {'type': 'string', 'pattern': '^[0-9a-f]{16}$'},
                        'holder': FLAG,
                        'attachment_id': UUID_OR_NULL,
                        'attach_status': TEXT_OR_NULL,
                        'server_id': TEXT_OR_NULL,
                        'server_name': TEXT_OR_NULL,
                    },
                    {'initiator': TEXT_OR_NULL},
                )
            ),
        }
    ),
)


class ReservationsController(Controller):
    """``…/volumes/{id}/reservations`` below ``/multiattach``."""

    @route(
        'GET',
        '/multiattach/volumes/{volume_id}/reservations',
        reply=_REPLY,
        rules=('multiattach:volume_reservations', 'multiattach:explain_internals'),
    )
    def show(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Show who is registered at a volume and who holds it, asked from the target."""
        sees = self.engine.reservations.sees_initiators(req.ctx)
        return _show(self.engine.reservations.show(req.ctx, volume_id), sees_initiators=sees)

    @route(
        'POST',
        '/multiattach/volumes/{volume_id}/reservations/clear',
        body=requests.wrap('reservations', requests.fields(_WHOSE)),
        reply=_REPLY,
        rules=('multiattach:volume_reservations_clear', 'multiattach:explain_internals'),
    )
    def clear(self, req: Request, body: dict[str, Any], volume_id: str) -> dict[str, Any]:
        """End the registrations of an attachment, a server or an initiator, or all; show what is left."""
        wish = {key: value for key, value in body['reservations'].items() if value is not None}
        if len(wish) > 1:
            raise errors.InvalidInput(f'Only one of {", ".join(_WHOSE)} can say whose registrations are to be ended.')
        sees = self.engine.reservations.sees_initiators(req.ctx)
        return _show(self.engine.reservations.clear(req.ctx, volume_id, Whose(**wish)), sees_initiators=sees)


def _show(found: VolumeReservations, *, sees_initiators: bool) -> dict[str, Any]:
    return {
        'reservations': {
            'volume_id': found.volume_id,
            'generation': found.generation,
            'type': found.kind,
            'type_name': None if found.kind is None else TYPES[found.kind],
            'registrations': [
                {
                    'key': row.key,
                    'holder': row.is_holder,
                    'attachment_id': row.attachment_id,
                    'attach_status': row.status,
                    'server_id': row.server_id,
                    'server_name': row.server_name,
                    **({'initiator': row.initiator} if sees_initiators else {}),
                }
                for row in found.registrants
            ],
        }
    }
