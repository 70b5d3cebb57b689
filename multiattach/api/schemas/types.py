# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of volume types and extra specs (contract 10.3)."""

from multiattach.api.schemas.elements import BOOLEAN, EXTRA_SPECS, NAME, TEXT_OR_NULL, fields, query, wrap
from multiattach.api.validation import Versioned

_NONE = {'type': 'string', 'format': 'boolean-or-none'}

CREATE = Versioned(
    {
        0: wrap(
            'volume_type',
            fields(
                {
                    'name': NAME,
                    'description': TEXT_OR_NULL,
                    'extra_specs': {'anyOf': [EXTRA_SPECS, {'type': 'null'}]},
                    'os-volume-type-access:is_public': BOOLEAN,
                },
                'name',
            ),
        )
    }
)
UPDATE = Versioned(
    {
        0: wrap(
            'volume_type',
            fields(
                {'name': {'anyOf': [NAME, {'type': 'null'}]}, 'description': TEXT_OR_NULL, 'is_public': BOOLEAN},
                minProperties=1,
            ),
        )
    }
)
INDEX = Versioned({0: query({'is_public': _NONE})})
SET_SPECS = Versioned({0: wrap('extra_specs', {**EXTRA_SPECS, 'minProperties': 1})})
SET_SPEC = Versioned({0: {**EXTRA_SPECS, 'minProperties': 1, 'maxProperties': 1}})
