# SPDX-License-Identifier: Apache-2.0
"""The libvirt driver against a real libvirtd, real guests and a real iSCSI target with CHAP."""

import json
import os
import pathlib
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from xml.etree import ElementTree

import libvirt
import pytest

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors import chap
from multiattach.drivers.errors import DetachRefused, DomainNotFound, HypervisorError, HypervisorUnavailable
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor

from .conftest import VOLUME_SIZE, Host, Volume


def disks(host: Host, number: int, flags: int = 0) -> dict[str, ElementTree.Element]:
    """Disks of a guest by serial number, as libvirt tells anybody who asks."""
    root = ElementTree.fromstring(host.guests[number].domain.XMLDesc(flags))
    return {disk.findtext('serial') or '': disk for disk in root.findall('./devices/disk')}


def sessions(volume: Volume) -> int:
    return len(volume.target.list_exports()[volume.id].sessions)


def test_disk_is_attached_live_and_persistent_and_leaves_nothing(host: Host, volume: Volume) -> None:
    info = volume.make_attachment()
    server = host.server_id(0)
    assert host.hypervisor.attach(server, volume.make_disk(info)) == '/dev/vdb'
    assert host.guests[0].wait_for_disk(volume.id) == '/dev/vdb'
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        disk = disks(host, 0, flags)[volume.id]
        driver = disk.find('driver')
        assert driver is not None
        assert {key: driver.get(key) for key in ('name', 'type', 'cache', 'discard')} == {
            'name': 'qemu',
            'type': 'raw',
            'cache': 'none',
            'discard': 'unmap',
        }
        assert disk.find('shareable') is not None
        assert disk.find('readonly') is None
        assert disk.find('alias').get('name') == f'ua-{volume.id}'  # type: ignore[union-attr]
        assert info['auth_password'] not in ElementTree.tostring(disk, encoding='unicode')
    assert sessions(volume) == 1
    host.hypervisor.detach(server, volume.id, info['attachment_id'])
    # Without a wait: detach returns when the guest has let go.
    assert volume.id not in disks(host, 0)
    assert volume.id not in disks(host, 0, libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert host.guests[0].find_disk(volume.id) is None
    assert sessions(volume) == 0


def test_servers_reserve_each_by_an_initiator_of_its_own(host: Host, volume: Volume) -> None:
    """By QEMU's own initiator, also for two servers of one host; a kernel's stands in tests/e2e."""
    infos, keys = [volume.make_attachment() for _ in range(2)], ('0xa', '0xb')
    for number, info in enumerate(infos):
        disk = volume.make_disk(info, reservations=True)
        assert host.hypervisor.attach(host.server_id(number), disk) == '/dev/sda'
        assert host.hypervisor.attach(host.server_id(number), disk) == '/dev/sda'
        host.guests[number].wait_for_disk('sda')

    def ask(number: int, *words: str) -> str:
        code, output = host.guests[number].run(f'sg_persist -n {" ".join(words)} /dev/sda 2>&1')
        return f'{code} {output}'

    for number, key in enumerate(keys):
        assert ask(number, '--out --register', f'--param-sark={key}').startswith('0 ')
    assert ask(0, '--out --reserve --prout-type=5', f'--param-rk={keys[0]}').startswith('0 ')
    assert 'Key=0xa' in ask(1, '--in --read-reservation')
    assert all(key in ask(1, '--in --read-keys') for key in keys)
    assert ask(1, '--out --preempt --prout-type=5', f'--param-rk={keys[1]} --param-sark={keys[0]}').startswith('0 ')
    code, output = host.guests[0].run('dd if=/dev/zero of=/dev/sda bs=4096 count=1 oflag=direct 2>&1')
    assert (code != 0, 'reservation conflict' in host.guests[0].run('dmesg')[1]) == (True, True), output
    host.guests[1].write_block('/dev/sda', 0, b'of the survivor')
    found = {
        one.server_id: [(disk.volume_id, disk.target) for disk in one.disks] for one in host.hypervisor.list_disks()
    }
    assert found == {host.server_id(number): [(volume.id, 'sda')] for number in range(2)}
    for number, info in enumerate(infos):
        host.hypervisor.detach(host.server_id(number), volume.id, info['attachment_id'])
        assert host.guests[number].find_disk('sda') is None


def test_libvirt_takes_a_kernels_device_with_reservations(host: Host, volume: Volume) -> None:
    """As the connector os-brick gives it; this machine's kernel may have no such device, so the server is off."""
    ident = str(uuid.uuid4())
    inside = f'<name>off</name><uuid>{ident}</uuid><memory>65536</memory><os><type>hvm</type></os>'
    domain = host.guests[0].connection.defineXML(f'<domain type="qemu">{inside}</domain>')
    try:
        disk = Disk(
            ident, volume.id, DeviceInfo('block', '/dev/disk/by-path/x'), '', multiattach=True, reservations=True
        )
        assert host.hypervisor.attach(ident, disk) == '/dev/sda'
        assert host.hypervisor.attach(ident, disk) == '/dev/sda'
        root = ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        [lun] = root.findall('./devices/disk')
        assert (lun.get('type'), lun.get('device'), lun.find('serial')) == ('block', 'lun', None)
        assert lun.find('./source/reservations').get('managed') == 'yes'  # type: ignore[union-attr]
        [controller] = root.findall("./devices/controller[@type='scsi']")
        assert controller.get('model') == 'virtio-scsi'
        [found] = [one for one in host.hypervisor.list_disks() if one.server_id == ident]
        assert [(one.volume_id, one.target, one.is_saved) for one in found.disks] == [(volume.id, 'sda', True)]
        host.hypervisor.detach(ident, volume.id, ident)
        assert not ElementTree.fromstring(domain.XMLDesc(0)).findall('./devices/disk')
    finally:
        domain.undefine()


def test_rates_hold_now_and_at_the_next_start(host: Host, volume: Volume) -> None:
    info = volume.make_attachment()
    server, rates = host.server_id(0), {'read_iops_sec': 100, 'write_bytes_sec': 1 << 20}
    host.hypervisor.attach(server, volume.make_disk(info, rates=rates))
    host.guests[0].wait_for_disk(volume.id)
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        tune = disks(host, 0, flags)[volume.id].find('iotune')
        assert tune is not None
        assert {rate.tag: int(rate.text or 0) for rate in tune} == rates
    found = host.guests[0].domain.blockIoTune('vdb')
    assert (found['read_iops_sec'], found['write_bytes_sec']) == (100, 1 << 20)
    host.hypervisor.detach(server, volume.id, info['attachment_id'])


def test_twice_the_same_is_success(host: Host, volume: Volume) -> None:
    info = volume.make_attachment()
    server = host.server_id(0)
    for _ in range(2):
        assert host.hypervisor.attach(server, volume.make_disk(info)) == '/dev/vdb'
    assert len(disks(host, 0)) == 2
    assert sessions(volume) == 1
    for _ in range(2):
        host.hypervisor.detach(server, volume.id, info['attachment_id'])


def test_two_guests_share_bytes_both_ways(host: Host, volume: Volume) -> None:
    infos = [volume.make_attachment() for _ in host.guests]
    paths = []
    for number, info in enumerate(infos):
        host.hypervisor.attach(host.server_id(number), volume.make_disk(info))
        paths.append(host.guests[number].wait_for_disk(volume.id))
    assert sessions(volume) == 2
    for writer, reader, block in ((0, 1, 100), (1, 0, 200)):
        token = uuid.uuid4().hex.encode()
        host.guests[writer].write_block(paths[writer], block, token)
        assert host.guests[reader].read_block(paths[reader], block)[: len(token)] == token
    host.hypervisor.detach(host.server_id(0), volume.id, infos[0]['attachment_id'])
    host.guests[1].write_block(paths[1], 300, b'still here')
    assert host.guests[1].read_block(paths[1], 300)[:10] == b'still here'
    host.hypervisor.detach(host.server_id(1), volume.id, infos[1]['attachment_id'])


def test_read_only_disk_refuses_writes(host: Host, volume: Volume) -> None:
    info = volume.make_attachment(access_mode='ro')
    volume.path.write_bytes(b'seen by the reader'.ljust(16 * 1024 * 1024, b'\0'))
    host.hypervisor.attach(host.server_id(0), volume.make_disk(info, mode='ro'))
    path = host.guests[0].wait_for_disk(volume.id)
    assert disks(host, 0)[volume.id].find('readonly') is not None
    assert host.guests[0].read_block(path, 0).startswith(b'seen by the reader')
    code, _ = host.guests[0].run(f'echo x | dd of={path} bs=512 conv=notrunc 2>&1')
    assert code != 0
    assert volume.path.read_bytes().startswith(b'seen by the reader')
    host.hypervisor.detach(host.server_id(0), volume.id, info['attachment_id'])


def test_not_multiattach_has_no_shareable(host: Host, volume: Volume) -> None:
    info = volume.make_attachment()
    host.hypervisor.attach(host.server_id(0), volume.make_disk(info, multiattach=False))
    assert disks(host, 0)[volume.id].find('shareable') is None
    host.hypervisor.detach(host.server_id(0), volume.id, info['attachment_id'])


def test_taken_device_name_gives_the_next_free_one(host: Host, make_volume: Callable[[], Volume]) -> None:
    one, two = make_volume(), make_volume()
    infos = [volume.make_attachment() for volume in (one, two)]
    server = host.server_id(0)
    assert host.hypervisor.attach(server, one.make_disk(infos[0])) == '/dev/vdb'
    assert host.hypervisor.attach(server, two.make_disk(infos[1], device='/dev/vdb')) == '/dev/vdc'
    assert host.guests[0].wait_for_disk(two.id) == '/dev/vdc'
    for volume, info in zip((one, two), infos, strict=True):
        host.hypervisor.detach(server, volume.id, info['attachment_id'])


def test_many_at_once_to_one_server(host: Host, make_volume: Callable[[], Volume]) -> None:
    volumes = [make_volume() for _ in range(4)]
    infos = [volume.make_attachment() for volume in volumes]
    server, names, failures = host.server_id(0), [], []
    barrier = threading.Barrier(len(volumes))

    def attach(volume: Volume, info: dict[str, str]) -> None:
        disk = volume.make_disk(info)  # all of them wish for vdb
        barrier.wait()
        try:
            names.append(host.hypervisor.attach(server, disk))
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=attach, args=pair) for pair in zip(volumes, infos, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(names) == ['/dev/vdb', '/dev/vdc', '/dev/vdd', '/dev/vde']
    for volume, info in zip(volumes, infos, strict=True):
        host.hypervisor.detach(server, volume.id, info['attachment_id'])


@pytest.mark.parametrize('wrong', ['auth_password', 'initiator'])
def test_wrong_credentials_do_not_get_in(host: Host, volume: Volume, wrong: str) -> None:
    info = volume.make_attachment()
    if wrong == 'initiator':
        disk = volume.make_disk(info | {'attachment_id': str(uuid.uuid4())})
    else:
        disk = volume.make_disk(info | {'auth_password': 'notthepassword16'})
    with pytest.raises(HypervisorError) as caught:
        host.hypervisor.attach(host.server_id(0), disk)
    assert not isinstance(caught.value, DomainNotFound)
    assert 'notthepassword16' not in str(caught.value)
    assert info['auth_password'] not in str(caught.value)
    assert volume.id not in disks(host, 0)
    assert sessions(volume) == 0
    # What a failed attach left behind goes the same way.
    host.hypervisor.detach(host.server_id(0), volume.id, disk.attachment_id)


def test_server_that_is_off_gets_the_disk_at_its_start(host: Host, volume: Volume) -> None:
    info, server = volume.make_attachment(), host.server_id(0)
    host.power_off(0)
    assert host.hypervisor.attach(server, volume.make_disk(info)) == '/dev/vdb'
    assert sessions(volume) == 0
    host.guests[0].start()
    host.guests[0].wait_ready()
    assert host.guests[0].wait_for_disk(volume.id) == '/dev/vdb'
    assert host.hypervisor.attach(server, volume.make_disk(info)) == '/dev/vdb'
    assert sessions(volume) == 1
    host.power_off(0)
    host.hypervisor.detach(server, volume.id, info['attachment_id'])
    assert volume.id not in disks(host, 0)


def test_disk_missing_in_one_place_is_added_there_only(host: Host, volume: Volume) -> None:
    info, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(info))
    host.guests[0].domain.detachDeviceFlags(
        ElementTree.tostring(disks(host, 0)[volume.id], encoding='unicode'), libvirt.VIR_DOMAIN_AFFECT_CONFIG
    )
    assert host.hypervisor.attach(server, volume.make_disk(info)) == '/dev/vdb'
    assert volume.id in disks(host, 0, libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert sessions(volume) == 1
    host.hypervisor.detach(server, volume.id, info['attachment_id'])


def test_disk_of_an_attachment_that_was_cut_off_is_replaced(host: Host, volume: Volume) -> None:
    old, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(old))
    new = volume.make_attachment()
    assert host.hypervisor.attach(server, volume.make_disk(new)) == '/dev/vdb'
    iqn = disks(host, 0)[volume.id].find('./source/initiator/iqn')
    assert iqn is not None
    assert str(iqn.get('name')).endswith(new['attachment_id'])
    for info in (old, new):
        host.hypervisor.detach(server, volume.id, info['attachment_id'])


def test_paused_guest_refuses_and_keeps_the_disk(host: Host, volume: Volume) -> None:
    info, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(info))
    host.guests[0].wait_for_disk(volume.id)
    impatient = LibvirtHypervisor(host.daemon.uri, detach_timeout=1, detach_attempts=2)
    host.guests[0].domain.suspend()
    started = time.monotonic()
    with pytest.raises(DetachRefused):
        impatient.detach(server, volume.id, info['attachment_id'])
    assert time.monotonic() - started < 30
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        assert volume.id in disks(host, 0, flags)
    assert {d.uuid: d.power_state for d in impatient.domains()}[server] == 'paused'
    host.guests[0].domain.resume()
    host.hypervisor.detach(server, volume.id, info['attachment_id'])
    impatient.close()


def test_guest_that_stops_during_the_detach_has_let_go(host: Host, volume: Volume) -> None:
    info, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(info))
    host.guests[0].domain.suspend()
    host.guests[0].console.close()
    stopper = threading.Timer(7, host.guests[0].domain.destroy)
    stopper.start()
    host.hypervisor.detach(server, volume.id, info['attachment_id'])
    stopper.join()
    assert volume.id not in disks(host, 0)


def test_server_that_is_gone(host: Host, volume: Volume) -> None:
    info = volume.make_attachment()
    with pytest.raises(DomainNotFound):
        host.hypervisor.attach(str(uuid.uuid4()), volume.make_disk(info))
    host.hypervisor.detach(str(uuid.uuid4()), volume.id, info['attachment_id'])


def test_block_disk_as_os_brick_gives_it(host: Host, tmp_path: object) -> None:
    """The XML of requirement row 14 is taken by libvirt; a loop device is not at hand, a device node is."""
    disk = Disk(str(uuid.uuid4()), str(uuid.uuid4()), DeviceInfo('block', '/dev/null'), '/dev/vdb', multiattach=True)
    server = host.server_id(0)
    host.power_off(0)
    host.hypervisor.attach(server, disk)
    found = disks(host, 0)[disk.volume_id]
    assert (found.get('type'), found.get('device')) == ('block', 'disk')
    driver, source = found.find('driver'), found.find('source')
    assert driver is not None
    assert source is not None
    assert (driver.get('cache'), driver.get('io')) == ('none', 'native')
    assert source.get('dev') == '/dev/null'
    host.hypervisor.detach(server, disk.volume_id, disk.attachment_id)


def test_host_can_share_and_tells_its_versions(host: Host) -> None:
    assert host.hypervisor.cannot_share() is None
    versions = host.hypervisor.versions()
    assert set(versions) == {'libvirt', 'qemu'}
    assert all(len(text.split('.')) == 3 for text in versions.values())


def test_nobody_answers(tmp_path: object) -> None:
    nobody = LibvirtHypervisor(f'qemu+unix:///system?socket={tmp_path}/none')
    with pytest.raises(HypervisorUnavailable):
        nobody.domains()


def test_libvirtd_that_dies_and_comes_back(host: Host, volume: Volume) -> None:
    info, server = volume.make_attachment(), host.server_id(0)
    host.hypervisor.attach(server, volume.make_disk(info))
    path = host.guests[0].wait_for_disk(volume.id)
    host.kill_libvirtd()
    for step in (
        host.hypervisor.domains,
        host.hypervisor.cannot_share,
        lambda: host.hypervisor.attach(server, volume.make_disk(info)),
        lambda: host.hypervisor.detach(server, volume.id, info['attachment_id']),
    ):
        with pytest.raises(HypervisorUnavailable):
            step()
    host.guests[0].write_block(path, 7, b'without libvirtd')
    host.start_libvirtd()
    assert host.hypervisor.attach(server, volume.make_disk(info)) == '/dev/vdb'
    assert sessions(volume) == 1
    host.hypervisor.detach(server, volume.id, info['attachment_id'])
    assert host.guests[0].find_disk(volume.id) is None


def test_qemu_logs_in_without_the_md5_of_a_library_in_fips_mode(
    volume: Volume, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's initiator cannot there; libiscsi brings its own MD5, as long as it is built without libgcrypt."""
    (tmp_path / 'fips_enabled').write_text('1\n')
    monkeypatch.setattr(chap, 'FIPS_ENABLED', str(tmp_path / 'fips_enabled'))
    assert 'FIPS mode' in str(chap.find_obstacle())
    info = volume.make_attachment()
    details = volume.connector.connect(info).details
    secret = tmp_path / 'secret'
    secret.touch(0o600)
    secret.write_text(details['password'])
    target, _, lun = details['name'].rpartition('/')
    source = {
        'driver': 'iscsi',
        'transport': 'tcp',
        'portal': f'{details["host"]}:{details["port"]}',
        'target': target,
        'lun': int(lun),
        'user': details['username'],
        'password-secret': 'chap',
        'initiator-name': details['initiator'],
    }
    words = ['qemu-img', 'info', '--object', f'secret,id=chap,file={secret}']
    done = subprocess.run(
        [*words, f'json:{json.dumps({"driver": "raw", "file": source})}'],
        env={**os.environ, 'LIBGCRYPT_FORCE_FIPS_MODE': '1', 'GNUTLS_FORCE_FIPS_MODE': '1'},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'{VOLUME_SIZE} bytes' in done.stdout
