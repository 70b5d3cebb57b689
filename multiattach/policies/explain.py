# SPDX-License-Identifier: Apache-2.0
"""Rules on what Block Storage does not have: explanations, hosts and targets."""

from multiattach.policies.base import READER, SYSTEM_READER, rule

_ALL = '/multiattach'
_ATTACHMENT = _ALL + '/attachments/{attachment_id}/explain'
_VOLUME = _ALL + '/volumes/{volume_id}/explain'

RULES = [
    rule(
        'multiattach:attachment_explain',
        READER,
        "Read an attachment's timeline and what comes next.",
        ('GET', _ATTACHMENT),
    ),
    rule(
        'multiattach:volume_explain', READER, 'Read why a volume has its status and what comes next.', ('GET', _VOLUME)
    ),
    rule(
        'multiattach:explain_internals',
        SYSTEM_READER,
        'See hosts, initiators and whole errors in explanations.',
        ('GET', _ATTACHMENT),
        ('GET', _VOLUME),
    ),
    rule(
        'multiattach:hosts',
        SYSTEM_READER,
        'List and show compute hosts.',
        ('GET', _ALL + '/hosts'),
        ('GET', _ALL + '/hosts/{host}'),
    ),
    rule(
        'multiattach:targets',
        SYSTEM_READER,
        'List and show what targets really have.',
        ('GET', _ALL + '/targets'),
        ('GET', _ALL + '/targets/{volume_id}'),
    ),
]
