# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the compute API, by microversion (after Nova's ``compute/schemas``)."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.schemas.requests import BOOLEAN, DEVICE, UUID
from multiattach.api.validation import Versioned
from multiattach.engine.server_queries import FILTERS, SORT_KEYS

Schema = Mapping[str, Any]

_STRICT = 75
_NUMBER: Schema = {'type': 'string', 'pattern': r'^[0-9]{1,18}\Z'}
_TEXT: Schema = {'type': 'string', 'maxLength': 255}
_TAG: Schema = {'type': 'string', 'pattern': r'^[^,/]*\Z', 'minLength': 1, 'maxLength': 60}
# Columns that a list once could be filtered by, by accident; Nova refuses them by name.
_INTERNAL = (
    'block_device_mapping',
    'services',
    'metadata',
    'system_metadata',
    'info_cache',
    'security_groups',
    'pci_devices',
)


def _object(properties: Schema, *required: str, strict: bool = True) -> Schema:
    return {'type': 'object', 'properties': properties, 'required': list(required), 'additionalProperties': not strict}


def _attachment(**properties: Schema) -> Schema:
    return _object({'volumeAttachment': _object({'volumeId': UUID, **properties}, 'volumeId')}, 'volumeAttachment')


def _servers(minor: int) -> Schema:
    known = {key: _TEXT for key, since in FILTERS.items() if since <= minor}
    return {
        **_object(
            {
                **known,
                'limit': _NUMBER,
                'marker': _TEXT,
                'all_tenants': _TEXT,
                'sort_dir': _TEXT,
                'sort_key': {'enum': list(SORT_KEYS)},
                **dict.fromkeys(_INTERNAL, False),
            },
            strict=minor >= _STRICT,
        ),
        'patternProperties': {'^_': False},
    }


SERVERS = Versioned({minor: _servers(minor) for minor in (0, 5, 26, 66, 73, _STRICT)})

_PAGE = {'limit': _NUMBER, 'offset': _NUMBER}
ATTACHMENTS = Versioned({0: _object(_PAGE, strict=False), _STRICT: _object(_PAGE)})

CREATE = Versioned(
    {
        0: _attachment(device=DEVICE),
        49: _attachment(device=DEVICE, tag=_TAG),
        79: _attachment(device=DEVICE, tag=_TAG, delete_on_termination=BOOLEAN),
    }
)
UPDATE = Versioned(
    {0: _attachment(), 85: _attachment(device=DEVICE, tag=_TAG, delete_on_termination=BOOLEAN, serverId=UUID, id=UUID)}
)
