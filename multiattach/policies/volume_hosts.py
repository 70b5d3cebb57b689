# SPDX-License-Identifier: Apache-2.0
"""Rules on hosts of volumes."""

from multiattach.policies.base import ADMIN, rule

_ONE = '/os-hosts/{host}'

RULES = [
    rule(
        'volume_extension:hosts',
        ADMIN,
        'List, show, enable and disable hosts.',
        ('GET', '/os-hosts'),
        ('GET', _ONE),
        ('PUT', _ONE),
    )
]
