# SPDX-License-Identifier: Apache-2.0
"""What explanations look like."""

from typing import Any

from multiattach.api.views.elements import format_time
from multiattach.domain import states
from multiattach.domain.explanation import Outlook
from multiattach.domain.timeline import Step
from multiattach.engine.explain import ExplainedAttachment, ExplainedVolume, NextActor


def _place(attachment: ExplainedAttachment) -> dict[str, Any]:
    row = attachment.row
    return {
        'id': row.id, 'volume_id': row.volume_id, 'server_id': row.instance_uuid,
        'status': states.public_status(row.state), 'state': row.state, 'since': format_time(row.state_at),
        'mode': row.attach_mode, 'device': row.mountpoint,
        'driven_by': 'host agent' if row.agent_host else 'client', 'error': attachment.error,
    }


def _host(attachment: ExplainedAttachment) -> dict[str, Any]:
    row = attachment.row
    return {'host': row.attached_host or row.agent_host, 'initiator': row.initiator}


def _expect(actor: NextActor, outlook: Outlook, *, sees_internals: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        'owner': str(outlook.owner), 'owner_is_up': actor.is_up, 'meaning': outlook.meaning,
        'next': outlook.next, 'advice': outlook.advice,
    }
    return shown | ({'owner_name': actor.name} if sees_internals else {})


def _step(step: Step) -> dict[str, Any]:
    return {
        'at': format_time(step.at), 'event': step.event, 'from': step.source, 'to': step.target,
        'by': step.actor, 'request_id': step.request_id, 'seconds': step.seconds, 'stayed': step.stayed,
        'error': step.error,
    }


def attachment(found: ExplainedAttachment, *, sees_internals: bool) -> dict[str, Any]:
    """Show an explained attachment.

    :param found: the attachment.
    :param sees_internals: show hosts and initiators.
    :returns: JSON object.
    """
    return {
        **_place(found), **_expect(found.actor, found.outlook, sees_internals=sees_internals),
        **(_host(found) if sees_internals else {}), 'timeline': [_step(step) for step in found.steps],
    }


def volume(found: ExplainedVolume, *, sees_internals: bool) -> dict[str, Any]:
    """Show an explained volume.

    :param found: the volume.
    :param sees_internals: show hosts and initiators.
    :returns: JSON object.
    """
    row = found.row
    return {
        'id': row.id, 'name': row.display_name, 'project_id': row.project_id, 'size': row.size,
        'volume_type': row.volume_type.name, 'multiattach': row.multiattach, 'status': row.status,
        'since': format_time(found.since), 'derived': found.verdict.derived,
        'reason': found.verdict.reason, 'decided_by': list(found.verdict.decided_by),
        **_expect(found.actor, found.outlook, sees_internals=sees_internals), 'warning': found.warning,
        **({'backend': row.host} if sees_internals else {}),
        'attachments': [{
            **_place(each), 'owner': str(each.outlook.owner), 'owner_is_up': each.actor.is_up,
            'meaning': each.outlook.meaning, **(_host(each) if sees_internals else {}),
        } for each in found.attachments],
    }
