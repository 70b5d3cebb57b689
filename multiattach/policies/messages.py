# SPDX-License-Identifier: Apache-2.0
"""Rules on user messages."""

from multiattach.policies.base import MEMBER, READER, rule

RULES = [
    rule('message:get_all', READER, 'List messages.', ('GET', '/messages')),
    rule('message:get', READER, 'Show a message.', ('GET', '/messages/{message_id}')),
    rule('message:delete', MEMBER, 'Delete a message.', ('DELETE', '/messages/{message_id}')),
]
