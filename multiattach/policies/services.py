# SPDX-License-Identifier: Apache-2.0
"""Rules on services."""

from multiattach.policies.base import ADMIN, rule

RULES = [
    rule('volume_extension:services:index', ADMIN, 'List services.', ('GET', '/os-services')),
    rule('volume_extension:services:update', ADMIN, 'Enable or disable a service.',
         ('PUT', '/os-services/enable'), ('PUT', '/os-services/disable'),
         ('PUT', '/os-services/disable-log-reason')),
]
