# SPDX-License-Identifier: Apache-2.0
"""Gateways that stand still for long, and members that have to wait while one does."""

import contextlib
import os
import signal
import threading
import time
import zlib

import pytest

from multiattach.coordination import connect, disconnect
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.pool import Cluster, Pool
from multiattach.drivers.ceph.sessions import read_sessions
from tests.deployments.gateways import POOL, Deployment
from tests.functional.cluster.client import Client
from tests.functional.drivers.gateways.paths import login
from tests.functional.drivers.gateways.test_gateways import attached
from tests.functional.drivers.targets.tgt.initiator import BLOCK, IoFailed
from tests.testbed.polling import wait_until

pytestmark = pytest.mark.slow
_SOON = 15  # s that a monitor remembers a silent client; 300 by itself


def test_a_step_that_waits_for_a_lock_keeps_nobody_from_seeing_who_hangs(
    cloud: Deployment, client: Client, volume: str
) -> None:
    right = cloud.right
    assert right.process is not None
    coordinator = connect(f'{cloud.redis.url}?timeout=5', 'another step')
    lock = coordinator.get_lock(f'multiattach-volume-{zlib.crc32(volume.encode()) % 1024:04d}'.encode())
    with attached(client, volume, 'a'):
        assert lock.acquire()
        pids = [right.process.pid, right.tgtd]
        try:
            cloud.execute(
                "UPDATE gateway_exports SET state = 'failed', state_at = '2020-01-01' "
                "WHERE volume_id = ? AND gateway = 'left@fast'",
                volume,
            )
            time.sleep(2)  # the left one has begun to put it right, and waits for the lock
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            cloud.wait_state(right, 'lost', 22)
        finally:
            lock.release()
            for pid in pids[::-1]:
                os.kill(pid, signal.SIGCONT)
        cloud.wait_exported(volume)
    disconnect(coordinator)


def test_nothing_lands_late_of_a_gateway_that_slept_while_nobody_looked(
    cloud: Deployment, client: Client, volume: str
) -> None:
    """All machines stand still for so long that Ceph forgets their clients, and one of them wakes first."""
    left, right = cloud.left, cloud.right
    assert left.process is not None
    assert right.process is not None
    pool = Pool(library.load(), Cluster(str(cloud.ceph.conf), 'admin', 'ceph', POOL), 30)
    cloud.ceph.ask('config set', who='mon', name='mon_session_timeout', value=str(_SOON))
    with contextlib.ExitStack() as stack:
        stack.callback(cloud.ceph.ask, 'config rm', who='mon', name='mon_session_timeout')
        # With the sessions that they have the monitor is patient.
        for gateway in cloud.gateways:
            gateway.kill()
            gateway.restart()
        for gateway in cloud.gateways:
            cloud.wait_state(gateway, 'serving')
        (place,) = stack.enter_context(attached(client, volume, 'a'))
        cloud.wait_exported(volume)
        far = login(place, right.portal, 300)
        far.write(0, b'first'.ljust(BLOCK))
        own = cloud.list_watchers(volume)
        wait_until(lambda: own <= cloud.list_noted(), 90, 'a note of what they run', 0.5)
        pids = [left.process.pid, right.process.pid, right.tgtd]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

        def write() -> None:
            with contextlib.suppress(IoFailed):
                far.write(0, b'late'.ljust(BLOCK))

        writing = threading.Thread(target=write)
        writing.start()

        def is_forgotten() -> bool:
            return not read_sessions(pool).list_of('client.gateway-right') and len(cloud.list_watchers(volume)) == 1

        try:
            wait_until(is_forgotten, 120, 'the end of its sessions and of its watch', 0.5)
            os.kill(pids[0], signal.SIGCONT)
            cloud.wait_state(right, 'lost')
            with login(place, left.portal, 60) as session:
                session.write(0, b'after'.ljust(BLOCK))
        finally:
            os.kill(pids[0], signal.SIGCONT)
            os.kill(pids[2], signal.SIGCONT)
        writing.join(60)
        assert cloud.read(volume, 0, 5) == b'after'
        os.kill(pids[1], signal.SIGCONT)
        cloud.wait_exported(volume)
