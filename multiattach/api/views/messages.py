# SPDX-License-Identifier: Apache-2.0
"""What messages look like."""

from typing import Any

from multiattach.api.views.elements import Links, format_time
from multiattach.engine import rows


def show(message: rows.Message, links: Links) -> dict[str, Any]:
    """Show a message.

    :param links: link maker of the request.
    """
    return {
        'id': message.id,
        'event_id': message.event_id,
        'user_message': message.user_message,
        'message_level': message.message_level,
        'request_id': message.request_id,
        'resource_type': message.resource_type,
        'resource_uuid': message.resource_uuid,
        'created_at': format_time(message.created_at),
        'guaranteed_until': format_time(message.guaranteed_until),
        'links': links.of('messages', message.id),
    }
