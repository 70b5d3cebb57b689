# SPDX-License-Identifier: Apache-2.0
"""A private libvirtd with two real guests, and a private tgtd: real parts, made once."""

import contextlib
import os
import pathlib
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from multiattach.drivers.connectors.qemu import QemuConnector
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from multiattach.drivers.targets.base import Grant, account_name, generate_secret
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.targets.tgt.conftest import free_portal
from tests.testbed import Guest, Libvirtd
from tests.testbed.polling import wait_until

VOLUME_SIZE = 16 * 1024 * 1024


@dataclass
class Host:
    """The hypervisor under test, its servers, and the driver's own view kept apart."""

    daemon: Libvirtd
    hypervisor: LibvirtHypervisor
    guests: list[Guest]

    def server_id(self, number: int) -> str:
        return str(self.guests[number].domain.UUIDString())

    def power_off(self, number: int) -> None:
        self.guests[number].console.close()
        self.guests[number].domain.destroy()

    def reset(self, number: int) -> None:
        if self.guests[number].domain.isActive():
            self.power_off(number)
        domain = self.guests[number].domain
        for disk in ElementTree.fromstring(domain.XMLDesc()).findall('./devices/disk'):
            if disk.find("./target[@dev='vda']") is None:
                domain.detachDeviceFlags(
                    ElementTree.tostring(disk, encoding='unicode'), libvirt.VIR_DOMAIN_AFFECT_CONFIG
                )

    @contextlib.contextmanager
    def frozen(self, number: int) -> Iterator[None]:
        """Keep a server's QEMU from answering for the length of a block; libvirt then waits for ever."""
        pid = int((self.daemon.folder / f'run/qemu/{self.guests[number].name}.pid').read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def frozen_libvirtd(self) -> Iterator[None]:
        """Keep libvirtd from answering for the length of a block."""
        process = self.daemon._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def kill_libvirtd(self) -> None:
        """End libvirtd as a crash does; its guests run on."""
        process = self.daemon._process
        assert process is not None
        process.kill()
        process.wait()
        self.daemon.socket.unlink()

    def _connect(self) -> Any:
        try:
            return self.daemon.connect()
        except libvirt.libvirtError:  # its socket is there before anybody listens
            return None

    def start_libvirtd(self) -> None:
        self.daemon._process = None
        self.daemon.start()
        connection = wait_until(self._connect, 60, 'libvirtd')
        for guest in self.guests:
            guest.connection = connection


@dataclass
class Volume:
    """A file that tgtd exports, and what an attachment of it needs."""

    target: TgtTarget
    path: pathlib.Path
    connector: QemuConnector
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def make_attachment(self, **changes: Any) -> dict[str, Any]:
        """Admit an initiator; the answer is a connection_info."""
        ident = str(uuid.uuid4())
        initiator = self.connector.properties(ident, 'server')['initiator']
        grant = Grant(initiator, account_name(self.id, initiator), generate_secret())
        info = self.target.grant(self.id, str(self.path), grant)
        return {
            'driver_volume_type': 'iscsi',
            'attachment_id': ident,
            'volume_id': self.id,
            'target_iqn': info.iqn,
            'target_portal': info.portal,
            'target_lun': info.lun,
            'auth_method': 'CHAP',
            'auth_username': grant.username,
            'auth_password': grant.secret,
            'access_mode': 'rw',
            **changes,
        }

    def make_disk(self, info: dict[str, Any], **changes: Any) -> Disk:
        wanted: dict[str, Any] = {'device': '/dev/vdb', 'multiattach': True} | changes
        return Disk(info['attachment_id'], self.id, self.connector.connect(info), **wanted)


@pytest.fixture(scope='session')
def host() -> Iterator[Host]:
    # Not pytest's folder: the path of a Unix socket has a limit.
    with tempfile.TemporaryDirectory(prefix='ma-lv-') as name, ThreadPoolExecutor(2) as pool:
        folder = pathlib.Path(name)
        with Libvirtd(folder / 'lv') as daemon:
            connection = daemon.connect()
            guests = [Guest.define(connection, one, folder / one) for one in ('guest1', 'guest2')]
            list(pool.map(Guest.start, guests))
            list(pool.map(Guest.wait_ready, guests))
            hypervisor = LibvirtHypervisor(daemon.uri, detach_timeout=20, detach_attempts=3)
            yield Host(daemon, hypervisor, guests)
            hypervisor.close()
            for guest in guests:
                guest.destroy()
            guests[0].connection.close()


@pytest.fixture(scope='session')
def tgtd() -> Iterator[PrivateTgtd]:
    daemon = PrivateTgtd(portal=free_portal(), threads=1)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def make_volume(tgtd: PrivateTgtd, tmp_path: pathlib.Path) -> Iterator[Callable[[], Volume]]:
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=tmp_path / 'targets')
    made = []

    def make() -> Volume:
        volume = Volume(target, tmp_path, QemuConnector('host', '127.0.0.1', portal_timeout=2))
        volume.path = tmp_path / f'volume-{volume.id}'
        with volume.path.open('wb') as file:
            file.truncate(VOLUME_SIZE)
        made.append(volume)
        return volume

    yield make
    for volume in made:
        target.remove_export(volume.id)


@pytest.fixture
def volume(make_volume: Callable[[], Volume]) -> Volume:
    return make_volume()


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """Every test leaves its guests with vda only, and libvirt without secrets."""
    yield
    left = {domain.name: domain.devices for domain in host.hypervisor.domains()}
    secrets = host.guests[0].connection.listAllSecrets()
    for number, guest in enumerate(host.guests):
        if left[guest.name] != ('vda',):  # so that the next test is not in trouble too
            host.reset(number)
        if not guest.domain.isActive():
            guest.start()
            guest.wait_ready()
    for secret in secrets:
        secret.undefine()
    assert left == {'guest1': ('vda',), 'guest2': ('vda',)}
    assert secrets == []
