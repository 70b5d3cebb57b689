# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of quotas (contract 10.5)."""

from multiattach.api.schemas.elements import BOOLEAN_QUERY, fields, wrap
from multiattach.api.validation import Versioned

_LIMITS = {
    'type': 'object',
    'minProperties': 1,
    'properties': {'tenant_id': {'type': ['string', 'null']}},
    'patternProperties': {
        r'^(?!tenant_id$).{1,300}\Z': {
            'oneOf': [
                {'type': 'integer', 'minimum': -1, 'maximum': 2**31 - 1},
                {'type': 'string', 'pattern': r'^-?[0-9]{1,9}\Z'},
            ]
        }
    },
    'additionalProperties': False,
}
UPDATE = Versioned({0: wrap('quota_set', _LIMITS)})
UPDATE_CLASS = Versioned({0: wrap('quota_class_set', _LIMITS)})
SHOW = Versioned({0: fields({'usage': BOOLEAN_QUERY}, strict=False)})
