# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach attachment fence``, ``… host fence`` and ``… host unfence``."""

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from osc_lib import exceptions

from multiattach.osc import columns, command

_NAMES = (
    'Attachment ID',
    'Volume ID',
    'Server ID',
    'Host',
    'Fenced',
    'Cut',
    'Left',
    'Verified At',
    'Worker',
    'Initiator',
    'Error',
)


def _row(found: dict[str, Any]) -> tuple[Any, ...]:
    proof = found['proof'] or {}
    return (
        found['id'],
        found['volume_id'],
        found['server_id'],
        found['host'],
        found['fenced'],
        columns.Cut(proof.get('cut')),
        columns.Cut(proof.get('left')),
        proof.get('verified_at'),
        proof.get('worker'),
        proof.get('initiator'),
        found['error'],
    )


class _Fence(command.Lister):
    """Lists what was cut off; without proof of all of it, the command fails."""

    def show(self, found: Sequence[dict[str, Any]]) -> command.Rows:
        """Make the list, and remember what there is no proof of."""
        self._unproven = sum(not one['fenced'] for one in found)
        at = [(one['proof'] or {}).get('gateways') or {} for one in found]
        if not any(at):
            return _NAMES, [_row(one) for one in found]
        rows = [(*_row(one), columns.GatewayCuts(its or {})) for one, its in zip(found, at, strict=True)]
        return (*_NAMES, 'Gateways'), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return 0 only if there is a proof of everything.

        :raises CommandError: something may still write, or nobody knows the host.
        """
        self._unproven = 0
        self._stranger = ''
        status = super().run(parsed_args)
        if self._stranger:
            raise exceptions.CommandError(self._stranger)
        if self._unproven:
            raise exceptions.CommandError(
                f'{self._unproven} attachments may still write, see "Error". The service retries '
                'automatically; run the command again for a proof.'
            )
        return status


class FenceAttachment(_Fence):
    """Fence an attachment: its host can no longer read or write the volume (admin only).

    The host is not contacted. "Left" is what the target itself still showed afterwards: nothing. I/O of other servers
    to the volume pauses for a moment, until their hosts have logged in again. To use the volume again, attach it
    again.
    """

    examples = """
        openstack multiattach attachment fence 3f1c…
        openstack multiattach attachment fence 3f1c… --force -f json
        """

    arguments = (
        command.ATTACHMENT,
        command.argument(
            '--force',
            action='store_true',
            help='Fence even if other servers of the host share the session; they are fenced as well',
        ),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        found = self.service.fence_attachment(parsed_args.attachment, is_forced=parsed_args.force)
        return self.show(found.attachments)


class FenceHost(_Fence):
    """Fence a host: revoke its access to all volumes, and refuse new attachments (admin only).

    Works even if the host, its agent or libvirt is dead. An agent that returns releases the devices it had, and gets no
    new ones until "openstack multiattach host unfence". Fails for an unknown name, which may be misspelt.
    """

    examples = """
        openstack multiattach host fence compute-1 --reason 'no heartbeat'
        openstack multiattach host fence compute-1 --out-of-service
        openstack multiattach host fence compute-9 --expected
        """

    arguments = (
        command.HOST,
        command.argument(
            '--out-of-service',
            action='store_true',
            help='Also delete its attachments, because the host will not return soon',
        ),
        command.argument('--reason', metavar='<reason>', help='Reason, as shown with the host'),
        command.argument(
            '--expected',
            action='store_true',
            help='The host is not known yet and will appear later: refuse it all volumes',
        ),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        found = self.service.fence_host(
            parsed_args.host,
            is_out_of_service=parsed_args.out_of_service,
            reason=parsed_args.reason,
            is_expected=parsed_args.expected,
        )
        if found.is_known is False and not parsed_args.expected:
            self._stranger = (
                f'Nobody knows a host "{parsed_args.host}": nothing was cut off.{_suggest(found.near)} It is '
                'marked as fenced, in case it is about to appear. If it is misspelt: openstack multiattach '
                f'host unfence {shlex.quote(parsed_args.host)}. If you mean it, say --expected.'
            )
        return self.show(found.attachments)


class UnfenceHost(command.Command):
    """Unfence a host, so that it can have new attachments; fenced attachments stay fenced (admin only).

    Fails for an unknown name, which may be misspelt: the intended host would still be fenced.
    """

    examples = 'openstack multiattach host unfence compute-1'

    arguments = (command.HOST,)

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        found = self.service.unfence_host(parsed_args.host)
        if found.was_fenced:
            return
        if found.is_known is False:
            raise exceptions.CommandError(
                f'Nobody knows a host "{parsed_args.host}", and it was not fenced.{_suggest(found.near)}'
            )
        self.terminal.warn(f'Host {parsed_args.host} was not fenced.')


def _suggest(near: Sequence[str] | None) -> str:
    return f' Did you mean {", ".join(near)}?' if near else ''
