# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of attachments (contract 2)."""

from multiattach.api.schemas.elements import BOOLEAN_QUERY, UUID, fields, query, wrap
from multiattach.api.validation import Versioned

_CREATE = {'volume_uuid': UUID, 'instance_uuid': UUID, 'connector': {'type': ['object', 'null']}}
# The openstack client sends null for "no mode".
_MODE = {'mode': {'enum': ['rw', 'ro', None]}}

CREATE = Versioned(
    {
        0: wrap('attachment', fields(_CREATE, 'volume_uuid')),
        54: wrap('attachment', fields(_CREATE | _MODE, 'volume_uuid')),
    }
)
UPDATE = Versioned({0: wrap('attachment', fields({'connector': {'type': 'object', 'minProperties': 1}}, 'connector'))})
INDEX = Versioned({0: query({'all_tenants': BOOLEAN_QUERY})})
