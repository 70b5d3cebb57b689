# SPDX-License-Identifier: Apache-2.0
"""Replies about volume types, their extra specs, access and encryption (contract 10.3)."""

from multiattach.api.schemas.replies.elements import (
    FLAG,
    NEXT,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    UUID,
    UUID_OR_NULL,
    always,
    many,
    one,
    strict,
)

_SPECS = {'type': 'object', 'additionalProperties': TEXT_OR_NULL}
_TYPE = strict(
    {'id': UUID, 'name': TEXT, 'description': TEXT_OR_NULL, 'is_public': FLAG},
    {'os-volume-type-access:is_public': FLAG, 'extra_specs': _SPECS, 'qos_specs_id': UUID_OR_NULL},
)
_SIZE = {'type': ['integer', 'null'], 'minimum': 0}
_ENCRYPTION = {
    'encryption_id': UUID,
    'provider': TEXT,
    'cipher': TEXT_OR_NULL,
    'key_size': _SIZE,
    'control_location': {'enum': ['front-end', 'back-end']},
}

INDEX = always(strict({'volume_types': many(_TYPE)}, {'volume_type_links': NEXT}))
SHOW = one('volume_type', _TYPE)
SPECS = one('extra_specs', _SPECS)
SPEC = always({**_SPECS, 'minProperties': 1, 'maxProperties': 1})
ACCESS = one('volume_type_access', many(strict({'volume_type_id': UUID, 'project_id': TEXT})))
ENCRYPTION = always(
    {
        'anyOf': [
            strict({}),
            strict(
                {
                    **_ENCRYPTION,
                    'volume_type_id': UUID,
                    'deleted': {'const': False},
                    'deleted_at': NULL,
                    'created_at': TIME,
                    'updated_at': TIME_OR_NULL,
                }
            ),
        ]
    }
)
ENCRYPTION_ITEM = always({**strict({}, _ENCRYPTION), 'minProperties': 1, 'maxProperties': 1})
ENCRYPTION_CREATED = one('encryption', strict({**_ENCRYPTION, 'volume_type_id': UUID}))
# A PUT answers with its own body.
ENCRYPTION_CHANGED = one(
    'encryption',
    strict(
        {},
        {
            **{key: schema for key, schema in _ENCRYPTION.items() if key != 'encryption_id'},
            'key_size': {'anyOf': [_SIZE, {'type': 'string', 'pattern': '^[0-9]+$'}]},
        },
    ),
)
_DEFAULT = strict({'project_id': TEXT, 'volume_type_id': UUID_OR_NULL})
DEFAULTS = one('default_types', many(_DEFAULT))
DEFAULT = one('default_type', _DEFAULT)
