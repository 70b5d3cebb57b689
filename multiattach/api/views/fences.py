# SPDX-License-Identifier: Apache-2.0
"""What fences and their proofs look like."""

from collections.abc import Sequence
from typing import Any

from multiattach.api.views.elements import format_time
from multiattach.engine.fences import FencedAttachment, FencedHost, UnfencedHost
from multiattach.engine.rows import FencedHost as Mark


def _proof(proof: dict[str, Any]) -> dict[str, Any]:
    found = {key: proof[key] for key in ('initiator', 'worker', 'verified_at', 'seconds', 'left')}
    # Proofs of releases before have neither: they are about what stood under the initiator's name.
    return found | {'scope': proof.get('scope', 'initiator'), 'cut': {'others': [], 'logins': [], **proof['cut']}}


def _attachment(found: FencedAttachment) -> dict[str, Any]:
    return {
        'id': found.id,
        'volume_id': found.volume_id,
        'server_id': found.server_id,
        'host': found.host,
        'fenced': found.proof is not None,
        'error': found.error,
        'proof': None if found.proof is None else _proof(found.proof),
    }


def attachments(found: Sequence[FencedAttachment]) -> dict[str, Any]:
    """Show what was cut off with one attachment.

    :param found: the attachment and those that shared its initiator.
    """
    return {'attachments': [_attachment(one) for one in found]}


def mark(row: Mark | None) -> dict[str, Any] | None:
    """Show the mark of a fenced host.

    :returns: JSON object, or None.
    """
    return (
        None
        if row is None
        else {'fenced_at': format_time(row.fenced_at), 'out_of_service': row.out_of_service, 'reason': row.reason}
    )


def host(found: FencedHost) -> dict[str, Any]:
    """Show a fenced host and what was cut off with it."""
    row = found.mark
    return {
        'host': row.host,
        'fenced_at': format_time(row.fenced_at),
        'out_of_service': row.out_of_service,
        'reason': row.reason,
        'known': found.is_known,
        'near': list(found.near),
        'complete': found.is_complete,
        'attachments': [_attachment(one) for one in found.attachments],
    }


def unfenced(found: UnfencedHost) -> dict[str, Any]:
    """Show a host that may have volumes again."""
    return {'host': found.host, 'was_fenced': found.was_fenced, 'known': found.is_known, 'near': list(found.near)}
