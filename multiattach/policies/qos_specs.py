# SPDX-License-Identifier: Apache-2.0
"""Rules on QoS specs."""

from multiattach.policies.base import ADMIN, rule

_ALL = '/qos-specs'
_ONE = _ALL + '/{qos_id}'
_PREFIX = 'volume_extension:qos_specs_manage:'

RULES = [
    rule(
        _PREFIX + 'get_all',
        ADMIN,
        'List QoS specs, or the types that have them.',
        ('GET', _ALL),
        ('GET', _ONE + '/associations'),
    ),
    rule(_PREFIX + 'get', ADMIN, 'Show QoS specs.', ('GET', _ONE)),
    rule(_PREFIX + 'create', ADMIN, 'Create QoS specs.', ('POST', _ALL)),
    rule(
        _PREFIX + 'update',
        ADMIN,
        'Change QoS specs, give them to types and take them back.',
        ('PUT', _ONE),
        ('GET', _ONE + '/associate'),
        ('GET', _ONE + '/disassociate'),
        ('GET', _ONE + '/disassociate_all'),
    ),
    rule(
        _PREFIX + 'delete', ADMIN, 'Delete QoS specs or keys of them.', ('DELETE', _ONE), ('PUT', _ONE + '/delete_keys')
    ),
]
