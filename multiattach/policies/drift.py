# SPDX-License-Identifier: Apache-2.0
"""Rules on drift: for admins, and for services that look after the cloud."""

from multiattach.policies.base import ADMIN_OR_SERVICE, SYSTEM_READER, rule

_ALL = '/multiattach'

RULES = [
    rule(
        'multiattach:doctor',
        ADMIN_OR_SERVICE,
        'Look for drift everywhere, and put it right.',
        ('POST', _ALL + '/doctor'),
    ),
    rule(
        'multiattach:host_explain',
        SYSTEM_READER,
        'See what is recorded of a host and what is true on it.',
        ('GET', _ALL + '/hosts/{host}/explain'),
    ),
]
