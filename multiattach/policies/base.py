# SPDX-License-Identifier: Apache-2.0
"""The personas that the rules are made of."""

from oslo_policy import policy

ADMIN = 'rule:admin_api'
MEMBER = 'rule:admin_or_member'
READER = 'rule:admin_or_reader'
SYSTEM_READER = 'rule:admin_or_system_reader'
ADMIN_OR_SERVICE = 'rule:admin_or_service_token'

RULES = [
    policy.RuleDefault('context_is_admin', 'role:admin', 'Who is an admin, in whatever project.'),
    policy.RuleDefault(
        'admin_api', 'is_admin:True or rule:context_is_admin', 'Who may make the calls of the admin API.'
    ),
    policy.RuleDefault(
        'admin_or_member',
        'rule:admin_api or (role:member and project_id:%(project_id)s)',
        'Who may change what the project has.',
    ),
    policy.RuleDefault(
        'admin_or_reader',
        'rule:admin_api or (role:reader and project_id:%(project_id)s)',
        'Who may see what the project has.',
    ),
    policy.RuleDefault(
        'admin_or_system_reader',
        'rule:admin_api or (role:reader and system_scope:all)',
        'Who may see hosts and targets.',
    ),
    policy.RuleDefault(
        'admin_or_service_token',
        'rule:admin_api or service_roles:service',
        'Who may cut off what others use: admins, and calls with a service token.',
    ),
]


def rule(name: str, check: str, description: str, *operations: tuple[str, str]) -> policy.DocumentedRuleDefault:
    """Make a documented rule.

    :param name: the rule's name.
    :param check: one of the personas.
    :param description: what it guards.
    :param operations: pairs of HTTP method and path.
    """
    return policy.DocumentedRuleDefault(
        name, check, description, [{'method': method, 'path': path} for method, path in operations]
    )
