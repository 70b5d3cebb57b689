# SPDX-License-Identifier: Apache-2.0
"""How long a volume takes from the REST call to the guest's disk, against the bare tools by hand.

``python -m tests.benchmarks.real_path [ROUNDS]``, from the top of the tree, as root. Everything is real: a compute host
(an emulated machine) with its own kernel initiator, libvirtd and guest; tgtd, MariaDB, RabbitMQ, APIs, workers and the
host agent. By hand is what an operator would type, as two scripts: tgtadm where the target is, iscsiadm and virsh on
the host. Both are measured in turn, each with a new volume; only the ratio counts, as the host's processor is emulated.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from multiattach.domain.connection import wwn
from multiattach.drivers.targets.tgt.identity import scsi_id, scsi_serial
from tests.deployments import two_hosts
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE

ROUNDS = 8
_TID = 9000  # the service takes the lowest that is free
_USER, _SECRET = 'byhand', 'by-hand-secret-1'
_ATTACH = """\
set -e
n="iscsiadm -m node -T {iqn} -p {portal}"
$n -o new
$n -o update -n node.session.auth.authmethod -v CHAP
$n -o update -n node.session.auth.username -v {user}
$n -o update -n node.session.auth.password -v {secret}
$n --login
until [ -b {device} ]; do sleep 0.02; done
virsh -q attach-device {guest} {share}/disk.xml --live
"""
_DETACH = """\
set -e
virsh -q detach-device {guest} {share}/disk.xml --live
n="iscsiadm -m node -T {iqn} -p {portal}"
until ! virsh -q domblklist {guest} | grep -q {device}; do sleep 0.1; done
$n --logout
$n -o delete
"""
_DISK = """\
<disk type="block" device="disk"><driver name="qemu" type="raw" cache="none" io="native"/><source dev="{device}"/>
<target dev="vdz" bus="virtio"/><serial>{volume}</serial><shareable/></disk>
"""


class ByHand:
    """What an operator types, for one volume and the guest "far"."""

    def __init__(self, cloud: two_hosts.Deployment, volume: str) -> None:
        self._cloud, self._volume, self._host = cloud, volume, cloud.hosts[1]
        self._iqn = f'iqn.2010-10.org.openstack:by-hand-{volume}'
        self._words = {
            'iqn': self._iqn,
            'portal': cloud.tgtd.portal,
            'user': _USER,
            'secret': _SECRET,
            'guest': cloud.far.name,
            'share': SHARE,
            'device': f'/dev/disk/by-id/wwn-0x{wwn(volume)}',
        }
        self._host.put_file(SHARE / 'disk.xml', _DISK.format(volume=volume, **self._words).encode())

    def attach(self) -> None:
        tid, tgtadm = str(_TID), self._cloud.tgtd.administer
        lun = ('--mode', 'logicalunit', '--tid', tid, '--lun', '1')
        file = str(self._cloud.folder / 'state' / 'volumes' / f'volume-{self._volume}')
        ids = f'scsi_id={scsi_id(self._volume)},scsi_sn={scsi_serial(self._volume)}'
        tgtadm('--op', 'new', '--mode', 'target', '--tid', tid, '-T', self._iqn)
        tgtadm('--op', 'new', *lun, '--bstype', 'rdwr', '-b', file)
        tgtadm('--op', 'update', *lun, '--params', ids)
        tgtadm('--op', 'new', '--mode', 'account', '--user', _USER, '--password', _SECRET)
        tgtadm('--op', 'bind', '--mode', 'account', '--tid', tid, '--user', _USER)
        tgtadm('--op', 'bind', '--mode', 'target', '--tid', tid, '-Q', self._host.initiator)
        self._host.check(_ATTACH.format(**self._words))

    def detach(self) -> None:
        self._host.check(_DETACH.format(**self._words))
        self._cloud.tgtd.administer('--op', 'delete', '--mode', 'target', '--tid', str(_TID), '--force')
        self._cloud.tgtd.administer('--op', 'delete', '--mode', 'account', '--user', _USER)


def measure(cloud: two_hosts.Deployment, attach: Callable[[], object], volume: str) -> tuple[float, float]:
    """Return the seconds until the call returned, or the attachment was attached, and until the guest had the disk."""
    begin = time.perf_counter()
    attach()
    done = time.perf_counter()
    cloud.far.wait_for_disk(volume)
    return done - begin, time.perf_counter() - begin


def attach_by_rest(cloud: two_hosts.Deployment, volume: str) -> None:
    cloud.request_attach(cloud.far, volume)
    wait_until(lambda: cloud.state_of(cloud.far, volume) == 'attached', 120, 'the attachment', 0.02)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    times: dict[str, list[tuple[float, float]]] = {'by REST': [], 'by hand': []}
    with (
        tempfile.TemporaryDirectory(prefix='ma-real-path-') as folder,
        two_hosts.Deployment(Path(folder)).run() as cloud,
    ):
        cloud.make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
        for number in range(rounds + 1):
            volume = cloud.make_volume('shared')
            rest = measure(cloud, lambda volume=volume: attach_by_rest(cloud, volume), volume)  # type: ignore[misc]
            cloud.detach(cloud.far, volume)
            hand = ByHand(cloud, volume)
            bare = measure(cloud, hand.attach, volume)
            hand.detach()
            cloud.far.wait_gone(volume)
            cloud.delete_volume(volume)
            if number:  # the first of each warms caches
                times['by REST'].append(rest)
                times['by hand'].append(bare)
            print(f'{number}: by REST {rest[0]:.2f} {rest[1]:.2f} s, by hand {bare[0]:.2f} {bare[1]:.2f} s', flush=True)
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    for name, (called, seen) in medians.items():
        print(f'{name}: attached after {called:.2f} s, in the guest after {seen:.2f} s (median of {rounds})')
    print(f'ratio: {medians["by REST"][1] / medians["by hand"][1]:.2f}')


if __name__ == '__main__':
    main()
