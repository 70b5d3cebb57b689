# SPDX-License-Identifier: Apache-2.0
"""Servers that share a disk: their operating systems are whole, and ``web`` and ``db`` have a network.

They are on two compute hosts, or all on this machine.
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from tests.deployments import storage_machines
from tests.deployments.standalone import Standalone
from tests.testbed.guest import Guest, System
from tests.testbed.layer import ensure_layer
from tests.testbed.libvirtd import Libvirtd
from tests.testbed.vm import ComputeHost

ADDRESSES = {'web': '192.0.2.11', 'db': '192.0.2.12'}


def start_server(host: ComputeHost, other: ComputeHost, name: str, **more: Any) -> Guest:
    """Start a server on a compute host; it boots when this has returned.

    :param other: the host of the server at the other end of the network.
    :param more: of its system.
    """
    connection = host.connect_libvirt()
    guest = host.define_guest(connection, name, system=_make_system(name, host.address, other.address, **more))
    guest.start()
    return guest


def _make_system(name: str, here: str, there: str, **more: Any) -> System:
    return System(f'{ADDRESSES[name]}/24', here, there, **more) if name in ADDRESSES else System()


class Deployment(storage_machines.Deployment):
    """The service with a kernel's target; ``web`` and ``db``, which have Pacemaker's agents, are on two hosts."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, memory=1792)
        self._layer = ensure_layer('fence-agents', ['fence-agents'])

    @property
    def servers(self) -> dict[str, Guest]:
        return {'web': self.one, 'lab': self.two, 'db': self.far}

    def _start_guest(self, host: ComputeHost, name: str) -> Guest:
        (other,) = [one for one in self.hosts if one is not host]
        name = {'one': 'web', 'two': 'lab', 'far': 'db'}[name]
        return start_server(host, other, name, layer=self._layer, memory=384)


@contextlib.contextmanager
def run_alone(folder: pathlib.Path) -> Iterator[tuple[Standalone, dict[str, Guest]]]:
    """Have the service and the servers on this machine; QEMU logs in by itself, so that each is an initiator."""
    # Not pytest's folder: the path of a Unix socket has a limit.
    with tempfile.TemporaryDirectory(prefix='ma-fs-') as name, Libvirtd(pathlib.Path(name) / 'lv') as daemon:
        connection, servers = daemon.connect(), {}
        ends = {'web': ('127.0.0.1', '127.0.0.2'), 'db': ('127.0.0.2', '127.0.0.1'), 'lab': ('', '')}
        for one, (here, there) in ends.items():
            system = _make_system(one, here, there)
            servers[one] = Guest.define(connection, one, pathlib.Path(name) / one, memory=256, system=system)
            servers[one].start()
        service = Standalone(folder)
        with (folder / 'multiattach.conf').open('a') as conf:
            conf.write(f'[host_agent]\nenabled = yes\nconnector = qemu\nlibvirt_uri = {daemon.uri}\n')
        service.start()
        try:
            for guest in servers.values():
                guest.wait_ready()
            yield service, servers
        finally:
            code = service.stop()
            for guest in servers.values():
                guest.destroy()
            connection.close()
        assert code == 0
