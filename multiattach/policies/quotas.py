# SPDX-License-Identifier: Apache-2.0
"""Rules on quotas."""

from multiattach.policies.base import ADMIN, READER, rule

_ONE = '/os-quota-sets/{project_id}'
_CLASS = '/os-quota-class-sets/{name}'

RULES = [
    rule(
        'volume_extension:quotas:show', READER, "Show a project's quotas.", ('GET', _ONE), ('GET', _ONE + '/defaults')
    ),
    rule('volume_extension:quotas:update', ADMIN, "Set a project's quotas.", ('PUT', _ONE)),
    rule('volume_extension:quotas:delete', ADMIN, "Forget a project's quotas.", ('DELETE', _ONE)),
    rule('volume_extension:quota_classes:get', ADMIN, 'Show a quota class.', ('GET', _CLASS)),
    rule('volume_extension:quota_classes:update', ADMIN, 'Set a quota class.', ('PUT', _CLASS)),
]
