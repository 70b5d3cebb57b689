# SPDX-License-Identifier: Apache-2.0
"""What reaches a volume through the kernel's target and through tgtd: ``python -m tests.benchmarks.data_path``.

It boots a storage machine whose kernel is a target, gives it a volume for each of the two, files or logical volumes
(``--store lvm``), and has QEMU's own initiator (``qemu-img bench``) read and write from outside, over the machine's
network: alone and two sharers at once, one and sixteen requests deep. The two targets take turns. Needs root; without
hardware virtualization the machine is emulated, and only the ratios tell.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from multiattach.drivers.targets.base import Grant, Target, account_name, generate_secret
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.target import LioTarget
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.benchmarks import accounting
from tests.testbed import storage
from tests.testbed.network import Network
from tests.testbed.storage import StorageHost

_SIZE = 128  # MiB of a volume
_CONTROL_PORT = 7
# What qemu-img calls itself; two of them are two sessions.
_INITIATOR = 'iqn.2008-11.org.linux-kvm'
_PORTS = {'lio': 3260, 'tgt': 3270}
_TOLD = Path('/run/data-path.json')
_DONE = re.compile(r'Run completed in ([0-9.]+) seconds')
_BYTES = {'4k': 4 << 10, '1M': 1 << 20}


def export(portals: dict[str, str]) -> None:
    """Inside the machine: export the volumes of a file, and print the names of their targets."""
    targets: dict[str, Target] = {
        'lio': LioTarget(Configfs(), portal=portals['lio'], reservations_dir=storage.DATA / 'reservations'),
        'tgt': TgtTarget(TgtDaemon(_CONTROL_PORT), portal=portals['tgt']),
    }
    for target in targets.values():
        target.check()
    iqns = {}
    for name, told in json.loads(_TOLD.read_text()).items():
        iqns[name] = targets[name].grant(told['id'], told['device'], Grant(*told['grant'])).iqn
    print(json.dumps(iqns))


class Exports:
    """A volume behind each of the two targets."""

    def __init__(self, host: StorageHost, store: str) -> None:
        self._host = host
        self._portals = {name: f'{host.address}:{port}' for name, port in _PORTS.items()}
        self._grants: dict[str, Grant] = {}
        told: dict[str, Any] = {}
        for name in _PORTS:
            ident = str(uuid.uuid4())
            grant = Grant(_INITIATOR, account_name(ident, _INITIATOR), generate_secret())
            words = grant.initiator, grant.username, grant.secret, grant.mode
            told[name] = {'id': ident, 'device': self._make_volume(name, store), 'grant': words}
            self._grants[name] = grant
        host.spawn(f'tgtd -f -C {_CONTROL_PORT} -t 16 --iscsi portal={self._portals["tgt"]}', 'tgtd')
        host.check(f'for i in $(seq 60); do tgtadm -C {_CONTROL_PORT} --op show --mode sys && break; sleep 1; done')
        host.put_file(_TOLD, json.dumps(told).encode(), 0o600)
        self._iqns = json.loads(
            host.run_python('-m', 'tests.benchmarks.data_path', '--export', *self._portals.values()).splitlines()[-1]
        )

    def _make_volume(self, name: str, store: str) -> str:
        if store == 'lvm':
            device = f'/dev/{storage.VOLUME_GROUP}/{name}'
            self._host.make_group()
            self._host.check(f'lvcreate -y -q -n {name} -L {_SIZE}M {storage.VOLUME_GROUP}')
        else:
            device = f'{storage.DATA}/{name}'
        self._host.check(
            f'dd if=/dev/zero of={device} bs=1M count={_SIZE} conv=fsync,nocreat 2>/dev/null || '
            f'dd if=/dev/zero of={device} bs=1M count={_SIZE} conv=fsync'
        )
        return device

    def run(self, name: str, sharers: int, words: list[str]) -> float:
        """Have sharers do the same at once; return the seconds that the slowest took."""
        grant = self._grants[name]
        url = f'iscsi://{self._portals[name]}/{self._iqns[name]}/1'
        argv = self._host.network.wrap(['timeout', '300', 'qemu-img', 'bench', '-f', 'raw', '-t', 'none', *words, url])
        told = {**os.environ, 'LIBISCSI_CHAP_USERNAME': grant.username, 'LIBISCSI_CHAP_PASSWORD': grant.secret}
        running = [
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=told)
            for _ in range(sharers)
        ]
        taken = []
        for process in running:
            said, _ = process.communicate()
            found = _DONE.search(said)
            if found is None:
                raise SystemExit(f'qemu-img bench failed: {said}')
            taken.append(float(found[1]))
        return max(taken)


def measure(exports: Exports, pid: int, counts: dict[str, int], rounds: int) -> None:
    """Print a line for each kind of load.

    :param pid: the machine's QEMU, whose CPU time is counted.
    :param counts: requests of each sharer, by their size.
    """
    print(f'{"":<34}{"tgt":>22}{"lio":>22}{"lio : tgt":>24}')
    print(f'{"":<34}' + f'{"requests/s":>12}{"CPU ms":>10}' * 2 + f'{"requests/s":>14}{"CPU":>10}')
    for size, depth, sharers, way in itertools.product(_BYTES, (1, 16), (1, 2), ('read', 'write')):
        count = counts[size]
        words = ['-c', str(count), '-d', str(depth), '-s', str(_BYTES[size]), *(['-w'] if way == 'write' else [])]
        rates: dict[str, list[float]] = {name: [] for name in _PORTS}
        spent: dict[str, list[float]] = {name: [] for name in _PORTS}
        for number in range(rounds):
            for name in sorted(_PORTS, reverse=not number % 2):  # in turns
                before = accounting.cpu_seconds([pid])
                rates[name].append(count * sharers / exports.run(name, sharers, words))
                spent[name].append((accounting.cpu_seconds([pid]) - before) * 1e3 / count / sharers)
        line = f'{size} {way}, {depth} deep, {sharers} sharer{"s"[: sharers - 1]}'
        rate, cpu = ({name: statistics.median(one) for name, one in each.items()} for each in (rates, spent))
        columns = ''.join(f'{rate[name]:>12,.0f}{cpu[name]:>10.2f}' for name in ('tgt', 'lio'))
        print(f'{line:<34}{columns}{rate["lio"] / rate["tgt"]:>14.2f}{cpu["lio"] / cpu["tgt"]:>10.2f}', flush=True)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.data_path',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--store', choices=('file', 'lvm'), default='file', help='what volumes are (default: file)')
    parser.add_argument('--rounds', type=int, default=3, help='times that each load runs (default: 3)')
    parser.add_argument('--count', type=int, default=1000, help='requests of 4 KiB of each sharer (default: 1000)')
    parser.add_argument('--export', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(dict(zip(_PORTS, options.export, strict=True)))
        return
    with tempfile.TemporaryDirectory(prefix='ma-data-path-') as folder, Network() as network:
        host = StorageHost(network, Path(folder) / 'storage')
        host.boot()
        try:
            exports = Exports(host, options.store)
            counts = {'4k': options.count, '1M': max(options.count // 10, 1)}
            measure(exports, host.pid, counts, options.rounds)
        finally:
            host.stop()


if __name__ == '__main__':
    sys.exit(main())
