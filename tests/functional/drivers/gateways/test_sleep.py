# SPDX-License-Identifier: Apache-2.0
"""Gateways that stand still for long, and members that have to wait while one does."""

import os
import signal
import time
import zlib

import pytest

from multiattach.coordination import connect, disconnect
from tests.deployments.gateways import Deployment
from tests.functional.cluster.client import Client
from tests.functional.drivers.gateways.test_gateways import attached

pytestmark = pytest.mark.slow


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
