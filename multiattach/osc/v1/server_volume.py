# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach server volume attach``, ``… detach`` and ``… list``.

They speak the compute API, so that they work on this service's own endpoint and on Nova's.
"""

import argparse
from typing import Any

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from multiattach.client import waiting
from multiattach.client.resources import AttachmentExplanation
from multiattach.domain.explanations import SHARED_WARNING, must_warn
from multiattach.osc import command
from multiattach.osc.terminal import Terminal

_TIMEOUT = 180.0
_NAMES = ('attachment_id', 'volume_id', 'server_id', 'device', 'mode', 'status')


def _wait_until(what: str) -> tuple[command.Argument, ...]:
    return (
        command.argument('--wait', action='store_true', help=f'Wait until {what}'),
        command.argument(
            '--timeout',
            metavar='<seconds>',
            type=float,
            default=_TIMEOUT,
            help=f'How long to wait (default: {_TIMEOUT:g})',
        ),
    )


def _make_report(terminal: Terminal) -> waiting.Report:
    def report(found: AttachmentExplanation) -> None:
        owner = '' if found.owner == 'nobody' else f', waiting for {found.owner}'
        terminal.tell(f'{found.state}{owner}')

    return report


class AttachVolume(command.ShowOne):
    """Attach a volume to a server, with or without Nova.

    Returns when the volume is reserved; the attach continues in the background unless --wait is given.
    """

    examples = """
        openstack multiattach server volume attach web-1 data --wait
        openstack multiattach server volume attach web-2 data --mode ro --device /dev/vdc
        openstack multiattach attachment explain ATTACHMENT    # what happened to it
        """

    arguments = (
        command.SERVER,
        command.VOLUME,
        command.argument('--device', metavar='<device>', help='Device name in the server, for example /dev/vdb'),
        command.argument(
            '--mode',
            choices=('rw', 'ro'),
            default='rw',
            help='Access mode (default: rw); ro requires a server that a host agent of this service manages',
        ),
        *_wait_until('the server has the volume'),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Fields:
        server, volume = self.find_server(parsed_args.server), self.find_volume(parsed_args.volume)
        others = {row.get('server_id') or row.get('attachment_id') for row in volume.attachments or []}
        ident = self._attach(server, volume, parsed_args)
        if must_warn(bool(volume.is_multiattach), len(others - {server.id}) + 1):
            self.terminal.warn(SHARED_WARNING)
        if ident is None:
            raise exceptions.CommandError(
                f'The attach was asked for, and its attachment is gone already: openstack server event list {server.id}'
            )
        if parsed_args.wait:
            terminal = self.terminal
            try:
                waiting.wait_attached(self.service, ident, parsed_args.timeout, _make_report(terminal))
            finally:
                terminal.end()
        found = self.service.explain_attachment(ident)
        return _NAMES, (ident, volume.id, server.id, found.device, found.mode or parsed_args.mode, found.status)

    def _attach(self, server: Any, volume: Any, parsed_args: argparse.Namespace) -> str | None:
        if parsed_args.mode == 'ro':
            return self._attach_read_only(server, volume, parsed_args.device)
        more = {'device': parsed_args.device} if parsed_args.device else {}
        made = self.compute.create_volume_attachment(server, volume=volume.id, **more)
        # The reply names the attachment only on newer microversions of another call.
        return made.attachment_id or waiting.find_attachment(self.storage, server.id, volume.id)

    def _attach_read_only(self, server: Any, volume: Any, device: str | None) -> str:
        try:
            return str(self.service.attach_server_volume(server.id, volume.id, 'ro', device).id)
        except sdk_exceptions.NotFoundException as exc:
            if 'Instance' not in str(exc.details or exc):
                raise
            raise exceptions.CommandError(
                f'Server {server.id} is not one of a multiattach host agent, and Nova has no read-only '
                'attach. To let nobody write to the volume: openstack volume set --read-only '
                f'{volume.id}'
            ) from exc


class DetachVolume(command.Command):
    """Detach a volume from a server, with or without Nova."""

    examples = 'openstack multiattach server volume detach web-1 data --wait'

    arguments = (command.SERVER, command.VOLUME, *_wait_until('nothing of the attachment is left'))

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        server, volume = self.find_server(parsed_args.server), self.find_volume(parsed_args.volume)
        ident = waiting.find_attachment(self.storage, server.id, volume.id)
        self.compute.delete_volume_attachment(server, volume.id, ignore_missing=False)
        if parsed_args.wait and ident is not None:
            terminal = self.terminal
            try:
                waiting.wait_detached(self.service, ident, parsed_args.timeout, _make_report(terminal))
            finally:
                terminal.end()


class ListServerVolume(command.Lister):
    """List the volumes of a server with mode and status, including failed attaches."""

    examples = 'openstack multiattach server volume list web-1'

    arguments = (command.SERVER,)

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        server = self.find_server(parsed_args.server)
        devices = {row.volume_id: row.device for row in self.compute.volume_attachments(server)}
        names = ('Attachment ID', 'Volume ID', 'Device', 'Mode', 'Status')
        rows = []
        for row in self.storage.attachments(instance_id=server.id):
            shown = self.service.explain_attachment(row.id)
            rows.append((row.id, row.volume_id, devices.get(row.volume_id) or shown.device, shown.mode, row.status))
        return names, rows
