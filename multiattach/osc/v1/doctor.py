# SPDX-License-Identifier: Apache-2.0
"""``openstack multiattach doctor``."""

import argparse

from osc_lib import exceptions

from multiattach.osc import command


class Doctor(command.Lister):
    """Look for drift between database, targets, hosts and Nova; put it right with --fix (admin).

    Every volume worker and host agent looks at once. Without --fix nothing is changed. Repairs that would
    take away much at once wait for a person even then: their error names the seal with which they are
    released, and nothing else with them. Ends with status 1 if something is left, or if somebody did not
    answer.
    """

    examples = """
        openstack multiattach doctor
        openstack multiattach doctor --fix
        openstack multiattach doctor --fix --release 0a1b2c3d4e5f
        openstack multiattach doctor -f json | jq '.[] | select(.Outcome == "reported")'
        """

    arguments = (
        command.argument('--fix', action='store_true', help='Put right what can be'),
        command.argument(
            '--release',
            action='append',
            default=[],
            metavar='SEAL',
            help='With --fix: put right all that waits for a person under this seal, as it '
            'was shown; may be given again',
        ),
    )

    def take_action(self, parsed_args: argparse.Namespace) -> command.Rows:
        """Look, or put right."""
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
        """Run the command.

        :returns: 0 if nothing is left and everybody answered, and there was somebody; else 1.
        """
        self._is_well = False
        return super().run(parsed_args) or int(not self._is_well)
