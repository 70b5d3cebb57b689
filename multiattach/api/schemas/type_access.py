# SPDX-License-Identifier: Apache-2.0
"""Values of the actions on types, and bodies of encryption records."""

from multiattach.api.schemas.elements import fields, wrap
from multiattach.api.validation import Versioned

_PROJECT = fields({'project': {'type': 'string', 'minLength': 1, 'maxLength': 255}}, 'project')
_PROVIDER = {'type': 'string', 'minLength': 1, 'maxLength': 255}
_ENCRYPTION = {
    'provider': _PROVIDER,
    'control_location': {'enum': ['front-end', 'back-end']},
    'cipher': {'type': ['string', 'null'], 'maxLength': 255},
    'key_size': {
        'anyOf': [
            {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1},
            {'type': 'null'},
            {'type': 'string', 'pattern': r'^[0-9]{1,9}\Z'},
        ]
    },
}

ACCESS = Versioned({0: _PROJECT})
CREATE_ENCRYPTION = Versioned({0: wrap('encryption', fields(_ENCRYPTION, 'provider', 'control_location'))})
UPDATE_ENCRYPTION = Versioned({0: wrap('encryption', fields(_ENCRYPTION, minProperties=1))})
