# SPDX-License-Identifier: Apache-2.0
"""Replies about QoS specs."""

from multiattach.api.schemas.replies.elements import LINKS, NEXT, TEXT, TEXT_OR_NULL, UUID, always, many, one, strict

_SPECS = {'type': 'object', 'additionalProperties': TEXT_OR_NULL}
_QOS = strict({'id': UUID, 'name': TEXT, 'consumer': {'enum': ['front-end', 'back-end', 'both']}, 'specs': _SPECS})

INDEX = always(strict({'qos_specs': many(_QOS)}, {'qos_specs_links': NEXT}))
SHOW = always(strict({'qos_specs': _QOS, 'links': LINKS}))
# A PUT answers with its own body.
CHANGED = one('qos_specs', _SPECS)
TYPES = one('qos_associations', many(strict({'association_type': {'const': 'volume_type'}, 'id': UUID, 'name': TEXT})))
