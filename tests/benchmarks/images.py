# SPDX-License-Identifier: Apache-2.0
"""What images in Ceph cost, with few and with many beside them: ``python -m tests.benchmarks.images``.

It starts a private Ceph, MariaDB, RabbitMQ, the API under uWSGI and a volume worker with a private tgtd, and makes
images with an attachment each through REST. At each count it then makes, attaches, fences, detaches and deletes some
more, and measures milliseconds of each and CPU milliseconds by part. What the parts take while nobody asks for anything
(a client of Ceph for each image that tgtd has open) is told apart, and taken off.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

from multiattach.drivers.ceph.pool import MONITORS
from multiattach.drivers.connectors.rbd import CEPHX
from tests.benchmarks import accounting
from tests.benchmarks.parts import Parts
from tests.benchmarks.wire import Endpoint, RequestError, Wire
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until

_POOL = 'bench'
_TYPE = 'shared'
Ask = Callable[..., Any]


class ImageParts(Parts):
    """The production parts, with volumes on a private Ceph.

    :param driver: how images are reached: ``tgt``, or ``rbd`` for natively.
    """

    def __init__(self, folder: pathlib.Path, driver: str) -> None:
        super().__init__(folder, 'null')
        self.driver = driver
        self.ceph = Ceph(self.folder / 'ceph')

    def _prepare(self) -> None:
        self._stack.enter_context(self.ceph)
        self.ceph.ask('osd set-require-min-compat-client', version='mimic')
        self.ceph.make_pool(_POOL)
        capability = f'profile rbd pool={_POOL}'
        conf = self.ceph.make_user(_POOL, capability)
        self.ceph.ask('auth caps', entity=f'client.{_POOL}', caps=['mon', MONITORS, 'osd', capability])
        wait_until(self._has_room, 60, 'figures of the pool', 0.2)
        with self.conf.open('a') as file:
            file.write(
                f'[volume]\nenabled_backends = fast\n[fast]\ndriver = rbd\ntarget_driver = {self.driver}\n'
                f'rbd_pool = {_POOL}\nrbd_user = {_POOL}\nrbd_ceph_conf = {conf}\n'
                'max_over_subscription_ratio = 1000\n'  # images are thin, and the pool is small
            )

    def _has_room(self) -> bool:
        return any(one['name'] == _POOL and one['stats']['max_avail'] for one in self.ceph.ask('df')['pools'])

    @property
    def endpoint(self) -> Endpoint:
        found = super().endpoint
        return Endpoint(f'http://{":".join(map(str, found.address))}{found.prefix}', 'admin:' + 'b' * 32, 71)

    def list_pids(self) -> dict[str, list[int]]:
        """List the processes of each part; what comes of them counts with them, so tgtd with the worker, too."""
        worker, api = (self._daemons[name].pid for name in ('worker', 'api'))
        family = accounting.list_family([worker])
        tgtd = [pid for pid in family if pathlib.Path(f'/proc/{pid}/comm').read_text().startswith('tgtd')]
        return {
            'api': [api],
            'worker': [worker],
            'tgtd': tgtd,
            'database and broker': self.account.servers,
            'Ceph': [daemon.pid for daemon in self.ceph.daemons],
        }


class Images:
    """Volumes and attachments, made and unmade by requests.

    :param more: what the connectors of all hosts say besides.
    """

    def __init__(self, wire: Wire, more: dict[str, str]) -> None:
        self._ask = wire.call
        self._more = more

    def make_type(self) -> None:
        """Make the type of all volumes."""
        self._ask('POST', '/types', {'volume_type': {'name': _TYPE, 'extra_specs': {'multiattach': '<is> True'}}})

    def create(self) -> str:
        """Make a volume; it is available when it returns."""
        ident = str(self._ask('POST', '/volumes', {'volume': {'size': 1, 'volume_type': _TYPE}})['volume']['id'])
        while (status := self._ask('GET', f'/volumes/{ident}')['volume']['status']) == 'creating':
            time.sleep(0.005)
        assert status == 'available', status
        return ident

    def attach(self, volume_id: str) -> str:
        """Attach a volume to a host of its own."""
        host = f'h-{uuid.uuid4()}'
        connector = {'host': host, 'initiator': f'iqn.1994-05.com.example:{host}', 'ip': '192.0.2.7', **self._more}
        wish = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': connector}
        ident = str(self._ask('POST', '/attachments', {'attachment': wish})['attachment']['id'])
        self._ask('POST', f'/attachments/{ident}/action', {'os-complete': None})
        return ident

    def fence(self, attachment_id: str) -> None:
        """Fence an attachment, and see that there is a proof."""
        reply = self._ask('POST', f'/multiattach/attachments/{attachment_id}/fence', {'fence': {}})
        assert all(one['proof'] for one in reply['fence']['attachments'])

    def detach(self, attachment_id: str) -> None:
        """Delete an attachment."""
        self._ask('DELETE', f'/attachments/{attachment_id}')

    def delete(self, volume_id: str) -> None:
        """Delete a volume; it is gone when it returns."""
        self._ask('DELETE', f'/volumes/{volume_id}')
        with contextlib.suppress(RequestError):
            while self._ask('GET', f'/volumes/{volume_id}')['volume']['status'] == 'deleting':
                time.sleep(0.005)
            raise SystemExit('A volume was not deleted.')


class Scene:
    """What is measured at each count."""

    def __init__(self, parts: ImageParts, rounds: int) -> None:
        self._parts = parts
        self._rounds = rounds
        self._images = Images(Wire(parts.endpoint), CEPHX if parts.driver == 'rbd' else {})
        self._images.make_type()
        self._beside = 0
        self.figures: dict[str, dict[str, float]] = {}
        self._idle: dict[str, float] = {}  # CPU ms a ms, by part

    def fill(self, count: int) -> None:
        """Have so many images with an attachment each."""
        began = time.monotonic()
        for _ in range(count - self._beside):
            self._images.attach(self._images.create())
        self._beside = max(self._beside, count)
        print(f'{count} images with attachments, after {time.monotonic() - began:.0f} s more', flush=True)

    def measure(self) -> None:
        """Take each step, some times one after the other."""
        images = self._images
        volumes = self._take('create', lambda _: images.create(), range(self._rounds))
        fenced = self._take('attach', images.attach, volumes)
        kept = self._take('attach a second one', images.attach, volumes)
        self._take('fence', images.fence, fenced)
        self._take('detach the last one', images.detach, kept)
        self._take('delete', images.delete, volumes)
        pids = self._parts.list_pids()
        memory = {part: accounting.memory_mib(pids[part]) for part in ('worker', 'tgtd', 'Ceph')}
        memory['worker'] -= memory['tgtd']
        for part, value in memory.items():
            self._put(f'memory of {part}, MiB', value)
        self._put('threads of tgtd', sum(len(os.listdir(f'/proc/{pid}/task')) for pid in pids['tgtd']))

    def rest(self, seconds: float) -> None:
        """Measure what it costs while nobody asks for anything."""
        before = self._read_cpu()
        time.sleep(seconds)
        self._idle = {part: (spent - before[part]) / seconds for part, spent in self._read_cpu().items()}
        for part, share in self._idle.items():
            self._put(f'idle: CPU ms a second, {part}', share * 1e3)

    def _take(self, name: str, step: Callable[[Any], Any], subjects: Any) -> list[Any]:
        before, taken, results = self._read_cpu(), [], []
        for subject in subjects:
            began = time.perf_counter()
            results.append(step(subject))
            taken.append((time.perf_counter() - began) * 1e3)
        self._put(f'{name}: ms', statistics.median(taken))
        spent = {part: (now - before[part]) * 1e3 / len(taken) for part, now in self._read_cpu().items()}
        for part, value in spent.items():
            self._put(f'{name}: CPU ms, {part}', value)
        self._put(f'{name}: CPU ms, all', sum(spent.values()))
        idle = sum(self._idle.values()) * statistics.fmean(taken)
        self._put(f'{name}: CPU ms, all but idle', sum(spent.values()) - idle)
        return results

    def _read_cpu(self) -> dict[str, float]:
        spent = {part: accounting.cpu_seconds(pids) for part, pids in self._parts.list_pids().items()}
        spent['worker'] -= spent['tgtd']
        return spent

    def _put(self, name: str, value: float) -> None:
        self.figures.setdefault(name, {})[str(self._beside)] = round(value, 2)

    def show(self) -> None:
        """Print all figures, a column for each count."""
        for name, values in self.figures.items():
            print(f'{name:<44}' + ''.join(f'{value:>12,.2f}' for value in values.values()))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.images',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--counts', nargs='+', type=int, default=[10, 500], help='images beside (default: 10 500)')
    parser.add_argument('--rounds', type=int, default=20, help='times that each step is taken (default: 20)')
    parser.add_argument('--rest', type=float, default=10, help='seconds to look at while nothing happens (default: 10)')
    parser.add_argument('--driver', choices=('tgt', 'rbd'), default='tgt', help='gateway or natively (default: tgt)')
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the figures there, too')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    with (
        tempfile.TemporaryDirectory(prefix='ma-images-') as folder,
        ImageParts(pathlib.Path(folder), options.driver) as parts,
    ):
        scene = Scene(parts, options.rounds)
        for count in options.counts:
            scene.fill(count)
            scene.rest(options.rest)
            scene.measure()
        scene.show()
    if options.json:
        options.json.write_text(json.dumps(scene.figures, indent=1) + '\n')


if __name__ == '__main__':
    main()
