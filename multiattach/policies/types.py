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
    rule('volume_extension:type_get', READER, 'Show a type.', ('GET', _ONE), ('GET', '/types/default')),
    rule('volume_extension:type_get_all', READER, 'List types.', ('GET', '/types')),
    rule(
        'volume_extension:volume_type_access:get_all_for_type',
        ADMIN,
        'List the projects that may use a type.',
        ('GET', _ONE + '/os-volume-type-access'),
    ),
    rule(
        'volume_extension:volume_type_access:addProjectAccess',
        ADMIN,
        'Let a project use a type.',
        ('POST', _ONE + '/action'),
    ),
    rule(
        'volume_extension:volume_type_access:removeProjectAccess',
        ADMIN,
        "Take a project's use of a type back.",
        ('POST', _ONE + '/action'),
    ),
    rule(
        'volume_extension:volume_type_encryption:get',
        ADMIN,
        'Show an encryption record.',
        ('GET', _ONE + '/encryption'),
        ('GET', _ONE + '/encryption/{key}'),
    ),
    rule(
        'volume_extension:volume_type_encryption:create',
        ADMIN,
        'Create an encryption record.',
        ('POST', _ONE + '/encryption'),
    ),
    rule(
        'volume_extension:volume_type_encryption:update',
        ADMIN,
        'Change an encryption record.',
        ('PUT', _ONE + '/encryption/{encryption_id}'),
    ),
    rule(
        'volume_extension:volume_type_encryption:delete',
        ADMIN,
        'Delete an encryption record.',
        ('DELETE', _ONE + '/encryption/{encryption_id}'),
    ),
    rule(
        'volume_extension:default_set_or_update',
        ADMIN,
        "Set a project's default type.",
        ('PUT', '/default-types/{project_id}'),
    ),
    rule(
        'volume_extension:default_get', ADMIN, "Show a project's default type.", ('GET', '/default-types/{project_id}')
    ),
    rule('volume_extension:default_get_all', ADMIN, 'List default types.', ('GET', '/default-types')),
    rule(
        'volume_extension:default_unset',
        ADMIN,
        "Forget a project's default type.",
        ('DELETE', '/default-types/{project_id}'),
    ),
    rule(
        'volume_extension:access_types_extra_specs',
        READER,
        'See extra specs in types.',
        ('GET', '/types'),
        ('GET', _ONE),
    ),
    rule(
        'volume_extension:access_types_qos_specs_id',
        ADMIN,
        'See qos_specs_id in types.',
        ('GET', '/types'),
        ('GET', _ONE),
    ),
    rule('volume_extension:types_extra_specs:index', READER, 'List extra specs.', ('GET', _SPECS)),
    rule('volume_extension:types_extra_specs:show', READER, 'Show an extra spec.', ('GET', _SPEC)),
    rule(
        'volume_extension:types_extra_specs:read_sensitive',
        ADMIN,
        'See extra specs that are not for users.',
        ('GET', _SPECS),
        ('GET', '/types'),
    ),
    rule('volume_extension:types_extra_specs:create', ADMIN, 'Set extra specs.', ('POST', _SPECS)),
    rule('volume_extension:types_extra_specs:update', ADMIN, 'Change an extra spec.', ('PUT', _SPEC)),
    rule('volume_extension:types_extra_specs:delete', ADMIN, 'Delete an extra spec.', ('DELETE', _SPEC)),
]
