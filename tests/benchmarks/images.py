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
import subprocess
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
_IDLE = 'idle'
_POLL = 0.05  # seconds; a request more for whoever takes longer says nothing of the step
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
        """List the processes of each part, with all that came of them."""
        worker, api = (accounting.list_family([self._daemons[name].pid]) for name in ('worker', 'api'))
        tgtd = [pid for pid in worker if pathlib.Path(f'/proc/{pid}/comm').read_text().startswith('tgtd')]
        return {
            'api': api,
            'worker': [pid for pid in worker if pid not in tgtd],
            'tgtd': tgtd,
            'database and broker': accounting.list_family(self.account.servers),
            'Ceph': accounting.list_family(daemon.pid for daemon in self.ceph.daemons),
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
            time.sleep(_POLL)
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
                time.sleep(_POLL)
            raise SystemExit('A volume was not deleted.')


class Scene:
    """What is measured at each count, and again if a count comes again."""

    def __init__(self, parts: ImageParts, rounds: int) -> None:
        self._parts = parts
        self._rounds = rounds
        self._images = Images(Wire(parts.endpoint), CEPHX if parts.driver == 'rbd' else {})
        self._images.make_type()
        self._beside: list[tuple[str, str]] = []  # volumes and attachments
        self._pids: dict[str, list[int]] = {}
        #: a value for each count, by what it is of
        self.figures: dict[str, list[float]] = {}

    def fill(self, count: int) -> None:
        """Have so many images with an attachment each, neither more nor fewer."""
        began, images = time.monotonic(), self._images
        while len(self._beside) < count:
            volume = images.create()
            self._beside.append((volume, images.attach(volume)))
        while len(self._beside) > count:
            volume, attachment = self._beside.pop()
            images.detach(attachment)
            images.delete(volume)
        self._pids = self._parts.list_pids()
        print(f'{count} images with attachments, after {time.monotonic() - began:.0f} s', flush=True)

    def measure(self, rest: float) -> None:
        """Take all steps in turns, so that whatever else the machine does meets each of them.

        :param rest: seconds before each step in which nothing is asked for; what the parts take then is told apart.
        """
        taken: dict[str, list[float]] = {}
        spent: dict[str, list[dict[str, float]]] = {}

        def take(name: str, step: Callable[[], Any]) -> Any:
            pause(rest)
            before, began = self._read_cpu(), time.perf_counter()
            result = step()
            taken.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
            spent.setdefault(name, []).append(self._compare(before))
            return result

        def pause(seconds: float) -> None:
            before, began = self._read_cpu(), time.perf_counter()
            time.sleep(seconds)
            taken.setdefault(_IDLE, []).append((time.perf_counter() - began) * 1e3)
            spent.setdefault(_IDLE, []).append(self._compare(before))

        images = self._images
        for _ in range(self._rounds):
            volume = take('create', images.create)
            first = take('attach', lambda: images.attach(volume))  # noqa: B023 - called at once
            second = take('attach a second one', lambda: images.attach(volume))  # noqa: B023
            take('fence', lambda: images.fence(first))  # noqa: B023
            take('detach the last one', lambda: images.detach(second))  # noqa: B023
            take('delete', lambda: images.delete(volume))  # noqa: B023
        rested = sum(taken.pop(_IDLE))
        idle = {part: sum(one[part] for one in spent[_IDLE]) / rested for part in self._pids}
        for name, walls in taken.items():
            self._put(f'{name}: ms', statistics.median(walls))
            own = {
                part: statistics.median(
                    one[part] - idle[part] * wall for one, wall in zip(spent[name], walls, strict=True)
                )
                for part in self._pids
            }
            for part, value in own.items():
                self._put(f'{name}: CPU ms, {part}', value)
            self._put(f'{name}: CPU ms, all', sum(own.values()))
        for part, share in idle.items():
            self._put(f'idle: CPU ms a second, {part}', share * 1e3)
        memory = {part: accounting.memory_mib(self._pids[part]) for part in ('worker', 'tgtd', 'Ceph')}
        memory['worker'] -= memory['tgtd']
        for part, value in memory.items():
            self._put(f'memory of {part}, MiB', value)
        self._put('threads of tgtd', sum(len(os.listdir(f'/proc/{pid}/task')) for pid in self._pids['tgtd']))

    def _compare(self, before: dict[str, float]) -> dict[str, float]:
        return {part: (now - before[part]) * 1e3 for part, now in self._read_cpu().items()}

    def _read_cpu(self) -> dict[str, float]:
        return {part: accounting.read_clocks(pids) for part, pids in self._pids.items()}

    def _put(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(round(value, 2))

    def show(self) -> None:
        """Print all figures, a column for each count."""
        for name, values in self.figures.items():
            print(f'{name:<44}' + ''.join(f'{value:>12,.2f}' for value in values))


def widen_futex_table(pid: int, slots: int) -> None:
    """Give a process more slots for the futexes that its threads wait for.

    From Linux 6.16 a process has its own table, of four slots a processor and 16 at least, and each wake looks through
    all that wait in one. No program can ask for another one than its own: a debugger has tgtd do so (prctl(2),
    PR_FUTEX_HASH).
    """
    word = f'(int)prctl(78, 1, {slots}, 0, 0)'
    said = subprocess.run(['gdb', '-p', str(pid), '-batch', '-ex', f'print {word}'], capture_output=True, text=True)
    if '$1 = 0' not in said.stdout:
        raise SystemExit(f'tgtd has the table of futexes that it had: {said.stdout}{said.stderr}')


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.images',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--counts', nargs='+', type=int, default=[10, 500, 10], help='images beside (default: 10 500 10)'
    )
    parser.add_argument('--rounds', type=int, default=20, help='times that each step is taken (default: 20)')
    parser.add_argument(
        '--rest', type=float, default=0.5, help='seconds without a request before a step (default: 0.5)'
    )
    parser.add_argument('--futex-slots', type=int, metavar='N', help="slots of the table of tgtd's futexes (needs gdb)")
    parser.add_argument('--driver', choices=('tgt', 'rbd'), default='tgt', help='gateway or natively (default: tgt)')
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the figures there, too')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    with (
        tempfile.TemporaryDirectory(prefix='ma-images-') as folder,
        ImageParts(pathlib.Path(folder), options.driver) as parts,
    ):
        scene = Scene(parts, options.rounds)
        for pid in parts.list_pids()['tgtd'] if options.futex_slots else []:
            widen_futex_table(pid, options.futex_slots)
        for count in options.counts:
            scene.fill(count)
            scene.measure(options.rest)
        scene.show()
    if options.json:
        options.json.write_text(json.dumps(scene.figures, indent=1) + '\n')


if __name__ == '__main__':
    main()
