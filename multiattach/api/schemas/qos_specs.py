# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of QoS specs."""

from multiattach.api.schemas.elements import BOOLEAN_QUERY, NAME, TEXT_OR_NULL, fields, query, wrap
from multiattach.api.validation import Versioned
from multiattach.domain import bounds

# A new one may have any keys, later ones are those of extra specs; as Block Storage has it.
_KEY = {'type': 'string', 'minLength': 1, 'maxLength': 255}
_SPECS = {
    'type': 'object',
    'additionalProperties': False,
    'maxProperties': bounds.ITEMS,
    'patternProperties': {r'^[a-zA-Z0-9\-_:. /]{1,255}\Z': TEXT_OR_NULL},
}

INDEX = Versioned({0: query()})
CREATE = Versioned(
    {
        0: wrap(
            'qos_specs',
            {
                'type': 'object',
                'required': ['name'],
                'properties': {'name': NAME},
                'propertyNames': _KEY,
                'maxProperties': bounds.ITEMS,
                'additionalProperties': TEXT_OR_NULL,
            },
        )
    }
)
UPDATE = Versioned({0: wrap('qos_specs', _SPECS)})
DELETE = Versioned({0: fields({'force': BOOLEAN_QUERY}, strict=False)})
DELETE_KEYS = Versioned(
    {0: wrap('keys', {'type': 'array', 'items': _KEY, 'uniqueItems': True, 'maxItems': bounds.ITEMS})}
)
ASSOCIATE = Versioned({0: fields({'vol_type_id': {'type': 'string', 'maxLength': 255}}, strict=False)})
