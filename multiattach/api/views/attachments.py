# SPDX-License-Identifier: Apache-2.0
"""What attachments look like (contract 2)."""

from typing import Any

from multiattach.api.views.elements import format_time
from multiattach.domain import connection, states
from multiattach.engine import rows

# Attachments without a mode show this text, with date fields empty (contract 11.5).
_NO_MODE = 'null'


def summary(attachment: rows.Attachment) -> dict[str, Any]:
    """Show an attachment in a list."""
    return {
        'id': attachment.id,
        'status': states.public_status(attachment.state),
        'instance': attachment.instance_uuid,
        'volume_id': attachment.volume_id,
    }


def detail(attachment: rows.Attachment, *, sees_secrets: bool) -> dict[str, Any]:
    """Show an attachment with all that belongs to it.

    :param attachment: the row with connection_info loaded.
    :param sees_secrets: show what opens the target too.
    """
    info = attachment.connection_info or {}
    return {
        **summary(attachment),
        'attached_at': format_time(attachment.attached_at) or '',
        'detached_at': format_time(attachment.detached_at) or '',
        'attach_mode': attachment.attach_mode or _NO_MODE,
        'connection_info': info if sees_secrets else connection.hide_secrets(info),
    }
