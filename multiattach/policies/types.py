# SPDX-License-Identifier: Apache-2.0
"""Rules on volume types and extra specs (contract 7.1)."""

from multiattach.policies.base import ADMIN, READER, rule

_ONE = '/types/{type_id}'
_SPECS = _ONE + '/extra_specs'
_SPEC = _SPECS + '/{key}'

RULES = [
    rule('volume_extension:type_create', ADMIN, 'Create a type.', ('POST', '/types')),
    rule('volume_extension:type_update', ADMIN, 'Update a type.', ('PUT', _ONE)),
    rule('volume_extension:type_delete', ADMIN, 'Delete a type.', ('DELETE', _ONE)),
    rule('volume_extension:type_get', READER, 'Show a type.', ('GET', _ONE)),
    rule('volume_extension:type_get_all', READER, 'List types.', ('GET', '/types')),
    rule('volume_extension:access_types_extra_specs', READER, 'See extra specs in types.',
         ('GET', '/types'), ('GET', _ONE)),
    rule('volume_extension:access_types_qos_specs_id', ADMIN, 'See qos_specs_id in types.',
         ('GET', '/types'), ('GET', _ONE)),
    rule('volume_extension:types_extra_specs:index', READER, 'List extra specs.', ('GET', _SPECS)),
    rule('volume_extension:types_extra_specs:show', READER, 'Show an extra spec.', ('GET', _SPEC)),
    rule('volume_extension:types_extra_specs:read_sensitive', ADMIN,
         'See extra specs that are not for users.', ('GET', _SPECS), ('GET', '/types')),
    rule('volume_extension:types_extra_specs:create', ADMIN, 'Set extra specs.', ('POST', _SPECS)),
    rule('volume_extension:types_extra_specs:update', ADMIN, 'Change an extra spec.', ('PUT', _SPEC)),
    rule('volume_extension:types_extra_specs:delete', ADMIN, 'Delete an extra spec.',
         ('DELETE', _SPEC)),
]
