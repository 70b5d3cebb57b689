# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach target list`` and ``… target show``."""

import argparse
from typing import Any

from multiattach.osc import columns, command


class ListTarget(command.Lister):
    """List the actual state of targets, compared with the records (admin only).

    Targets are read from their daemon; "Differences" lists where the records differ.
    """

    examples = """
        openstack multiattach target list
        openstack multiattach target list --differences
        openstack multiattach target list --host storage-1@lvm -f json
        """

    arguments = (
        command.argument('--host', metavar='<host>', help='Only targets of this backend (host@backend)'),
        command.argument('--differences', action='store_true', help='Only targets that differ from the records'),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        rows: list[tuple[Any, ...]] = []
        silent: dict[str, str] = {}
        for page in self.service.target_pages(parsed_args.host):
            silent |= {one['host']: one['reason'] for one in page.unanswered}
            rows += [_row(one) for one in page.targets if one['differences'] or not parsed_args.differences]
        for host, reason in sorted(silent.items()):
            self.terminal.warn(f'Targets of {host} are not shown: {reason}')
        return ('Volume ID', 'Host', 'Exists', 'LUNs', 'Initiators', 'Sessions', 'Differences'), rows


def _row(target: dict[str, Any]) -> tuple[Any, ...]:
    kinds = sorted({one['kind'] for one in target['differences']})
    return (
        target['volume_id'],
        target['host'],
        target['exists'],
        len(target['luns']),
        len(target['initiators']),
        len(target['sessions']),
        columns.Lines(kinds),
    )


class ShowTarget(command.ShowOne):
    """Show the actual state of the target of a volume, compared with the records (admin only).

    Shows the names of CHAP accounts, but no secrets.
    """

    examples = """
        openstack multiattach target show data
        openstack multiattach target show data -f json -c sessions
        """

    arguments = (command.VOLUME,)

    def take_action(self, parsed_args: argparse.Namespace) -> command.Fields:
        found = self.service.get_target(self.find_volume(parsed_args.volume).id)
        shown = {
            'volume_id': found.volume_id,
            'host': found.host,
            'exists': found.is_there,
            'iqn': found.iqn,
            'luns': columns.Luns(found.luns),
            'initiators': columns.Lines(found.initiators),
            'accounts': columns.Lines(found.accounts),
            'sessions': columns.Sessions(found.sessions),
            'recorded': columns.Recorded(found.recorded),
            'differences': columns.Differences(found.differences),
        }
        return tuple(shown), tuple(shown.values())
