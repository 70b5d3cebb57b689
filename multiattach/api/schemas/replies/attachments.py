# SPDX-License-Identifier: Apache-2.0
"""Replies about attachments (contract 2)."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.schemas.replies.elements import (
    COUNT,
    FLAG,
    NEXT,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME_OR_EMPTY,
    UUID,
    always,
    many,
    one,
    strict,
)

_SUMMARY = {'id': UUID, 'status': TEXT, 'instance': TEXT_OR_NULL, 'volume_id': UUID}
# The flat form (contract 8.2), and what is in it for callers who may open the target.
# Rates per GiB are multiplied out to numbers.
_QOS = {'anyOf': [NULL, {'type': 'object', 'additionalProperties': {'type': ['string', 'integer', 'null']}}]}
_TARGET: Mapping[str, Any] = {
    'volume_id': UUID,
    'target_discovered': FLAG,
    'target_iqn': TEXT,
    'target_portal': TEXT,
    'target_lun': COUNT,
    'auth_method': TEXT,
    'access_mode': {'enum': ['rw', 'ro']},
    'encrypted': FLAG,
    'cacheable': FLAG,
    'qos_specs': _QOS,
}
_OPTIONAL: Mapping[str, Any] = {
    'auth_username': TEXT,
    'auth_password': TEXT,
    'target_iqns': many(TEXT),
    'target_portals': many(TEXT),
    'target_luns': many(COUNT),
}
_TOP: Mapping[str, Any] = {'driver_volume_type': TEXT, 'enforce_multipath': FLAG}
_CONNECTION = strict({**_TARGET, **_TOP, 'attachment_id': UUID}, _OPTIONAL)
_DETAIL = strict(
    {
        **_SUMMARY,
        'attached_at': TIME_OR_EMPTY,
        'detached_at': TIME_OR_EMPTY,
        'attach_mode': {'enum': ['rw', 'ro', 'null']},
        'connection_info': {'anyOf': [strict({}), _CONNECTION]},
    }
)

INDEX = always(strict({'attachments': many(strict(_SUMMARY))}, {'attachments_links': NEXT}))
DETAIL = always(strict({'attachments': many(_DETAIL)}, {'attachments_links': NEXT}))
SHOW = one('attachment', _DETAIL)
# The reply of DELETE: which attachments remain on the volume.
REMAINING = one('attachments', many(strict(_SUMMARY)))
# Of os-initialize_connection, which nests what attachments have flat (contract 8.2).
CONNECTION = one('connection_info', strict({**_TOP, 'data': strict(_TARGET, _OPTIONAL)}))
