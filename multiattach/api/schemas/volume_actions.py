# SPDX-License-Identifier: Apache-2.0
"""Values of the actions on volumes (contract 6)."""

from multiattach.api.schemas.elements import BOOLEAN, METADATA, UUID, fields
from multiattach.api.validation import Versioned

_TEXT = {'type': 'string', 'minLength': 1, 'maxLength': 255}
_OBJECT = {'type': 'object'}
_STATUS = {'type': ['string', 'null'], 'maxLength': 255}

ATTACH = Versioned(
    {
        0: fields(
            {
                'mountpoint': _TEXT,
                'instance_uuid': {'anyOf': [UUID, {'type': 'null'}]},
                'host_name': {'type': ['string', 'null'], 'maxLength': 255},
                'mode': {'enum': ['rw', 'ro']},
            },
            'mountpoint',
        )
    }
)
DETACH = Versioned({0: {'anyOf': [{'type': 'null'}, fields({'attachment_id': {'anyOf': [UUID, {'type': 'null'}]}})]}})
INITIALIZE = Versioned({0: fields({'connector': _OBJECT}, 'connector')})
TERMINATE = Versioned({0: fields({'connector': {'type': ['object', 'null']}}, 'connector')})
FORCE_DETACH = Versioned(
    {0: fields({'connector': {'type': ['object', 'null']}, 'attachment_id': {'anyOf': [UUID, {'type': 'null'}]}})}
)
RESET = Versioned(
    {
        0: fields(
            {'status': _STATUS, 'attach_status': {'enum': ['attached', 'detached', None]}, 'migration_status': _STATUS},
            minProperties=1,
        )
    }
)
READONLY = Versioned({0: fields({'readonly': BOOLEAN}, 'readonly')})
BOOTABLE = Versioned({0: fields({'bootable': BOOLEAN}, 'bootable')})
SET_IMAGE_METADATA = Versioned({0: fields({'metadata': METADATA}, 'metadata')})
UNSET_IMAGE_METADATA = Versioned({0: fields({'key': _TEXT}, 'key')})
