# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach attachment explain``, ``… volume explain`` and ``… host explain``."""

import argparse
from typing import Any

from multiattach.osc import columns, command


def _describe_owner(found: Any) -> str:
    if found.owner == 'nobody':
        return 'nobody'
    name = f' {found.owner_name}' if found.owner_name else ''
    up = {True: ' (up)', False: ' (down)'}.get(found.owner_is_up, '')
    return f'{found.owner}{name}{up}'


def _split(pairs: dict[str, Any]) -> command.Fields:
    return tuple(pairs), tuple(pairs.values())


_LIVE = command.argument(
    '--no-live',
    action='store_true',
    help='Show the records only; do not query the target and hosts for the actual state (admin only)',
)


def _show_live(service: command.Service, live: dict[str, Any] | None) -> dict[str, Any]:
    """Show what is true now, if the caller may see it."""
    if not live:
        return {}
    for one in live['unanswered']:
        service.terminal.warn(f'No answer from {one["binary"]} on {one["host"]}: {one["reason"]}')
    target = {} if live['target'] is None else {'on_target': columns.TargetLines(live['target'])}
    return {**target, 'on_hosts': columns.HostLines(live['hosts']), 'findings': columns.Findings(live['findings'])}


class ExplainAttachment(command.ShowOne):
    """Explain an attachment: its timeline, what it is waiting for, and what you can do.

    Also works for deleted attachments until they are purged.
    """

    examples = """
        openstack multiattach attachment explain 3f1c…
        openstack multiattach attachment explain 3f1c… -f json | jq '.timeline[] | select(.error)'
        """

    arguments = (command.ATTACHMENT, _LIVE)

    def take_action(self, parsed_args: argparse.Namespace) -> command.Fields:
        found = self.service.explain_attachment(parsed_args.attachment, is_live=not parsed_args.no_live)
        return _split(
            {
                'id': found.id,
                'volume_id': found.volume_id,
                'server_id': found.server_id,
                'status': found.status,
                'state': found.state,
                'since': found.since,
                'meaning': found.meaning,
                'error': found.error,
                'next_step_of': _describe_owner(found),
                'next': found.next,
                'advice': found.advice,
                'mode': found.mode,
                **({'read_only_at': found.read_only_at} if found.read_only_at else {}),
                'device': found.device,
                'driven_by': found.driven_by,
                'host': found.host,
                'initiator': found.initiator,
                **({'blocklist': columns.BlocklistEntries(found.blocklist)} if found.blocklist else {}),
                'timeline': columns.Timeline(found.timeline),
                **_show_live(self, found.live),
            }
        )


class ExplainVolume(command.ShowOne):
    """Explain a volume: the reason for its status, its attachments, and its next step."""

    examples = """
        openstack multiattach volume explain data
        openstack multiattach volume explain data -f value -c next_step_of -c advice
        """

    arguments = (command.VOLUME, _LIVE)

    def take_action(self, parsed_args: argparse.Namespace) -> command.Fields:
        found = self.service.explain_volume(self.find_volume(parsed_args.volume).id, is_live=not parsed_args.no_live)
        if found.warning:
            self.terminal.warn(found.warning)
        return _split(
            {
                'id': found.id,
                'name': found.name,
                'size': found.size,
                'type': found.volume_type,
                'multiattach': found.is_multiattach,
                'status': found.status,
                'since': found.since,
                'meaning': found.meaning,
                'reason': found.reason,
                'next_step_of': _describe_owner(found),
                'next': found.next,
                'advice': found.advice,
                'backend': found.backend,
                **({'gateways': columns.Gateways(found.gateways)} if found.gateways else {}),
                'attachments': columns.Attachments(found.attachments),
                **_show_live(self, found.live),
            }
        )


class ExplainHost(command.ShowOne):
    """Explain a compute host: its records, its actual state, the differences, and its next step (admin only)."""

    examples = """
        openstack multiattach host explain compute-1
        openstack multiattach host explain compute-1 -f json -c findings
        """

    arguments = (command.HOST,)

    def take_action(self, parsed_args: argparse.Namespace) -> command.Fields:
        found = self.service.explain_host(parsed_args.host)
        fenced = found.fenced or {}
        return _split(
            {
                'host': found.host,
                'driven_by': found.driven_by,
                'state': found.state,
                'heartbeat_at': found.heartbeat_at,
                'cannot_share': found.cannot_share,
                'fenced_at': fenced.get('fenced_at'),
                'fence_reason': fenced.get('reason'),
                'meaning': found.meaning,
                'next_step_of': found.owner,
                'next': found.next,
                'advice': found.advice,
                'initiators': columns.Lines(found.initiators),
                'attachments': columns.HostAttachments(found.attachments),
                **_show_live(self, found.live),
            }
        )
