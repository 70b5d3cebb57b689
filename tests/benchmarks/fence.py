# SPDX-License-Identifier: Apache-2.0
"""How long a fence takes, on a real target under write load: ``python -m tests.benchmarks.fence``.

It starts a private tgtd and a control plane (SQLite, RPC in process, the API as WSGI) in a folder of its
own, and needs root, like tgtd. Initiators (libiscsi) write from a process of their own.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any

import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.deployments import embedded
from tests.functional.drivers.targets.tgt.conftest import free_portal
from tests.testbed.polling import wait_until

# s; the others log in again after each fence, and are to be writing when the next one comes.
_RETURN = 1.5
HEADERS = {'OpenStack-API-Version': 'volume 3.71'}
Logins = list[tuple[dict[str, Any], str]]


class Writers:
    """Initiators that write, and how many of them were cut off.

    :param logins: connection_info and initiator.
    :param writing: how many of them write all the time; the others once in a while.
    :param comes_back: whether they log in again when their sessions are ended.
    """

    def __init__(self, logins: Logins, writing: int = 1000, *, comes_back: bool = False) -> None:
        self.failures = 0
        more = ['--come-back'] if comes_back else []
        self._child = subprocess.Popen(
            [sys.executable, '-m', 'tests.benchmarks.writers', str(writing), *more],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdin is not None
        self._child.stdin.write(
            json.dumps(
                [
                    [info['target_portal'], info['target_iqn'], initiator, info['auth_username'], info['auth_password']]
                    for info, initiator in logins
                ]
            )
            + '\n'
        )
        self._child.stdin.flush()

    def __enter__(self) -> 'Writers':
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == 'ready\n', 'an initiator did not log in'
        threading.Thread(target=self._count, args=(self._child.stdout,), daemon=True).start()
        return self

    def _count(self, lines: Iterable[str]) -> None:
        for _ in lines:
            self.failures += 1

    def await_cut(self, number: int) -> None:
        """Wait until so many have noticed."""
        wait_until(lambda: self.failures >= number, 20, lambda: f'{self.failures} of {number} initiators noticed', 0.02)

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(60)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class Bench:
    """A control plane over a real tgtd.

    :param deployed: its parts.
    """

    def __init__(self, deployed: embedded.Deployment) -> None:
        self._deployed = deployed
        self._app = webtest.TestApp(deploy.make_application(deployed.engine, ApiSettings()))
        deployed.make_type()

    def attach(self, volume_id: str, host: str) -> tuple[str, dict[str, Any], str]:
        row = self._deployed.engine.attachments.create(
            self._deployed.ctx,
            volume_id,
            str(uuid.uuid4()),
            {'host': host, 'initiator': f'iqn.1994-05.com.redhat:{host}'},
            None,
        )
        self._deployed.engine.attachments.complete(self._deployed.ctx, row.id)
        return row.id, dict(row.connection_info), row.initiator or ''

    def fence(self, path: str) -> tuple[float, dict[str, Any]]:
        began = time.perf_counter()
        reply = self._app.post_json(f'/v3/multiattach/{path}/fence', {'fence': {}}, headers=HEADERS)
        return time.perf_counter() - began, reply.json['fence']

    def measure_one(self, rounds: int, others: int) -> list[float]:
        """Fence one writer of a volume that others write to; seconds of each round."""
        volume_id = self._deployed.make_volume('multi')
        kept = [self.attach(volume_id, f'kept-{number}') for number in range(others)]
        mine = [self.attach(volume_id, f'fenced-{number}') for number in range(rounds)]
        taken = []
        with Writers([one[1:] for one in kept], comes_back=True) as survivors:
            for one in mine:
                time.sleep(_RETURN)
                with Writers([one[1:]]) as writer:
                    seconds, found = self.fence(f'attachments/{one[0]}')
                    taken.append(seconds)
                    sessions = found['attachments'][0]['proof']['cut']['sessions']
                    assert len(sessions) == 1, sessions
                    writer.await_cut(1)
            assert survivors.failures == 0
        return taken

    def measure_host(self, number: int) -> float:
        """Fence a host that has so many attachments, each of a volume of its own."""
        mine = [self.attach(self._deployed.make_volume('multi'), 'full') for _ in range(number)]
        with Writers([one[1:] for one in mine], writing=4) as writers:
            seconds, found = self.fence('hosts/full')
            assert found['complete']
            assert len(found['attachments']) == number
            assert all(len(one['proof']['cut']['sessions']) == 1 for one in found['attachments'])
            writers.await_cut(number)
        return seconds


def main() -> int:
    """Measure, print a table, and say whether the aims are met.

    :returns: exit status; 1 if an aim is missed.
    """
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.fence',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--rounds', type=int, default=20, help='fences of one attachment (default: 20)')
    parser.add_argument('--others', type=int, default=1, help='other writers of the volume (default: 1)')
    parser.add_argument('--host', type=int, default=100, help='attachments of the host (default: 100)')
    parser.add_argument('--json', type=pathlib.Path, help='write the results there')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tgtd = PrivateTgtd(portal=free_portal(), threads=1)
        tgtd.start()
        try:
            target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=pathlib.Path(folder, 'targets'))
            with embedded.deploy(pathlib.Path(folder), target, report_interval=10) as deployed:
                bench = Bench(deployed)
                one = sorted(bench.measure_one(args.rounds, args.others)) if args.rounds else []
                host = bench.measure_host(args.host) if args.host else None
        finally:
            tgtd.stop()
    found = {
        'load': os.getloadavg()[0],
        'one_median_ms': round(statistics.median(one) * 1e3, 1) if one else None,
        'one_worst_ms': round(one[-1] * 1e3, 1) if one else None,
        'host_attachments': args.host,
        'host_s': None if host is None else round(host, 3),
    }
    for name, value in found.items():
        print(f'{name:20} {value}')
    if args.json:
        args.json.write_text(json.dumps(found) + '\n')
    return int((bool(one) and statistics.median(one) > 0.05) or (host is not None and host > 2))


if __name__ == '__main__':
    sys.exit(main())
