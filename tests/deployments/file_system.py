# SPDX-License-Identifier: Apache-2.0
"""Servers that share a file system: their operating systems are whole, and two of them have a network of their own.

``web`` is on the first compute host, ``db`` on the other one; ``lab``, beside ``web``, has no network.
"""

import pathlib

from tests.deployments import two_hosts
from tests.deployments.programs import HostProgram
from tests.testbed.guest import Guest, System
from tests.testbed.remote import SHARE
from tests.testbed.vm import ComputeHost

_PREPARE_STORAGE = f"""\
set -e
modprobe target_core_mod
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir -p /var/target
vgcreate --yes {two_hosts.VOLUME_GROUP} /dev/vda
"""
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
    """The service with such servers.

    :param keeps_reservations: the host of ``db`` is the storage host, too: its kernel's target exports logical volumes.
    """

    def __init__(self, folder: pathlib.Path, *, keeps_reservations: bool = False) -> None:
        super().__init__(folder)
        self._keeps_reservations = keeps_reservations

    @property
    def servers(self) -> dict[str, Guest]:
        return {'web': self.one, 'lab': self.two, 'db': self.far}

    def _configure(self) -> None:
        super()._configure()
        if self._keeps_reservations:
            config = SHARE / 'lvm.conf'
            text = self.lvm_host.get_file(config).partition('[tgt]')[0]
            text += f'target_driver = lio\n[lio]\nportal = {self.lvm_host.address}:3260\n'
            self.lvm_host.put_file(config, text.encode(), 0o600)

    def _start_host(self, agent: HostProgram) -> list[Guest]:
        agent.start()
        first, second = self.hosts
        if agent.host is first:
            guests = start_servers(first, second, ('web', 'lab'))
        else:
            guests = start_servers(second, first, ('db',))
            if self._keeps_reservations:
                second.check(_PREPARE_STORAGE)
                self.lvm_worker.start()
                self.lvm_worker.wait_ready()
        for guest in guests:
            guest.wait_ready()
        agent.wait_ready()
        return guests
