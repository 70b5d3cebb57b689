# SPDX-License-Identifier: Apache-2.0
"""Rules on services."""

from multiattach.policies.base import ADMIN, READER, rule

RULES = [
    rule('volume_extension:services:index', ADMIN, 'List services.', ('GET', '/os-services')),
    rule(
        'volume_extension:services:update',
        ADMIN,
        'Enable or disable a service.',
        ('PUT', '/os-services/enable'),
        ('PUT', '/os-services/disable'),
        ('PUT', '/os-services/disable-log-reason'),
    ),
    rule(
        'scheduler_extension:scheduler_stats:get_pools',
        ADMIN,
        'List the pools of backends.',
        ('GET', '/scheduler-stats/get_pools'),
    ),
    rule('volume_extension:capabilities', ADMIN, 'Show what a backend can do.', ('GET', '/capabilities/{host}')),
    rule('volume:freeze_host', ADMIN, 'Freeze a backend.', ('PUT', '/os-services/freeze')),
    rule('volume:thaw_host', ADMIN, 'Thaw a backend.', ('PUT', '/os-services/thaw')),
    rule('volume:failover_host', ADMIN, 'Fail a backend over.', ('PUT', '/os-services/failover_host')),
    rule('volume:availability_zone_list', READER, 'List availability zones.', ('GET', '/os-availability-zone')),
    rule('limits_extension:used_limits', READER, 'Show what of the limits is used.', ('GET', '/limits')),
]
