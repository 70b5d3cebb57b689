# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach volume reservations``."""

import argparse
from typing import Any

from osc_lib import exceptions

from multiattach.osc import columns, command

_NAMES = ('Server', 'Server ID', 'Attachment ID', 'Attach Status', 'Holds', 'Key', 'Initiator')
# No text that a user can give: an empty one is a variable of a script that was not set.
_ALL = object()


class ShowReservations(command.Lister):
    """List who is registered at a volume with SCSI-3 persistent reservations, and who holds it.

    The target of the volume is asked; the backend must keep reservations (extra spec multiattach:reservations).
    "--clear" ends what a dead server left and lists what the target shows afterwards (admin only). A server that is
    alive is told by its next command that it is not registered any more, and may register again.
    """

    examples = """
        openstack multiattach volume reservations data
        openstack multiattach volume reservations data -f json
        openstack multiattach volume reservations data --clear web-2
        openstack multiattach volume reservations data --clear
        """

    arguments = (
        command.VOLUME,
        command.argument(
            '--clear',
            metavar='<server-or-attachment>',
            nargs='?',
            const=_ALL,
            help='End the registration of a server (name or UUID), of an attachment (UUID) or of an initiator; all '
            'registrations without a value',
        ),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        volume_id = self.find_volume(parsed_args.volume).id
        if parsed_args.clear is None:
            found = self.service.get_reservations(volume_id)
        else:
            whose = {} if parsed_args.clear is _ALL else self._find(volume_id, parsed_args.clear)
            found = self.service.clear_reservations(volume_id, **whose)
        return _NAMES, [_row(found.kind, one) for one in found.registrations]

    def _find(self, volume_id: str, name: str) -> dict[str, str]:
        """Find whose registration is meant, as :meth:`multiattach.client.proxy.Proxy.clear_reservations` takes it.

        :raises CommandError: nobody of that name is registered, or several are.
        """
        if not name:
            raise exceptions.CommandError(
                'An empty text is no server. "--clear" without a value ends all registrations.'
            )
        rows = self.service.get_reservations(volume_id).registrations
        for key, its in (('attachment_id', 'attachment_id'), ('initiator', 'initiator'), ('server_id', 'server_id')):
            if any(one.get(its) == name for one in rows):
                return {key: name}
        servers = {one['server_id'] for one in rows if one['server_id'] and one['server_name'] == name}
        if not servers:  # Nova knows the names of its own
            servers = {self.find_server(name).id} & {one['server_id'] for one in rows}
        if len(servers) != 1:
            raise exceptions.CommandError(
                f'{len(servers) or "No"} registered servers are called {name}. See "openstack multiattach volume '
                f'reservations {volume_id}", and give a UUID.'
            )
        return {'server_id': servers.pop()}


def _row(kind: int | None, found: dict[str, Any]) -> tuple[Any, ...]:
    return (
        found['server_name'],
        found['server_id'],
        found['attachment_id'],
        found['attach_status'],
        columns.Holding(kind if found['holder'] else None),
        found['key'],
        found.get('initiator'),
    )
