# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach host list`` and ``… host show``."""

import argparse

from multiattach.osc import columns, command


class ListHost(command.Lister):
    """List compute hosts: those with a host agent, and those that appear in Nova's connectors (admin only)."""

    examples = """
        openstack multiattach host list
        openstack multiattach host list -f json
        """

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        names = (
            'Host',
            'Driven By',
            'State',
            'Status',
            'Zone',
            'Heartbeat At',
            'Attachments',
            'Servers',
            'Initiators',
            'Fenced At',
        )
        return names, [
            (
                host.name,
                host.driven_by,
                host.state,
                host.status,
                host.zone,
                host.heartbeat_at,
                columns.Counts(host.attachments),
                host.server_count,
                host.initiator_count,
                (host.fenced or {}).get('fenced_at'),
            )
            for host in self.service.hosts()
        ]


class ShowHost(command.ShowOne):
    """Show a compute host with its servers and initiators (admin only)."""

    examples = 'openstack multiattach host show compute-1'

    arguments = (command.HOST,)

    def take_action(self, parsed_args: argparse.Namespace) -> command.Fields:
        host = self.service.get_host(parsed_args.host)
        fenced = host.fenced or {}
        shown = {
            'host': host.name,
            'driven_by': host.driven_by,
            'state': host.state,
            'status': host.status,
            'disabled_reason': host.disabled_reason,
            'cannot_share': host.cannot_share,
            'zone': host.zone,
            'fenced_at': fenced.get('fenced_at'),
            'fence_reason': fenced.get('reason'),
            'out_of_service': bool(fenced.get('out_of_service')),
            'heartbeat_at': host.heartbeat_at,
            'attachments': columns.Counts(host.attachments),
            'initiators': columns.Lines(host.initiators),
            'servers': columns.Servers(host.servers),
        }
        return tuple(shown), tuple(shown.values())
