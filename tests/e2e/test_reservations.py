# SPDX-License-Identifier: Apache-2.0
"""SCSI-3 persistent reservations of real guests at the kernel's target, down from the API.

Two guests of one host by QEMU's own initiator, and one of another host by its kernel and os-brick; the target is in a
storage machine. The table is that of doc/source/reference/reservations.rst.
"""

import json
import shlex
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors.qemu import QemuConnector
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from tests.deployments.lio import Service
from tests.e2e.scsi_disk import SLOW, ScsiDisk
from tests.testbed import Guest, Libvirtd
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.storage import StorageHost
from tests.testbed.vm import ComputeHost

_TOP, STEPS = Path(__file__).parents[2], Path(__file__).with_name('reservation_steps.py')
pytestmark = pytest.mark.slow  # emulated machines

DISK, KEYS = '/dev/sda', ('0xa1', '0xb2')
# By type: what one who is registered and does not hold it may do, and one who is not registered.
RIGHTS = {1: ('r', 'r'), 3: ('', ''), 5: ('rw', 'r'), 6: ('rw', ''), 7: ('rw', 'r'), 8: ('rw', '')}
FOR_ALL = (7, 8)


class Server(ScsiDisk):
    """A guest that has a volume through the service."""

    def __init__(self, guest: Guest, hypervisor: LibvirtHypervisor, service: Service, connector: QemuConnector) -> None:
        super().__init__(guest, DISK)
        self.id = str(guest.domain.UUIDString())
        self._hypervisor, self._service, self._connector = hypervisor, service, connector
        self.attachment: dict[str, Any] = {}

    def describe(self, attachment_id: str) -> dict[str, Any]:
        return self._connector.properties(attachment_id, self.id)

    def connect(self, info: dict[str, Any]) -> DeviceInfo:
        with self._service.host.network.inside():
            return self._connector.connect(info)

    def attach(self, volume_id: str) -> None:
        body: dict[str, Any] = {'attachment': {'volume_uuid': volume_id, 'instance_uuid': self.id}}
        ident = self._service.ask('POST', '/v3/attachments', body)['attachment']['id']
        body = {'attachment': {'connector': self.describe(ident)}}
        self.attachment = self._service.ask('PUT', f'/v3/attachments/{ident}', body)['attachment']
        self._service.ask('POST', f'/v3/attachments/{ident}/action', {'os-complete': None})
        info = self.attachment['connection_info']
        assert info['reservations'] is True
        source = self.connect(info)
        disk = Disk(ident, volume_id, source, '', multiattach=True, reservations=info['reservations'])
        assert self._hypervisor.attach(self.id, disk) == DISK
        self.guest.wait_for_disk('sda', SLOW)


class KernelServer(Server):
    """One on a compute host, which logs in by its kernel."""

    def __init__(self, guest: Guest, hypervisor: LibvirtHypervisor, service: Service, host: ComputeHost) -> None:
        super().__init__(guest, hypervisor, service, QemuConnector(host.name, host.address))
        self._host = host

    def describe(self, attachment_id: str) -> dict[str, Any]:
        return {'host': self._host.name, 'ip': self._host.address, 'initiator': self._host.initiator}

    def connect(self, info: dict[str, Any]) -> DeviceInfo:
        words = shlex.join(['env', f'PYTHONPATH={_TOP}', sys.executable, str(STEPS)])
        told = self._host.check(f'cd {_TOP} && {words}', SLOW, json.dumps(info).encode())
        return DeviceInfo('block', told.splitlines()[-1])


@pytest.fixture(scope='module')
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Network() as network:
        host = StorageHost(network, tmp_path_factory.mktemp('storage'))
        host.boot()
        made = Service(host)
        made.start()
        yield made
        made.stop()
        host.stop()


@pytest.fixture(scope='module')
def servers(service: Service) -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory(prefix='ma-pr-') as name, ThreadPoolExecutor(2) as pool:
        folder = Path(name)
        with Libvirtd(folder / 'lv', netns=service.host.network.name) as daemon:
            connection = daemon.connect()
            guests = [Guest.define(connection, one, folder / one) for one in ('guest1', 'guest2')]
            list(pool.map(Guest.start, guests))
            list(pool.map(Guest.wait_ready, guests))
            hypervisor = LibvirtHypervisor(daemon.uri)
            connector = QemuConnector('here', '10.99.0.1', portal_timeout=SLOW)
            yield [Server(guest, hypervisor, service, connector) for guest in guests]
            hypervisor.close()
            for guest in guests:
                guest.destroy()
            connection.close()


@pytest.fixture(scope='module')
def volume_id(service: Service, servers: list[Server]) -> str:
    ident = service.make_volume()
    for server in servers:
        server.attach(ident)
    return ident


@pytest.fixture(scope='module')
def far(service: Service, volume_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of another host, by os-brick, with the volume."""
    host = ComputeHost(service.host.network, tmp_path_factory.mktemp('compute'), 2)
    host.start()
    host.wait_ready()
    host.start_libvirtd()
    connection = host.connect_libvirt()
    guest = host.define_guest(connection, 'guest3')
    guest.start()
    guest.wait_ready(SLOW)
    hypervisor = LibvirtHypervisor(host.libvirt_uri, timeout=SLOW)
    server = KernelServer(guest, hypervisor, service, host)
    server.attach(volume_id)
    yield server
    hypervisor.close()
    connection.close()
    host.stop()


def read(service: Service, volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = service.ask('GET', f'/v3/multiattach/volumes/{volume_id}/reservations')['reservations']
    return found


def test_each_operation_of_two_servers_of_one_host(service: Service, servers: list[Server], volume_id: str) -> None:
    one, two = servers
    check(service, volume_id, one, two, RIGHTS)


def test_two_servers_of_two_hosts(service: Service, servers: list[Server], far: Server, volume_id: str) -> None:
    """One of them by its host's kernel, libvirt's ``qemu-pr-helper`` and os-brick."""
    domain = far.guest.domain.XMLDesc(0)
    assert '<reservations managed=' in domain
    assert "device='lun'" in domain
    check(service, volume_id, far, servers[1], {kind: RIGHTS[kind] for kind in (5, 6)})


def check(service: Service, volume_id: str, one: Server, two: Server, rights: dict[int, tuple[str, str]]) -> None:
    for kind, (registered, stranger) in rights.items():
        for server, key in zip((one, two), KEYS, strict=True):
            server.do('--register-ignore', f'--param-sark={key}')
        assert all(key[2:] in two.tell('--read-keys') for key in KEYS)
        one.do('--reserve', f'--param-rk={KEYS[0]}', f'--prout-type={kind}')
        assert (one.rights, two.rights) == ('rw', registered), kind
        shown = read(service, volume_id)
        assert shown['type'] == kind
        told = {each['server_id']: (int(each['key'], 16), each['holder']) for each in shown['registrations']}
        assert told == {one.id: (0xA1, True), two.id: (0xB2, kind in FOR_ALL)}
        assert 'Reservation follows' in two.tell('--read-reservation')
        assert KEYS[0][2:] in two.tell('--read-full-status')
        # Whoever is not registered does not get it, and is kept off as the type says.
        two.do('--register', f'--param-rk={KEYS[1]}', '--param-sark=0')
        assert two.rights == stranger, kind
        assert two.ask('--out', '--reserve', f'--param-rk={KEYS[1]}', f'--prout-type={kind}')[0] == 24  # conflict
        one.do('--release', f'--param-rk={KEYS[0]}', f'--prout-type={kind}')
        assert 'NO reservation' in two.tell('--read-reservation')
        assert two.rights == 'rw'
        for preempt in ('--preempt', '--preempt-abort'):
            for server, key in zip((one, two), KEYS, strict=True):
                server.do('--register-ignore', f'--param-sark={key}')
            one.do('--reserve', f'--param-rk={KEYS[0]}', f'--prout-type={kind}')
            two.do(preempt, f'--param-rk={KEYS[1]}', f'--param-sark={KEYS[0]}', f'--prout-type={kind}')
            assert (one.rights, two.rights) == (stranger, 'rw'), (kind, preempt)
            two.do('--clear', f'--param-rk={KEYS[1]}')
            assert one.rights == 'rw'
            assert read(service, volume_id)['registrations'] == []


def test_it_holds_over_a_loss_of_power_and_ends_with_a_fence(
    service: Service, servers: list[Server], volume_id: str
) -> None:
    one, two = servers
    for server, key in zip(servers, KEYS, strict=True):
        server.do('--register-ignore', f'--param-sark={key}')
    one.do('--reserve', f'--param-rk={KEYS[0]}', '--prout-type=6')
    before = read(service, volume_id)
    service.host.power_off()
    service.host.boot()
    service.start()
    after = read(service, volume_id)
    assert (after['type'], after['registrations']) == (before['type'], before['registrations'])
    # By new sessions of the same initiators.
    wait_until(lambda: (one.rights, two.rights) == ('rw', 'rw'), SLOW, 'those who are registered', 0.5)
    two.do('--register', f'--param-rk={KEYS[1]}', '--param-sark=0')
    assert (one.rights, two.rights) == ('rw', '')
    two.do('--register', f'--param-sark={KEYS[1]}')
    [proof] = service.fence(one.attachment)
    assert proof['cut']['registration'] is True
    assert proof['left'] == {'acl': False, 'account': False, 'sessions': [], 'registration': False}
    assert one.id not in {each['server_id'] for each in read(service, volume_id)['registrations']}
    wait_until(lambda: two.rights == 'rw', SLOW, 'the survivor', 0.5)


def test_two_servers_of_one_kernel_are_refused(service: Service, volume_id: str) -> None:
    name = f'iqn.1994-05.com.example:{uuid.uuid4()}'
    words = {'host': 'kernel', 'initiator': name, 'ip': '10.99.0.9'}
    idents = []
    for status in ('200', '400'):
        body = {'attachment': {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': words}}
        text = service.host.check(
            "curl -sS -o /dev/null -w '%{http_code}' -X POST http://127.0.0.1:8776/v3/attachments "
            "-H 'Content-Type: application/json' -H 'OpenStack-API-Version: volume 3.71' -d @-",
            SLOW,
            json.dumps(body).encode(),
        )
        idents.append(text.strip())
        assert text.strip() == status
