# SPDX-License-Identifier: Apache-2.0
"""What explanations look like."""

from typing import Any

from multiattach.api.views import doctor, hosts, targets
from multiattach.api.views.elements import format_time
from multiattach.domain import states
from multiattach.domain.explanation import Outlook
from multiattach.domain.timeline import Step
from multiattach.engine.explain import ExplainedAttachment, ExplainedHost, ExplainedVolume, NextActor
from multiattach.engine.truth import Truth


def _place(attachment: ExplainedAttachment) -> dict[str, Any]:
    row = attachment.row
    return {
        'id': row.id,
        'volume_id': row.volume_id,
        'server_id': row.instance_uuid,
        'status': states.public_status(row.state),
        'state': row.state,
        'since': format_time(row.state_at),
        'mode': row.attach_mode,
        'device': row.mountpoint,
        'driven_by': 'host agent' if row.agent_host else 'client',
        'error': attachment.error,
    }


def _host(attachment: ExplainedAttachment) -> dict[str, Any]:
    row = attachment.row
    return {'host': row.attached_host or row.agent_host, 'initiator': row.initiator}


def _expect(actor: NextActor, outlook: Outlook, *, sees_internals: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        'owner': str(outlook.owner),
        'owner_is_up': actor.is_up,
        'meaning': outlook.meaning,
        'next': outlook.next,
        'advice': outlook.advice,
        'lease': _lease(actor, sees_internals=sees_internals),
    }
    return shown | ({'owner_name': actor.name} if sees_internals else {})


def _lease(actor: NextActor, *, sees_internals: bool) -> dict[str, Any] | None:
    lease = actor.lease
    if lease is None:
        return None
    shown: dict[str, Any] = {
        'until': format_time(lease.until),
        'attempts': lease.attempts,
        'retry_at': None if lease.retry_at is None else format_time(lease.retry_at),
        'error': lease.error,
    }
    return shown | ({'process': lease.owner} if sees_internals else {})


def _step(step: Step) -> dict[str, Any]:
    return {
        'at': format_time(step.at),
        'event': step.event,
        'from': step.source,
        'to': step.target,
        'by': step.actor,
        'request_id': step.request_id,
        'user_id': step.user,
        'project_id': step.project,
        'service_id': step.service,
        'address': step.address,
        'seconds': step.seconds,
        'stayed': step.stayed,
        'error': step.error,
        **({'dropped': step.dropped} if step.dropped else {}),
    }


def attachment(found: ExplainedAttachment, *, sees_internals: bool) -> dict[str, Any]:
    """Show an explained attachment."""
    return {
        **_place(found),
        **_expect(found.actor, found.outlook, sees_internals=sees_internals),
        **(_host(found) if sees_internals else {}),
        'timeline': [_step(step) for step in found.steps],
        **({} if found.truth is None else {'live': _live(found.truth)}),
    }


def volume(found: ExplainedVolume, *, sees_internals: bool) -> dict[str, Any]:
    """Show an explained volume."""
    row = found.row
    return {
        'id': row.id,
        'name': row.display_name,
        'project_id': row.project_id,
        'size': row.size,
        'volume_type': row.volume_type.name,
        'multiattach': row.multiattach,
        'status': row.status,
        'since': format_time(found.since),
        'derived': found.verdict.derived,
        'reason': found.verdict.reason,
        'decided_by': list(found.verdict.decided_by),
        **_expect(found.actor, found.outlook, sees_internals=sees_internals),
        'warning': found.warning,
        **({'backend': row.host} if sees_internals else {}),
        'attachments': [
            {
                **_place(each),
                'owner': str(each.outlook.owner),
                'owner_is_up': each.actor.is_up,
                'meaning': each.outlook.meaning,
                **(_host(each) if sees_internals else {}),
            }
            for each in found.attachments
        ],
        **({} if found.truth is None else {'live': _live(found.truth)}),
    }


def host(found: ExplainedHost) -> dict[str, Any]:
    """Show an explained host."""
    shown, outlook = hosts.detail(found.host), found.outlook
    names = ('host', 'driven_by', 'state', 'status', 'heartbeat_at', 'cannot_share', 'fenced', 'initiators')
    return {
        **{name: shown[name] for name in names},
        'owner': str(outlook.owner),
        'meaning': outlook.meaning,
        'next': outlook.next,
        'advice': outlook.advice,
        'attachments': [
            {**_place(each), **_host(each), **_expect(each.actor, each.outlook, sees_internals=True)}
            for each in found.attachments
        ],
        'live': None if found.truth is None else _live(found.truth),
    }


def _live(truth: Truth) -> dict[str, Any]:
    return {
        'target': None if truth.target is None else targets.show(truth.target),
        'hosts': [{'host': one.name, 'servers': one.servers, 'sessions': one.sessions} for one in truth.hosts],
        'findings': [doctor.finding(one) for one in truth.findings],
        'unanswered': [doctor.unanswered(one) for one in truth.unanswered],
    }
