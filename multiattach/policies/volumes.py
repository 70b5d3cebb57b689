# SPDX-License-Identifier: Apache-2.0
"""Rules on volumes and their actions (contract 7.1)."""

from multiattach.policies.base import ADMIN, MEMBER, READER, rule

_ACTION = ('POST', '/volumes/{volume_id}/action')
_ONE = '/volumes/{volume_id}'
_PREFIX = 'volume_extension:volume_actions:'

RULES = [
    rule('volume:create', MEMBER, 'Create a volume.', ('POST', '/volumes')),
    rule(
        'volume:multiattach',
        MEMBER,
        'Create a volume that several servers may share, or retype to one.',
        ('POST', '/volumes'),
        _ACTION,
    ),
    rule(
        'volume:get',
        READER,
        'Show a volume.',
        ('GET', _ONE),
        ('GET', _ONE + '/encryption'),
        ('GET', _ONE + '/encryption/{key}'),
    ),
    rule(
        'volume:get_all',
        READER,
        'List volumes.',
        ('GET', '/volumes'),
        ('GET', '/volumes/detail'),
        ('GET', '/volumes/summary'),
    ),
    rule('volume:update', MEMBER, 'Update a volume.', ('PUT', _ONE)),
    rule('volume:delete', MEMBER, 'Delete a volume.', ('DELETE', _ONE)),
    rule('volume:force_delete', ADMIN, 'Delete a volume in any status.', ('DELETE', _ONE), _ACTION),
    rule('volume:retype', MEMBER, 'Change the type of a volume.', _ACTION),
    rule('volume:extend', MEMBER, 'Extend a volume.', _ACTION),
    rule('volume:extend_attached_volume', MEMBER, 'Extend a volume in use.', _ACTION),
    rule(
        'volume:get_volume_metadata',
        READER,
        'Read metadata.',
        ('GET', _ONE + '/metadata'),
        ('GET', _ONE + '/metadata/{key}'),
    ),
    rule('volume:create_volume_metadata', MEMBER, 'Add metadata.', ('POST', _ONE + '/metadata')),
    rule(
        'volume:update_volume_metadata',
        MEMBER,
        'Change metadata.',
        ('PUT', _ONE + '/metadata'),
        ('PUT', _ONE + '/metadata/{key}'),
    ),
    rule('volume:delete_volume_metadata', MEMBER, 'Delete metadata.', ('DELETE', _ONE + '/metadata/{key}')),
    rule(
        'volume_extension:volume_tenant_attribute',
        READER,
        "Show the volume's project.",
        ('GET', _ONE),
        ('GET', '/volumes/detail'),
    ),
    rule(
        'volume_extension:volume_host_attribute',
        ADMIN,
        "Show the volume's backend.",
        ('GET', _ONE),
        ('GET', '/volumes/detail'),
    ),
    rule(
        'volume_extension:volume_mig_status_attribute',
        ADMIN,
        "Show the volume's migration.",
        ('GET', _ONE),
        ('GET', '/volumes/detail'),
    ),
    rule('volume:update_readonly_flag', MEMBER, 'Let nobody write to a volume.', _ACTION),
    rule('volume_extension:volume_image_metadata:show', READER, 'Show image metadata.', _ACTION),
    rule('volume_extension:volume_image_metadata:set', MEMBER, 'Set image metadata.', _ACTION),
    rule('volume_extension:volume_image_metadata:remove', MEMBER, 'Take image metadata away.', _ACTION),
    rule('volume_extension:volume_admin_actions:reset_status', ADMIN, "Put a volume's status right.", _ACTION),
    rule('volume_extension:volume_admin_actions:force_delete', ADMIN, 'Delete a volume in any status.', _ACTION),
    rule('volume_extension:volume_admin_actions:force_detach', ADMIN, 'Detach a volume.', _ACTION),
    rule(_PREFIX + 'attach', MEMBER, 'Mark a volume as attached.', _ACTION),
    rule(_PREFIX + 'detach', MEMBER, 'Detach a volume.', _ACTION),
    rule(_PREFIX + 'initialize_connection', MEMBER, 'Have an initiator admitted.', _ACTION),
    rule(_PREFIX + 'terminate_connection', MEMBER, 'Have an initiator turned away.', _ACTION),
    rule(_PREFIX + 'reserve', MEMBER, 'Mark a volume as being attached.', _ACTION),
    rule(_PREFIX + 'unreserve', MEMBER, 'Take that mark back.', _ACTION),
    rule(_PREFIX + 'begin_detaching', MEMBER, 'Mark a volume as being detached.', _ACTION),
    rule(_PREFIX + 'roll_detaching', MEMBER, 'Take that mark back.', _ACTION),
]
