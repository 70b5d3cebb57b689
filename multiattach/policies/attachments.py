# SPDX-License-Identifier: Apache-2.0
"""Rules on attachments; those for reading have no counterpart in Cinder (contract 7.4)."""

from multiattach.policies.base import MEMBER, READER, rule

_ONE = '/attachments/{attachment_id}'

RULES = [
    rule('volume:attachment_get', READER, 'Show an attachment.', ('GET', _ONE)),
    rule(
        'volume:attachment_get_all',
        READER,
        'List attachments.',
        ('GET', '/attachments'),
        ('GET', '/attachments/detail'),
    ),
    rule('volume:attachment_create', MEMBER, 'Reserve a volume for a server.', ('POST', '/attachments')),
    rule('volume:attachment_update', MEMBER, 'Give an attachment its connector.', ('PUT', _ONE)),
    rule('volume:attachment_complete', MEMBER, 'Mark an attachment as attached.', ('POST', _ONE + '/action')),
    rule('volume:attachment_delete', MEMBER, 'Delete an attachment.', ('DELETE', _ONE)),
    rule(
        'volume:multiattach_bootable_volume',
        MEMBER,
        'Share a bootable volume that is in use.',
        ('POST', '/attachments'),
    ),
]
