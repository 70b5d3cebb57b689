# SPDX-License-Identifier: Apache-2.0
"""What happened, who acts next, what a person can do: an extension of this service's own.

No path of Block Storage begins with ``/multiattach``. New keys may come; none goes.
"""

from typing import Any

from multiattach.api.block import doctor, hosts, targets
from multiattach.api.block.doctor import FINDINGS, UNANSWERED
from multiattach.api.block.hosts import DRIVER, HOST
from multiattach.api.block.targets import STATE, TARGET
from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import (
    COUNT,
    FLAG,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    UUID,
    Schema,
    many,
    one,
    strict,
)
from multiattach.api.validation import flag
from multiattach.domain import states
from multiattach.domain.blocklist import Entry
from multiattach.domain.explanations import Outlook
from multiattach.domain.gateways import VolumeExport
from multiattach.domain.states import Owner
from multiattach.domain.timeline import TimelineEntry
from multiattach.engine.explanations import ExplainedAttachment, ExplainedHost, ExplainedVolume, NextActor
from multiattach.engine.truth import Truth

_INTERNALS = 'multiattach:explain_internals'
_QUERY = requests.fields({'live': requests.BOOLEAN})

_SECONDS: Schema = {'type': ['number', 'null'], 'minimum': 0}
_PLACE: Schema = {
    'id': UUID,
    'volume_id': UUID,
    'server_id': TEXT_OR_NULL,
    'status': TEXT,
    'state': STATE,
    'since': TIME,
    'mode': {'enum': ['rw', 'ro', None]},
    # Who keeps a server from writing that may only read.
    'read_only_at': {'enum': ['target', 'host', None]},
    'device': TEXT_OR_NULL,
    'driven_by': DRIVER,
    'error': TEXT_OR_NULL,
}
# For those who may see hosts.
_ON_HOST: Schema = {'host': TEXT_OR_NULL, 'initiator': TEXT_OR_NULL}
_OWNER: Schema = {
    'owner': {'enum': [str(owner) for owner in Owner]},
    'owner_is_up': {'type': ['boolean', 'null']},
    'meaning': TEXT,
}
# Who is at the step, or when it is tried again; null for a step that is quick so far.
_LEASE: Schema = {
    'anyOf': [
        strict({'until': TIME, 'attempts': COUNT, 'retry_at': TIME_OR_NULL, 'error': TEXT_OR_NULL}, {'process': TEXT}),
        NULL,
    ]
}
_EXPECT: Schema = {**_OWNER, 'next': TEXT, 'advice': TEXT, 'lease': _LEASE}
_STEP = strict(
    {
        'at': TIME,
        'event': TEXT,
        'from': TEXT_OR_NULL,
        'to': TEXT,
        'by': TEXT,
        'request_id': TEXT_OR_NULL,
        'user_id': TEXT_OR_NULL,
        'project_id': TEXT_OR_NULL,
        'service_id': TEXT_OR_NULL,
        'address': TEXT_OR_NULL,
        'seconds': _SECONDS,
        'stayed': _SECONDS,
        'error': TEXT_OR_NULL,
    },
    {'dropped': COUNT},
)

_DISK = strict({'volume_id': TEXT, 'device': TEXT, 'live': FLAG, 'saved': FLAG, 'has_secret': FLAG})
_SERVER = strict({'id': UUID, 'name': TEXT, 'power_state': TEXT, 'disks': many(_DISK)})
_SESSION = strict({'volume_id': UUID, 'iqn': TEXT, 'portal': TEXT})
_LIVE = strict(
    {
        'target': {'anyOf': [TARGET, NULL]},
        'hosts': many(strict({'host': TEXT, 'servers': many(_SERVER), 'sessions': many(_SESSION)})),
        'findings': FINDINGS,
        'unanswered': UNANSWERED,
    }
)
# One run of one client that Ceph keeps out; until is null as long as it is not known.
_ENTRY = strict({'instance': TEXT, 'until': TIME_OR_NULL, 'state': TEXT, 'needed': FLAG})
_ATTACHMENT = one(
    'explanation',
    strict(
        {**_PLACE, **_EXPECT, 'timeline': many(_STEP)},
        {**_ON_HOST, 'owner_name': TEXT_OR_NULL, 'blocklist': many(_ENTRY), 'live': _LIVE},
    ),
)
# A volume at one of several gateways: only there if it was ever begun.
_GATEWAY = strict(
    {
        'gateway': TEXT,
        'portal': TEXT_OR_NULL,
        'gateway_state': TEXT_OR_NULL,
        'state': TEXT,
        'since': TIME,
        'error': TEXT_OR_NULL,
    }
)
_VOLUME = one(
    'explanation',
    strict(
        {
            'id': UUID,
            'name': TEXT_OR_NULL,
            'project_id': TEXT,
            'size': COUNT,
            'volume_type': TEXT,
            'multiattach': FLAG,
            'status': TEXT,
            'since': TIME_OR_NULL,
            'derived': FLAG,
            'reason': TEXT,
            'decided_by': many(UUID),
            **_EXPECT,
            'warning': TEXT_OR_NULL,
            'attachments': many(strict({**_PLACE, **_OWNER}, _ON_HOST)),
        },
        {'owner_name': TEXT_OR_NULL, 'backend': TEXT_OR_NULL, 'live': _LIVE, 'gateways': many(_GATEWAY)},
    ),
)

_EXPLAINED_HOST = one(
    'explanation',
    strict(
        {
            'host': TEXT,
            **{name: HOST[name] for name in ('driven_by', 'state', 'status', 'heartbeat_at', 'fenced')},
            'cannot_share': TEXT_OR_NULL,
            'initiators': many(TEXT),
            'owner': _OWNER['owner'],
            'meaning': TEXT,
            'next': TEXT,
            'advice': TEXT,
            'attachments': many(strict({**_PLACE, **_ON_HOST, **_EXPECT, 'owner_name': TEXT_OR_NULL})),
            'live': {'anyOf': [_LIVE, NULL]},
        }
    ),
)


def _show_place(attachment: ExplainedAttachment) -> dict[str, Any]:
    row = attachment.row
    return {
        'id': row.id,
        'volume_id': row.volume_id,
        'server_id': row.instance_uuid,
        'status': states.public_status(row.state),
        'state': row.state,
        'since': format_time(row.state_at),
        'mode': row.attach_mode,
        'read_only_at': attachment.read_only_at,
        'device': row.mountpoint,
        'driven_by': 'host agent' if row.agent_host else 'client',
        'error': attachment.error,
    }


def _show_on_host(attachment: ExplainedAttachment) -> dict[str, Any]:
    row = attachment.row
    return {'host': row.attached_host or row.agent_host, 'initiator': row.initiator}


def _show_outlook(actor: NextActor, outlook: Outlook, *, sees_internals: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        'owner': str(outlook.owner),
        'owner_is_up': actor.is_up,
        'meaning': outlook.meaning,
        'next': outlook.next,
        'advice': outlook.advice,
        'lease': _show_lease(actor, sees_internals=sees_internals),
    }
    return shown | ({'owner_name': actor.name} if sees_internals else {})


def _show_lease(actor: NextActor, *, sees_internals: bool) -> dict[str, Any] | None:
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


def _show_step(step: TimelineEntry) -> dict[str, Any]:
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


def _show_entry(entry: Entry) -> dict[str, Any]:
    until = None if entry.until is None else format_time(entry.until)
    return {'instance': entry.address, 'until': until, 'state': entry.state, 'needed': entry.is_needed}


def _show_attachment(found: ExplainedAttachment, *, sees_internals: bool) -> dict[str, Any]:
    return {
        **_show_place(found),
        **_show_outlook(found.actor, found.outlook, sees_internals=sees_internals),
        **(_show_on_host(found) if sees_internals else {}),
        'timeline': [_show_step(step) for step in found.steps],
        **({'blocklist': [_show_entry(one) for one in found.entries]} if found.entries else {}),
        **({} if found.truth is None else {'live': _show_live(found.truth)}),
    }


def _show_volume(found: ExplainedVolume, *, sees_internals: bool) -> dict[str, Any]:
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
        **_show_outlook(found.actor, found.outlook, sees_internals=sees_internals),
        'warning': found.warning,
        **({'backend': row.host} if sees_internals else {}),
        **({'gateways': [_show_gateway(one) for one in found.gateways]} if sees_internals and found.gateways else {}),
        'attachments': [
            {
                **_show_place(each),
                'owner': str(each.outlook.owner),
                'owner_is_up': each.actor.is_up,
                'meaning': each.outlook.meaning,
                **(_show_on_host(each) if sees_internals else {}),
            }
            for each in found.attachments
        ],
        **({} if found.truth is None else {'live': _show_live(found.truth)}),
    }


def _show_gateway(found: VolumeExport) -> dict[str, Any]:
    return {**found._asdict(), 'since': format_time(found.since)}


def _show_host(found: ExplainedHost) -> dict[str, Any]:
    shown, outlook = hosts.detail(found.host), found.outlook
    names = ('host', 'driven_by', 'state', 'status', 'heartbeat_at', 'cannot_share', 'fenced', 'initiators')
    return {
        **{name: shown[name] for name in names},
        'owner': str(outlook.owner),
        'meaning': outlook.meaning,
        'next': outlook.next,
        'advice': outlook.advice,
        'attachments': [
            {**_show_place(each), **_show_on_host(each), **_show_outlook(each.actor, each.outlook, sees_internals=True)}
            for each in found.attachments
        ],
        'live': None if found.truth is None else _show_live(found.truth),
    }


def _show_live(truth: Truth) -> dict[str, Any]:
    return {
        'target': None if truth.target is None else targets.detail(truth.target),
        'hosts': [{'host': one.name, 'servers': one.servers, 'sessions': one.sessions} for one in truth.hosts],
        'findings': [doctor.finding(one) for one in truth.findings],
        'unanswered': [doctor.unanswered(one) for one in truth.unanswered],
    }


class ExplanationsController(Controller):
    """``/multiattach/attachments/{id}/explain`` and ``/multiattach/volumes/{id}/explain``."""

    @route(
        'GET',
        '/multiattach/attachments/{attachment_id}/explain',
        query=_QUERY,
        reply=_ATTACHMENT,
        rules=('multiattach:attachment_explain', _INTERNALS),
    )
    def explain_attachment(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Explain an attachment, one that is gone too: its timeline, and what comes next."""
        found = self.engine.explanations.explain_attachment(req.ctx, attachment_id, live=flag(req.query, 'live'))
        return {'explanation': _show_attachment(found, sees_internals=self.engine.explanations.sees_internals(req.ctx))}

    @route(
        'GET',
        '/multiattach/volumes/{volume_id}/explain',
        query=_QUERY,
        reply=_VOLUME,
        rules=('multiattach:volume_explain', _INTERNALS),
    )
    def explain_volume(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Explain a volume: why it has its status, and what comes next."""
        found = self.engine.explanations.explain_volume(req.ctx, volume_id, live=flag(req.query, 'live'))
        return {'explanation': _show_volume(found, sees_internals=self.engine.explanations.sees_internals(req.ctx))}

    @route('GET', '/multiattach/hosts/{host}/explain', reply=_EXPLAINED_HOST, rules=('multiattach:host_explain',))
    def explain_host(self, req: Request, host: str) -> dict[str, Any]:
        """Explain a compute host: what is recorded, what is true on it, what differs, and what comes next."""
        return {'explanation': _show_host(self.engine.explanations.explain_host(req.ctx, host))}
