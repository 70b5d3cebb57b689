# SPDX-License-Identifier: Apache-2.0
"""How long a fence takes, on a real target under write load: ``python -m tests.benchmarks.fence``.

It starts a private tgtd and a control plane (SQLite, RPC in process, the API as WSGI) in a folder of its
own, and needs root, like tgtd. Initiators (libiscsi) write from a process of their own.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.drivers.tgt.process import PrivateTgtd
from multiattach.drivers.tgt.target import TgtTarget
from tests import deployment
from tests.functional.drivers.tgt.conftest import free_portal
from tests.functional.drivers.tgt.initiator import IoFailed, Session

HEADERS = {'OpenStack-API-Version': 'volume 3.71'}
BLOCK = b'x' * 4096
Logins = list[tuple[dict[str, Any], str]]


def write(logins: Logins, ready: Any, ends: Any, failures: Any, writing: int) -> None:
    """Log in everywhere and write as fast as it goes, until all have failed or it is told to end.

    :param logins: connection_info and initiator.
    :param ready: event to set once all write.
    :param ends: event that ends it.
    :param failures: counts those that were cut off.
    :param writing: how many of them write all the time; the others once in a while.
    """
    def run(info: dict[str, Any], initiator: str, pause: float) -> None:
        session = Session(info['target_portal'], info['target_iqn'], initiator, info['auth_username'],
                          info['auth_password'])
        started.release()
        try:
            while not ends.is_set():
                session.write(0, BLOCK)
                time.sleep(pause)
        except IoFailed:
            with failures.get_lock():
                failures.value += 1
        session._destroy()

    os.nice(19)  # elsewhere they are other machines, and take no CPU time from the service
    started = threading.Semaphore(0)
    threads = [threading.Thread(target=run, args=(*login, 0 if number < writing else 0.2))
               for number, login in enumerate(logins)]
    for thread in threads:
        thread.start()
    for _ in threads:
        started.acquire()
    ready.set()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def writers(logins: Logins, writing: int = 1000) -> Iterator[Any]:
    """Have initiators write in a process of their own.

    :param logins: connection_info and initiator.
    :param writing: as for :func:`write`.
    :returns: counter of those that were cut off.
    """
    spawn = multiprocessing.get_context('spawn')
    ready, ends, failures = spawn.Event(), spawn.Event(), spawn.Value('i', 0)
    child = spawn.Process(target=write, args=(logins, ready, ends, failures, writing))
    child.start()
    try:
        if not ready.wait(120):
            raise RuntimeError('the initiators did not log in')
        time.sleep(0.5)
        yield failures
    finally:
        ends.set()
        child.join(60)
        if child.is_alive():
            child.kill()


class Bench:
    """A control plane over a real tgtd.

    :param deployed: its parts.
    """

    def __init__(self, deployed: deployment.Deployment) -> None:
        self._deployed = deployed
        self._app = webtest.TestApp(deploy.make_application(deployed.engine, ApiSettings()))
        deployed.make_type()

    def attach(self, volume_id: str, host: str) -> tuple[str, dict[str, Any], str]:
        row = self._deployed.engine.attachments.create(self._deployed.ctx, volume_id, str(uuid.uuid4()), {
            'host': host, 'initiator': f'iqn.1994-05.com.redhat:{host}'}, None)
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
        with writers([one[1:] for one in kept]) as survivors:
            for one in mine:
                with writers([one[1:]]) as failures:
                    seconds, found = self.fence(f'attachments/{one[0]}')
                    taken.append(seconds)
                    sessions = found['attachments'][0]['proof']['cut']['sessions']
                    assert len(sessions) == 1, sessions
                    _wait(failures, 1)
            assert survivors.value == 0
        return taken

    def measure_host(self, number: int) -> float:
        """Fence a host that has so many attachments, each of a volume of its own."""
        mine = [self.attach(self._deployed.make_volume('multi'), 'full') for _ in range(number)]
        with writers([one[1:] for one in mine], writing=4) as failures:
            seconds, found = self.fence('hosts/full')
            assert found['complete']
            assert len(found['attachments']) == number
            assert all(len(one['proof']['cut']['sessions']) == 1 for one in found['attachments'])
            _wait(failures, number)
        return seconds


def _wait(failures: Any, number: int) -> None:
    deadline = time.monotonic() + 20
    while failures.value < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f'only {failures.value} of {number} initiators noticed')
        time.sleep(0.02)


def main() -> int:
    """Measure, print a table, and say whether the aims are met.

    :returns: exit status; 1 if an aim is missed.
    """
    parser = argparse.ArgumentParser(prog='python -m tests.benchmarks.fence', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
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
            with deployment.deploy(pathlib.Path(folder), target, report_interval=10) as deployed:
                bench = Bench(deployed)
                one = sorted(bench.measure_one(args.rounds, args.others)) if args.rounds else []
                host = bench.measure_host(args.host) if args.host else None
        finally:
            tgtd.stop()
    found = {'load': os.getloadavg()[0],
             'one_median_ms': round(statistics.median(one) * 1e3, 1) if one else None,
             'one_worst_ms': round(one[-1] * 1e3, 1) if one else None, 'host_attachments': args.host,
             'host_s': None if host is None else round(host, 3)}
    for name, value in found.items():
        print(f'{name:20} {value}')
    if args.json:
        args.json.write_text(json.dumps(found) + '\n')
    return int((bool(one) and statistics.median(one) > 0.05) or (host is not None and host > 2))


if __name__ == '__main__':
    sys.exit(main())
