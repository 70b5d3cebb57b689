# SPDX-License-Identifier: Apache-2.0
"""Rules on fences: for admins, and for services such as the one that evacuates servers."""

from multiattach.policies.base import ADMIN_OR_SERVICE, rule

_ALL = '/multiattach'

RULES = [
    rule(
        'multiattach:attachment_fence',
        ADMIN_OR_SERVICE,
        "Cut an attachment's initiator off its volume.",
        ('POST', _ALL + '/attachments/{attachment_id}/fence'),
    ),
    rule(
        'multiattach:host_fence',
        ADMIN_OR_SERVICE,
        'Cut off all that a host has.',
        ('POST', _ALL + '/hosts/{host}/fence'),
    ),
    rule(
        'multiattach:host_unfence',
        ADMIN_OR_SERVICE,
        'Let a fenced host have volumes again.',
        ('POST', _ALL + '/hosts/{host}/unfence'),
    ),
]
