# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach doctor``."""

import argparse

from osc_lib import exceptions

from multiattach.osc import command


class Doctor(command.Lister):
    """Detect drift between database, targets, hosts and Nova; repair it with --fix (admin only).

    All volume workers and host agents check at once. Without --fix, nothing is changed. Repairs that would remove many
    things at once wait for an operator even with --fix: their error names the seal that releases them, and only
    them. Exits with status 1 if drift remains, or if a worker or agent did not respond.
    """

    examples = """
        openstack multiattach doctor
        openstack multiattach doctor --fix
        openstack multiattach doctor --fix --release 0a1b2c3d4e5f
        openstack multiattach doctor -f json | jq '.[] | select(.Outcome == "reported")'
        """

    arguments = (
        command.argument('--fix', action='store_true', help='Repair what can be repaired'),
        command.argument(
            '--release',
            action='append',
            default=[],
            metavar='SEAL',
            help='With --fix: also make the repairs that wait for an operator under this seal; repeatable',
        ),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        if parsed_args.release and not parsed_args.fix:
            raise exceptions.CommandError('--release goes with --fix.')
        found = self.service.diagnose(is_fixed=parsed_args.fix, release=parsed_args.release)
        for one in found.unanswered:
            self.terminal.warn(f'No answer from {one["binary"]} on {one["host"]}: {one["reason"]}')
        if not found.answered and not found.unanswered:
            self.terminal.warn('Nobody was there to ask: no volume worker and no host agent is registered.')
        self._is_well = bool(found.answered) and not found.left and not found.unanswered
        if self._is_well and not found.findings:
            self.terminal.note('Nothing differs: database, targets, hosts and servers tell the same.')
        return ('Kind', 'Host', 'Volume ID', 'Attachment ID', 'About', 'Outcome', 'Since', 'Text', 'Step', 'Error'), [
            (
                one['kind'],
                one['host'],
                one['volume_id'],
                one['attachment_id'],
                one['about'],
                one['outcome'],
                one['since'],
                one['text'],
                one['step'],
                one['error'],
            )
            for one in found.findings
        ]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return 0 if nothing is left and everybody answered, and there was somebody; else 1."""
        self._is_well = False
        return super().run(parsed_args) or int(not self._is_well)
