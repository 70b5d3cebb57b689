# SPDX-License-Identifier: Apache-2.0
"""Images that QEMU opens by itself: a private Ceph, a private libvirtd, two real guests."""

import base64
import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.blocklist import Blocklist
from multiattach.drivers.ceph.pool import Cluster, Pool
from multiattach.drivers.ceph.sessions import read_sessions
from multiattach.drivers.connectors.rbd import RbdConnector
from multiattach.drivers.errors import ConnectorError, DetachRefused, HypervisorError, HypervisorUnavailable
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from tests.testbed import Guest, TestbedError
from tests.testbed.ceph import Ceph, _load
from tests.testbed.polling import wait_until

from .conftest import Host
from .images import POOL, SIZE, ImageVolume
from .test_hypervisor import disks

TIMEOUT = 3
# Of a monitor with another port than the usual ones it is not known which protocol it speaks: both are tried, until
# the time is over, though one has been refused. With the usual ones it is refused at once, see tests/e2e.
_REFUSED = r'no answer|is refused'


@pytest.fixture(scope='module')
def pool(ceph: Ceph) -> Iterator[None]:
    ceph.make_pool(POOL)
    yield
    ceph.remove_pool(POOL)


@pytest.fixture
def make_image(ceph: Ceph, pool: None) -> Callable[[], ImageVolume]:
    conf = ceph.folder / 'qemu.conf'
    conf.write_text(f'[global]\nclient_mount_timeout = {TIMEOUT}\n')

    def make() -> ImageVolume:
        image = ImageVolume(ceph, RbdConnector('host', '127.0.0.1', conf=str(conf), timeout=TIMEOUT))
        image.create()
        return image

    return make


@pytest.fixture
def image(make_image: Callable[[], ImageVolume]) -> ImageVolume:
    return make_image()


def secrets(host: Host) -> dict[str, Any]:
    return {one.UUIDString(): one for one in host.guests[0].connection.listAllSecrets()}


def ask_qemu(host: Host, number: int, command: str) -> Any:
    text = libvirt_qemu.qemuMonitorCommand(host.guests[number].domain, json.dumps({'execute': command}), 0)
    return json.loads(text)['return']


def test_two_guests_share_an_image_and_nothing_is_left(host: Host, image: ImageVolume) -> None:
    infos = [image.make_attachment() for _ in range(2)]
    for number, info in enumerate(infos):
        assert host.hypervisor.attach(host.server_id(number), image.make_disk(info)) == '/dev/vdb'
    kept = secrets(host)
    assert set(kept) == {info['attachment_id'] for info in infos}
    for secret in kept.values():
        with pytest.raises(libvirt.libvirtError):  # it is private
            secret.value()
        assert not (host.daemon.folder / 'etc/secrets' / f'{secret.UUIDString()}.xml').exists()
    one, two = host.guests
    paths = [guest.wait_for_disk(image.id) for guest in host.guests]
    one.write_block(paths[0], 1, b'by server 1')
    assert two.read_block(paths[1], 1).startswith(b'by server 1')
    two.write_block(paths[1], 2, b'by server 2')
    assert one.read_block(paths[0], 2).startswith(b'by server 2')
    assert image.count_watchers() == 2
    found = disks(host, 0)[image.id]
    assert found.find('shareable') is not None
    driver = found.find('driver')
    assert driver is not None
    assert (driver.get('cache'), driver.get('discard')) == ('none', 'unmap')
    key = infos[0]['keyring'].split()[-1]
    assert key not in host.guests[0].domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
    for number, info in enumerate(infos):
        host.hypervisor.detach(host.server_id(number), image.id, info['attachment_id'])
        assert set(secrets(host)) == {one['attachment_id'] for one in infos[number + 1 :]}
    assert image.count_watchers() == 0


def test_no_write_is_answered_before_ceph_has_it(host: Host, ceph: Ceph, image: ImageVolume) -> None:
    """Even after the guest has flushed once, which makes librbd's cache write back if there is one."""
    info = image.make_attachment()
    host.hypervisor.attach(host.server_id(0), image.make_disk(info))
    guest, path = host.guests[0], host.guests[0].wait_for_disk(image.id)
    guest.write_block(path, 0, b'first')
    guest.run(f'fsync {path} || sync')
    nodes = {node['file']: node for node in ask_qemu(host, 0, 'query-named-block-nodes') if node['drv'] == 'rbd'}
    assert [node['cache']['direct'] for node in nodes.values()] == [True]
    with ceph.frozen('osd.0'):
        guest.run(f'(dd if=/dev/zero of={path} bs=4096 seek=1 count=1 oflag=direct && echo done) >/tmp/dd 2>&1 &')
        code, _ = guest.run('sleep 2; grep -q done /tmp/dd')
        assert code != 0
    wait_until(lambda: guest.run('grep -q done /tmp/dd')[0] == 0, 60, 'the write')
    host.hypervisor.detach(host.server_id(0), image.id, info['attachment_id'])


def test_a_guest_that_may_read_only(host: Host, ceph: Ceph, image: ImageVolume) -> None:
    """Neither by QEMU nor with the key."""
    with image.opened() as opened:
        opened.write(b'as it was'.ljust(4096, b'.'), 0)
    info = image.make_attachment('ro')
    host.hypervisor.attach(host.server_id(0), image.make_disk(info))
    guest, path = host.guests[0], host.guests[0].wait_for_disk(image.id)
    assert guest.read_block(path, 0).startswith(b'as it was')
    with pytest.raises(TestbedError):
        guest.write_block(path, 0, b'changed')
    rados, rbd = _load('rados'), _load('rbd')
    with rados.Rados(
        rados_id=info['auth_username'], conffile=str(ceph.conf), conf={'key': info['keyring'].split()[-1]}
    ) as own:
        io = own.open_ioctx(POOL)
        with rbd.Image(io, image.name) as opened, pytest.raises(rbd.PermissionError):
            opened.write(b'changed', 0)
        io.close()
    host.hypervisor.detach(host.server_id(0), image.id, info['attachment_id'])
    with image.opened() as opened:
        assert opened.read(0, 9) == b'as it was'


def find_size(guest: Guest, image: ImageVolume) -> int:
    """Return the bytes that a guest sees."""
    name = guest.wait_for_disk(image.id).removeprefix('/dev/')
    return int(guest.run(f'cat /sys/block/{name}/size')[1]) << 9


@pytest.mark.parametrize('mode', ['rw', 'ro'])
def test_growth_is_seen(host: Host, image: ImageVolume, mode: str) -> None:
    """At once; of a disk that may only be read QEMU refuses to, and it is seen with the next attach."""
    info, server, guest = image.make_attachment(mode), host.server_id(0), host.guests[0]
    host.hypervisor.attach(server, image.make_disk(info))
    assert find_size(guest, image) == SIZE
    with image.opened() as opened:
        opened.resize(2 * SIZE)
    for _ in range(2):
        host.hypervisor.resize(server, image.id, 2 * SIZE)
    if mode == 'ro':
        host.hypervisor.detach(server, image.id, info['attachment_id'])
        guest.wait_gone(image.id)
        host.hypervisor.attach(server, image.make_disk(info))
    wait_until(lambda: find_size(guest, image) == 2 * SIZE, 30, 'the new size')
    with image.opened() as opened:
        assert opened.size() == 2 * SIZE
    host.hypervisor.detach(server, image.id, info['attachment_id'])


def test_a_fenced_disk_goes_and_its_user_never_comes_back(host: Host, ceph: Ceph, image: ImageVolume) -> None:
    """The key is removed and the instance blocklisted: what is left in the server can be taken away at once."""
    infos = [image.make_attachment() for _ in range(2)]
    for number, info in enumerate(infos):
        host.hypervisor.attach(host.server_id(number), image.make_disk(info))
    paths = [guest.wait_for_disk(image.id) for guest in host.guests]
    image.remove_user(infos[0])
    cluster = Pool(library.load(), Cluster(str(ceph.conf), 'admin', 'ceph', POOL), 30)
    mine = {one.address for one in read_sessions(cluster).list_of(f'client.{infos[0]["auth_username"]}')}
    blocklist = Blocklist(cluster)
    blocklist.add(mine, 3600)
    blocklist.settle()
    wait_until(lambda: image.count_watchers() == 1, 60, 'the end of the watch')
    with pytest.raises(TestbedError):
        host.guests[0].write_block(paths[0], 3, b'late')
    host.guests[1].write_block(paths[1], 3, b'the other')
    host.hypervisor.detach(host.server_id(0), image.id, infos[0]['attachment_id'], insist=False)
    assert image.id not in disks(host, 0)
    assert set(secrets(host)) == {infos[1]['attachment_id']}
    with pytest.raises(ConnectorError, match=_REFUSED):
        image.connector.connect(infos[0])
    assert host.guests[1].read_block(paths[1], 3).startswith(b'the other')
    host.hypervisor.detach(host.server_id(1), image.id, infos[1]['attachment_id'])


def test_a_disk_of_an_attachment_before_is_replaced(host: Host, image: ImageVolume) -> None:
    old, new = image.make_attachment(), image.make_attachment()
    server = host.server_id(0)
    host.hypervisor.attach(server, image.make_disk(old))
    image.remove_user(old)
    assert host.hypervisor.attach(server, image.make_disk(new)) == '/dev/vdb'
    auth = disks(host, 0)[image.id].find('./source/auth')
    assert auth is not None
    assert auth.get('username') == new['auth_username']
    moved = {**new, 'hosts': ['127.0.0.9', *new['hosts']], 'ports': ['1', *new['ports']]}
    assert host.hypervisor.attach(server, image.make_disk(moved)) == '/dev/vdb'  # a monitor more: the disk stays
    for info in (old, new):
        host.hypervisor.detach(server, image.id, info['attachment_id'])


def test_no_server_waits_for_a_monitor_that_is_gone(image: ImageVolume) -> None:
    """Which librados tries first is chance, so many times."""
    info = image.make_attachment()
    gone = {**info, 'hosts': ['127.0.0.9', *info['hosts']], 'ports': ['1', *info['ports']]}
    for _ in range(20):
        image.make_disk(gone)


def test_os_brick_opens_what_a_guest_has(host: Host, image: ImageVolume, tmp_path: pathlib.Path) -> None:
    """As Cinder's clients do without krbd, from the same connection_info."""
    infos = [image.make_attachment(), image.make_attachment('ro')]
    host.hypervisor.attach(host.server_id(0), image.make_disk(infos[0]))
    path = host.guests[0].wait_for_disk(image.id)
    text = 'by os-brick'.ljust(4096, '.')

    def run(info: dict[str, Any], write: str) -> subprocess.CompletedProcess[str]:
        words = json.dumps({'info': info, 'write': write, 'length': len(text)})
        program = pathlib.Path(__file__).with_name('brick_reader.py')
        return subprocess.run([sys.executable, program], input=words, text=True, capture_output=True, check=False)

    done = run(image.make_attachment(), text)
    assert done.stdout.strip() == text, done.stderr
    assert host.guests[0].read_block(path, 0).decode() == text
    host.guests[0].write_block(path, 0, b'by the guest')
    assert run(infos[0], '').stdout.startswith('by the guest')
    assert 'PermissionError' in run(infos[1], text).stderr
    assert host.guests[0].read_block(path, 0).startswith(b'by the guest')
    host.hypervisor.detach(host.server_id(0), image.id, infos[0]['attachment_id'])


# -- trouble -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'keyring': f'[client.x]\nkey = {base64.b64encode(bytes(28)).decode()}'}, _REFUSED),
        ({'name': f'{POOL}/volume-none'}, 'no capability'),
        ({'name': 'none/volume-none'}, 'there is none'),
        ({'ports': ['1']}, 'no answer at 127.0.0.1:1 .*ceph -s'),
        ({'hosts': []}, 'is none of an image'),
        ({'name': 'nothing'}, 'names no image'),
        ({'auth_username': ''}, 'names no user'),
    ],
    ids=['key', 'image', 'pool', 'monitors', 'no monitor', 'no name', 'no user'],
)
def test_what_cannot_be_had_is_said_before_a_guest_stands_still(
    host: Host, image: ImageVolume, wrong: dict[str, Any], words: str
) -> None:
    info = {**image.make_attachment(), **wrong}
    with pytest.raises(ConnectorError, match=words) as caught:
        image.connector.connect(info)
    assert info['keyring'].split()[-1] not in str(caught.value)
    assert secrets(host) == {}


def test_ceph_is_silent_at_attach(host: Host, ceph: Ceph, image: ImageVolume) -> None:
    info = image.make_attachment()
    for daemon in ('osd.0', 'mon.a'):
        with ceph.frozen(daemon), pytest.raises(ConnectorError, match=r'no answer|did not open'):
            image.connector.connect(info)
    assert secrets(host) == {}
    image.connector.connect(info)


def test_libvirt_is_refused_what_connect_would_have_found(host: Host, image: ImageVolume) -> None:
    """The key goes between the two: the guest goes on, and all of it can be undone."""
    info = image.make_attachment()
    disk = image.make_disk(info)
    image.remove_user(info)
    with pytest.raises(HypervisorError) as caught:
        host.hypervisor.attach(host.server_id(0), disk)
    assert info['keyring'].split()[-1] not in str(caught.value)
    assert host.guests[0].run('true')[0] == 0
    host.hypervisor.detach(host.server_id(0), image.id, info['attachment_id'])
    assert secrets(host) == {}


def test_a_disk_is_taken_away_while_ceph_is_silent(host: Host, ceph: Ceph, image: ImageVolume) -> None:
    info, server = image.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, image.make_disk(info))
    host.guests[0].wait_for_disk(image.id)
    impatient = LibvirtHypervisor(host.daemon.uri, detach_timeout=2, detach_attempts=1, timeout=3)
    with ceph.frozen('osd.0'), contextlib.suppress(HypervisorUnavailable, DetachRefused):
        impatient.detach(server, image.id, info['attachment_id'])
        assert image.id not in disks(host, 0), 'it was said to be gone'

    def detach() -> bool:
        with contextlib.suppress(HypervisorUnavailable, DetachRefused):
            impatient.detach(server, image.id, info['attachment_id'])
            return True
        return False

    wait_until(detach, 90, 'the detach')
    assert image.id not in disks(host, 0)
    assert secrets(host) == {}
    assert image.count_watchers() == 0
    impatient.close()


# -- secrets -----------------------------------------------------------------------------------


@pytest.mark.slow  # a guest boots
def test_libvirtd_is_started_again_and_the_key_is_given_again(host: Host, image: ImageVolume) -> None:
    """Its memory is all that has it: a server that runs goes on, one that starts needs it again."""
    info, server = image.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, image.make_disk(info))
    guest, path = host.guests[0], host.guests[0].wait_for_disk(image.id)
    host.kill_libvirtd()
    host.start_libvirtd()
    guest.write_block(path, 0, b'goes on')
    [found] = next(one.disks for one in host.hypervisor.list_disks() if one.server_id == server)
    assert (found.secret_id, found.has_secret, found.is_network) == (info['attachment_id'], False, True)
    host.power_off(0)
    with pytest.raises(libvirt.libvirtError, match='no secret with matching uuid'):
        guest.start()
    host.hypervisor.attach(server, image.make_disk(info))
    guest.start()
    guest.wait_ready()
    assert guest.read_block(guest.wait_for_disk(image.id), 0).startswith(b'goes on')
    host.hypervisor.detach(server, image.id, info['attachment_id'])


def test_a_secret_of_the_operator_stays(host: Host, image: ImageVolume) -> None:
    """Without keyring, as with Nova, libvirt has the key already, and other disks need it."""
    info, server, shared = image.make_attachment(), host.server_id(0), str(uuid.uuid4())
    secret = host.guests[0].connection.secretDefineXML(
        f"<secret ephemeral='no' private='yes'><uuid>{shared}</uuid>"
        "<usage type='ceph'><name>client.cinder secret</name></usage></secret>"
    )
    secret.setValue(base64.b64decode(info['keyring'].split()[-1]))
    disk = image.make_disk({**info, 'secret_uuid': shared, 'keyring': None})
    assert host.hypervisor.attach(server, disk) == '/dev/vdb'
    assert set(secrets(host)) == {shared}
    host.hypervisor.detach(server, image.id, shared)
    assert set(secrets(host)) == {shared}
    assert host.hypervisor.list_secrets() == frozenset()
    secret.undefine()


_KILLED = """
import base64, json, os, signal, sys
from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
words = json.load(sys.stdin)
hypervisor = LibvirtHypervisor(words['uri'])
hypervisor._connection.attach_device = lambda *_args, **_named: os.kill(os.getpid(), signal.SIGKILL)
source = DeviceInfo('network', details=words['details'])
hypervisor.attach(words['server'], Disk(words['attachment'], words['volume'], source, '/dev/vdb'))
"""


def test_an_agent_is_killed_between_the_secret_and_the_disk(host: Host, image: ImageVolume) -> None:
    info, server = image.make_attachment(), host.server_id(0)
    words = {
        'uri': host.daemon.uri,
        'server': server,
        'attachment': info['attachment_id'],
        'volume': image.id,
        'details': dict(image.connector.connect(info).details),
    }
    done = subprocess.run([sys.executable, '-c', _KILLED], input=json.dumps(words), text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert set(secrets(host)) == host.hypervisor.list_secrets() == {info['attachment_id']}
    host.hypervisor.attach(server, image.make_disk(info))
    host.hypervisor.detach(server, image.id, info['attachment_id'])
    assert host.hypervisor.list_secrets() == frozenset()
