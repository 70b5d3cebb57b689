# SPDX-License-Identifier: Apache-2.0
"""Command line of the test bed: python3 -m tests.testbed COMMAND."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.testbed import network, packages
from tests.testbed.progress import report


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    :param argv: arguments; those of the process when None
    :returns: exit code
    """
    parser = argparse.ArgumentParser(prog='testbed', description=__doc__)
    parser.add_argument('--cache', type=Path, help='folder for kernels and images')
    commands = parser.add_subparsers(dest='command', required=True)
    install = commands.add_parser('install', help='install the Debian packages')
    install.add_argument('purpose', choices=sorted(packages.PACKAGES))
    guests = commands.add_parser('guest-demo', help='two guests share a disk')
    guests.add_argument('--kind', choices=('qemu', 'kvm'), default='qemu')
    guests.add_argument('--memory', type=int, default=128, help='MiB per guest')
    cluster = commands.add_parser('cluster-demo', help='compute hosts, servers, iSCSI')
    cluster.add_argument('--hosts', type=int, default=2)
    commands.add_parser('sweep', help='end what killed clusters have left behind')
    args = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)  # so that a run cut short cleans up, too
    if args.command == 'install':
        packages.install(args.purpose)
        return 0
    if args.command == 'sweep':
        for name in network.sweep_networks():
            report(f'removed {name}')
        return 0

    from tests.testbed import demo  # needs libvirt-python, which install prepares

    if args.command == 'guest-demo':
        demo.demonstrate_guests(args.cache, args.kind, args.memory)
    elif args.command == 'cluster-demo':
        demo.demonstrate_cluster(args.cache, args.hosts)
    return 0


if __name__ == '__main__':
    sys.exit(main())
