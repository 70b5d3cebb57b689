# SPDX-License-Identifier: Apache-2.0
"""What a step costs where the kernel exports images, few and many: ``python -m tests.benchmarks.kernel_images``.

It starts a private Ceph and a storage machine whose kernel maps the images and exports them, and takes the driver's
steps there, with each count of exported images beside. Needs root; without hardware virtualization the machine is
emulated, and only the ratios tell.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multiattach.drivers.ceph import library
from multiattach.drivers.targets.base import Grant, account_name, generate_secret
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.target import LioTarget
from tests.testbed import storage
from tests.testbed.ceph import Ceph
from tests.testbed.network import Network
from tests.testbed.storage import StorageHost

_POOL = 'bench'
_CONF = storage.DATA / 'ceph.conf'
_SIZE = 64 << 20


class Steps:
    """Inside the machine: the driver, and images for it."""

    def __init__(self) -> None:
        self._target = LioTarget(Configfs(), portal='127.0.0.1:3260', reservations_dir=storage.DATA / 'reservations')
        self._target.check()
        self._target.check_images()
        rados, self._rbd = library.load()
        self._cluster = rados.Rados(rados_id='admin', conffile=str(_CONF))
        self._cluster.connect()
        self._io = self._cluster.open_ioctx(_POOL)
        self._beside = 0
        self.figures: dict[str, dict[int, dict[str, float]]] = {}

    def _make(self) -> str:
        ident = str(uuid.uuid4())
        self._rbd.RBD().create(self._io, f'volume-{ident}', _SIZE, old_format=False, features=1)
        return ident

    def _grant(self, ident: str, number: int) -> None:
        initiator = f'iqn.1994-05.com.example:h-{number}'
        grant = Grant(initiator, account_name(ident, initiator), generate_secret())
        self._target.grant(ident, f'rbd:{_POOL}/volume-{ident}:id=admin:conf={_CONF}', grant)

    def _fence(self, ident: str, number: int, *, alone: bool = False) -> None:
        initiator = f'iqn.1994-05.com.example:h-{number}'
        cut = self._target.fence(ident, initiator, account_name(ident, initiator), alone=alone)
        assert cut.whole
        assert not cut.is_left

    def fill(self, count: int) -> None:
        for _ in range(count - self._beside):
            self._grant(self._make(), 0)
        self._beside = max(self._beside, count)

    def measure(self, rounds: int) -> None:
        idents = [self._make() for _ in range(rounds)]
        self._take('attach', lambda ident: self._grant(ident, 1), idents)
        self._take('attach a second one', lambda ident: self._grant(ident, 2), idents)
        self._take('fence', lambda ident: self._fence(ident, 1), idents)
        self._take('detach the last one', lambda ident: self._fence(ident, 2, alone=True), idents)
        self._take('list', lambda _: self._target.list_exports(), range(3))

    def _take(self, name: str, step: Callable[[Any], None], subjects: Any) -> None:
        before, taken = _read_cpu(), []
        for subject in subjects:
            began = time.perf_counter()
            step(subject)
            taken.append((time.perf_counter() - began) * 1e3)
        spent = (_read_cpu() - before) * 1e3 / len(taken)
        found = {'ms': statistics.median(taken), 'CPU ms of the driver': spent}
        self.figures.setdefault(name, {})[self._beside] = found


def _read_cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run_inside(counts: list[int], rounds: int) -> None:
    """Take the steps, and print the figures."""
    steps = Steps()
    for count in counts:
        steps.fill(count)
        steps.measure(rounds)
    print(json.dumps(steps.figures))


def show(figures: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a line for each step."""
    for name, its in figures.items():
        for unit in next(iter(its.values())):
            columns = ''.join(f'{values[unit]:>12,.1f}' for values in its.values())
            print(f'{f"{name}, {unit}":<46}{columns}')


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.kernel_images',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--counts', nargs='+', type=int, default=[10, 100], help='images beside (default: 10 100)')
    parser.add_argument('--rounds', type=int, default=10, help='times that each step is taken (default: 10)')
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_inside(options.counts, options.rounds)
        return
    with (
        tempfile.TemporaryDirectory(prefix='ma-kernel-images-') as folder,
        Network() as network,
        Ceph(Path(folder) / 'ceph', network) as ceph,
    ):
        ceph.make_pool(_POOL)
        host = StorageHost(network, Path(folder) / 'storage')
        host.boot()
        try:
            host.put_file(storage.DATA / 'keyring', (ceph.folder / 'keyring').read_bytes(), 0o600)
            host.put_file(_CONF, ceph.conf.read_text().replace(str(ceph.folder), str(storage.DATA)).encode())
            words = ['--counts', *map(str, options.counts), '--rounds', str(options.rounds)]
            shown = host.run_python('-m', 'tests.benchmarks.kernel_images', '--inside', *words, timeout=1500)
            show(json.loads(shown.splitlines()[-1]))
        finally:
            host.stop()


if __name__ == '__main__':
    main()
