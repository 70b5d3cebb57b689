# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of volumes (contract 10.2) and of their actions (contract 6)."""

from multiattach.api.schemas.elements import (
    BOOLEAN,
    BOOLEAN_QUERY,
    METADATA,
    NAME,
    SIZE,
    TEXT_OR_NULL,
    fields,
    query,
    wrap,
)
from multiattach.api.validation import Versioned

_NULLABLE_ID = {'type': ['string', 'null'], 'maxLength': 255}
_CREATE = {
    'name': TEXT_OR_NULL,
    'display_name': TEXT_OR_NULL,
    'description': TEXT_OR_NULL,
    'display_description': TEXT_OR_NULL,
    'size': {'anyOf': [SIZE, {'type': 'null'}]},
    'volume_type': TEXT_OR_NULL,
    'metadata': {'anyOf': [METADATA, {'type': 'null'}]},
    'availability_zone': TEXT_OR_NULL,
    'snapshot_id': _NULLABLE_ID,
    'source_volid': _NULLABLE_ID,
    'consistencygroup_id': _NULLABLE_ID,
    'imageRef': _NULLABLE_ID,
    'image_id': _NULLABLE_ID,
    # true is refused by its meaning, with the text that says what to use instead.
    'multiattach': BOOLEAN,
}
_GROUP = {'group_id': _NULLABLE_ID}
_BACKUP = {'backup_id': _NULLABLE_ID}
_HINTS = {'OS-SCH-HNT:scheduler_hints': {'type': ['object', 'null']}}
_UPDATE = {
    'name': TEXT_OR_NULL,
    'display_name': TEXT_OR_NULL,
    'description': TEXT_OR_NULL,
    'display_description': TEXT_OR_NULL,
    'metadata': {'anyOf': [METADATA, {'type': 'null'}]},
}

# Up to 3.52 what is not known is ignored.
CREATE = Versioned(
    {
        0: wrap('volume', fields(_CREATE, strict=False), strict=False),
        13: wrap('volume', fields(_CREATE | _GROUP, strict=False), strict=False),
        47: wrap('volume', fields(_CREATE | _GROUP | _BACKUP, strict=False), strict=False),
        53: wrap('volume', fields(_CREATE | _GROUP | _BACKUP), others=_HINTS),
    }
)
UPDATE = Versioned(
    {
        0: wrap('volume', fields(_UPDATE, strict=False), strict=False),
        53: wrap('volume', fields(_UPDATE, minProperties=1)),
    }
)
INDEX = Versioned({0: query({'all_tenants': BOOLEAN_QUERY, 'with_count': BOOLEAN_QUERY})})
SUMMARY = Versioned({0: fields({'all_tenants': BOOLEAN_QUERY}, strict=False)})
DELETE = Versioned(
    {
        0: fields({'cascade': BOOLEAN_QUERY}, strict=False),
        23: fields({'cascade': BOOLEAN_QUERY, 'force': BOOLEAN_QUERY}, strict=False),
    }
)
SET_METADATA = Versioned({0: wrap('metadata', METADATA)})
SET_METADATA_ITEM = Versioned({0: wrap('meta', {**METADATA, 'minProperties': 1, 'maxProperties': 1})})

EXTEND = Versioned({0: fields({'new_size': SIZE}, 'new_size')})
RETYPE = Versioned({0: fields({'new_type': NAME, 'migration_policy': {'enum': ['on-demand', 'never']}}, 'new_type')})
