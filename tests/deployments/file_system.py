# SPDX-License-Identifier: Apache-2.0
"""Servers that share a file system: their operating systems are whole, and two of them have a network of their own.

``web`` is on the first compute host, ``db`` on the other one; ``lab``, beside ``web``, has no network.
"""

import pathlib
from collections.abc import Mapping

from tests.deployments import two_hosts
from tests.deployments.programs import HostProgram
from tests.testbed.guest import Guest, System
from tests.testbed.vm import ComputeHost

ADDRESSES = {'web': '192.0.2.11', 'db': '192.0.2.12'}


def start_servers(host: ComputeHost, other: ComputeHost, names: tuple[str, ...]) -> list[Guest]:
    """Start servers on a host; they boot when this has returned.

    :param other: the host of the server at the other end of the network.
    """
    connection, guests = host.connect_libvirt(), []
    for name in names:
        system = System(f'{ADDRESSES[name]}/24', host.address, other.address) if name in ADDRESSES else System()
        guests.append(host.define_guest(connection, name, system=system))
        guests[-1].start()
    return guests


class Deployment(two_hosts.Deployment):
    """The service with such servers."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self.servers: Mapping[str, Guest] = {}

    def _start_host(self, agent: HostProgram) -> list[Guest]:
        agent.start()
        first, second = self.hosts
        if agent.host is first:
            guests = start_servers(first, second, ('web', 'lab'))
        else:
            guests = start_servers(second, first, ('db',))
        for guest in guests:
            guest.wait_ready()
        agent.wait_ready()
        return guests
