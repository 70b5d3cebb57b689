# SPDX-License-Identifier: Apache-2.0
"""Smoke runs: does the test bed itself work on this machine?"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libvirt

from tests.testbed.cluster import Cluster
from tests.testbed.guest import BLOCK_SIZE, Guest
from tests.testbed.initramfs import FILES
from tests.testbed.libvirtd import Libvirtd
from tests.testbed.progress import report
from tests.testbed.tgtd import Tgtd
from tests.testbed.vm import ComputeHost

_DISK = """\
<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>
<source file='{path}'/><target dev='vdb' bus='virtio'/>
<serial>{serial}</serial><shareable/></disk>"""


def demonstrate_guests(cache: Path | None, kind: str = 'qemu', memory: int = 128) -> None:
    """Start two guests, let them share one disk, and clean up.

    :param cache: cache folder
    :param kind: domain type, "qemu" or "kvm"
    :param memory: MiB per guest
    """
    serial = '5f3c5a36-1dd2-4e0c-9d2e-0123456789ab'
    with tempfile.TemporaryDirectory(prefix='testbed-') as name:
        folder = Path(name)
        disk = folder / 'shared'
        with disk.open('wb') as out:
            out.truncate(64 << 20)
        with Libvirtd(folder / 'lv', cache=cache) as daemon, ThreadPoolExecutor(2) as pool:
            report(f'libvirtd is up: {daemon.uri}')
            connection = daemon.connect()
            guests = [
                Guest.define(connection, name, folder / name, cache=cache, kind=kind, memory=memory)
                for name in ('guest1', 'guest2')
            ]
            list(pool.map(Guest.start, guests))
            report('both guests are started')
            list(pool.map(Guest.wait_ready, guests))
            report('both guests are ready')
            flags = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
            xml = _DISK.format(path=disk, serial=serial)
            for guest in guests:
                guest.domain.attachDeviceFlags(xml, flags)
                report(f'{guest.name} sees {guest.wait_for_disk(serial)}')
            guests[0].write_block('/dev/vdb', 1000, b'written by guest1')
            read = guests[1].read_block('/dev/vdb', 1000)
            if read != b'written by guest1'.ljust(BLOCK_SIZE, b'\0'):
                raise SystemExit('guest2 reads other bytes than guest1 wrote')
            report('guest2 reads what guest1 wrote')
            for guest in guests:
                guest.domain.detachDeviceFlags(xml, flags)
                guest.wait_gone(serial)
                code, output = guest.run('uname -r; free -m | sed -n 2p; cat /proc/uptime')
                report(f'{guest.name} ran a command: {code} {output.split(chr(10))}')
            connection.close()
        report('cleaned up')


def demonstrate_cluster(cache: Path | None, hosts: int = 2) -> None:
    """Bring up a cluster, a nested guest per host and an iSCSI login, and clean up.

    :param cache: cache folder
    :param hosts: how many compute hosts
    """

    def start_guest(host: ComputeHost) -> None:
        connection = host.connect_libvirt()
        guest = host.define_guest(connection, 'guest')
        guest.start()
        guest.wait_ready()
        report(f'{host.name}: its guest ran a command: {guest.run("uname -a")}')
        guest.destroy()
        connection.close()

    target = 'iqn.2010-10.org.openstack:volume-demo'
    with tempfile.TemporaryDirectory(prefix='testbed-') as name:
        folder = Path(name)
        with (
            Cluster(folder, cache, hosts) as cluster,
            Tgtd(folder, network=cluster.network) as tgtd,
            ThreadPoolExecutor(hosts) as pool,
        ):
            cluster.mariadb.create_database('demo')
            report('database made')
            image = folder / 'volume'
            with image.open('wb') as out:
                out.truncate(64 << 20)
            first = cluster.hosts[0]
            tgtd.export(1, target, image, [first.initiator])
            guests = [pool.submit(start_guest, host) for host in cluster.hosts]
            script = FILES / 'brick-demo.py'
            command = f'{sys.executable} {script} {target} {tgtd.portal}'
            report(f'{first.name}: os-brick: {first.check(command, 300)}')
            for guest in guests:
                guest.result()
