# SPDX-License-Identifier: Apache-2.0
"""How long the target driver's steps take, against forking tgtadm for the same.

Run it from the top of the tree: ``python -m tests.benchmarks.target_ops [COUNT ...]``, where
COUNT is a number of targets that exist meanwhile (default 1 and 500), or COUNTxSHARERS.
It starts a private tgtd with a folder of its own and needs root, like tgtd.
"""

import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from multiattach.drivers.targets.base import Export, Grant, account_name, generate_secret
from multiattach.drivers.targets.tgt.identity import scsi_id, scsi_serial
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget

ROUNDS = 30


def make_grant(volume_id: str, number: int = 0) -> Grant:
    initiator = f'iqn.2010-10.org.openstack.test:host-{number}'
    return Grant(initiator, account_name(volume_id, initiator), generate_secret())


class ByTgtadm:
    """The same steps, each a tgtadm process."""

    def __init__(self, control_port: int) -> None:
        self._argv = ['tgtadm', '-C', str(control_port), '--lld', 'iscsi']

    def _run(self, *argv: str) -> str:
        return subprocess.run([*self._argv, *argv], check=True, capture_output=True, text=True).stdout

    def _tid(self, iqn: str) -> tuple[int, int]:
        highest = found = 0
        for line in self._run('--op', 'show', '--mode', 'target').splitlines():
            if line.startswith('Target '):
                number, _, name = line[7:].partition(': ')
                highest = max(highest, int(number))
                found = int(number) if name == iqn else found
        return found, highest

    def grant(self, iqn: str, volume_id: str, device: str, grant: Grant) -> None:
        tid = str(self._tid(iqn)[1] + 1)
        lun = ('--mode', 'logicalunit', '--tid', tid, '--lun', '1')
        ids = f'scsi_id={scsi_id(volume_id)},scsi_sn={scsi_serial(volume_id)}'
        self._run('--op', 'new', '--mode', 'target', '--tid', tid, '-T', iqn)
        self._run('--op', 'new', *lun, '--bstype', 'rdwr', '-b', device)
        self._run('--op', 'update', *lun, '--params', ids)
        account = ('--mode', 'account', '--user', grant.username)
        self._run('--op', 'new', *account, '--password', grant.secret)
        self._run('--op', 'bind', '--tid', tid, *account)
        self._run('--op', 'bind', '--mode', 'target', '--tid', tid, '-Q', grant.initiator)

    def revoke_and_remove(self, iqn: str, grant: Grant) -> None:
        tid = str(self._tid(iqn)[0])
        self._run('--op', 'unbind', '--mode', 'target', '--tid', tid, '-Q', grant.initiator)
        self._run('--op', 'unbind', '--mode', 'account', '--tid', tid, '--user', grant.username)
        self._run('--op', 'delete', '--mode', 'account', '--user', grant.username)
        self._run('--op', 'show', '--mode', 'conn', '--tid', tid)
        self._run('--op', 'show', '--mode', 'target')
        self._run('--op', 'delete', '--mode', 'target', '--tid', tid, '--force')


def measure(target: TgtTarget, tgtadm: ByTgtadm, device: str) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}

    def note(name: str, action: Callable[..., object], *arguments: object) -> None:
        begin = time.perf_counter()
        action(*arguments)
        times.setdefault(name, []).append((time.perf_counter() - begin) * 1000)

    for _ in range(ROUNDS):
        volume = str(uuid.uuid4())
        one, two = make_grant(volume), make_grant(volume, 1)
        iqn = target.iqn(volume)
        note('driver: grant, fresh target', target.grant, volume, device, one)
        note('driver: grant, second sharer', target.grant, volume, device, two)
        note('driver: grant again', target.grant, volume, device, two)
        note('driver: revoke, first of two', target.revoke, volume, one.initiator, one.username)
        note('driver: revoke, last', target.revoke, volume, two.initiator, two.username)
        note('driver: remove', target.remove_export, volume)
        note('tgtadm: grant, fresh target', tgtadm.grant, iqn, volume, device, one)
        note('tgtadm: revoke + remove', tgtadm.revoke_and_remove, iqn, one)
    return times


def main(loads: list[tuple[int, int]]) -> None:
    # Each target takes descriptors in tgtd; it inherits the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    folder = Path(tempfile.mkdtemp(prefix='target-ops-'))
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        portal = f'127.0.0.1:{probe.getsockname()[1]}'
    device = folder / 'device'
    device.touch()
    os.truncate(device, 1 << 20)
    tgtd = PrivateTgtd(portal=portal, threads=1, stop_timeout=60)
    try:
        target = TgtTarget(tgtd.start(), portal=portal)
        tgtadm = ByTgtadm(tgtd.daemon.control_port)
        print(f'{"load":>9}  {"step":<30} {"median":>8} {"worst":>8}  ms')
        volumes: list[str] = []
        for count, sharers in sorted(loads):
            volumes += [str(uuid.uuid4()) for _ in range(count - len(volumes))]
            for volume in volumes:
                grants = tuple(make_grant(volume, number) for number in range(sharers))
                target.ensure_export(Export(volume, str(device), grants))
            for name, values in measure(target, tgtadm, str(device)).items():
                load = f'{count}x{sharers}'
                print(f'{load:>9}  {name:<30} {statistics.median(values):>8.2f} {max(values):>8.2f}')
    finally:
        tgtd.stop()
        shutil.rmtree(folder)


if __name__ == '__main__':
    parts = [text.partition('x') for text in sys.argv[1:]]
    main([(int(count), int(sharers or 1)) for count, _, sharers in parts] or [(1, 1), (500, 1)])
