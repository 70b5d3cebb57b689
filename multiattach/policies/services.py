# SPDX-License-Identifier: Apache-2.0
"""Rules on services."""

from multiattach.policies.base import ADMIN, READER, rule

RULES = [
    rule('volume_extension:services:index', ADMIN, 'List services.', ('GET', '/os-services')),
    rule('volume_extension:services:update', ADMIN, 'Enable or disable a service.',
         ('PUT', '/os-services/enable'), ('PUT', '/os-services/disable'),
         ('PUT', '/os-services/disable-log-reason')),
    rule('scheduler_extension:scheduler_stats:get_pools', ADMIN, 'List the pools of backends.',
         ('GET', '/scheduler-stats/get_pools')),
    rule('volume:availability_zone_list', READER, 'List availability zones.',
         ('GET', '/os-availability-zone')),
    rule('limits_extension:used_limits', READER, 'Show what of the limits is used.', ('GET', '/limits')),
]
