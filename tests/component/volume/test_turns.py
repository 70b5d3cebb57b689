# SPDX-License-Identifier: Apache-2.0
"""Few steps compute at once; those that wait for the target or for a volume hold up nobody."""

import concurrent.futures
import threading
import uuid
import zlib

import pytest

from multiattach.drivers.targets.null import NullTarget
from multiattach.turns import Turns
from tests.deployments import embedded
from tests.testbed.polling import wait_until

MOST, STEPS = 2, 8


class SlowTarget(NullTarget):
    def __init__(self):
        super().__init__()
        self.inside = []
        self.gate = threading.Event()

    def grant(self, volume_id, device, grant):
        self.inside.append(volume_id)
        assert self.gate.wait(30)
        return super().grant(volume_id, device, grant)


@pytest.fixture
def slow(tmp_path):
    target = SlowTarget()
    with embedded.deploy(tmp_path, target, report_interval=600) as deployed:
        deployed.exporter._turns = Turns(MOST, patience=60)
        deployed.make_type()
        yield deployed
        target.gate.set()


def attach(deployed, volume_id, host):
    connector = {'host': f'h{host}', 'initiator': f'iqn.1994-05.com.example:h{host}'}
    return deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), connector, 'rw')


def make_volumes(deployed, count):
    """Make volumes of which none has another one's lock; 1,024 of them are there for all."""
    found = {}
    while len(found) < count:
        volume = deployed.make_volume('multi')
        found[zlib.crc32(volume.encode()) % 1024] = volume
    return list(found.values())


def test_who_waits_for_the_target_has_no_turn(slow):
    volumes = make_volumes(slow, STEPS)
    with concurrent.futures.ThreadPoolExecutor(STEPS) as pool:
        calls = [pool.submit(attach, slow, volume, number) for number, volume in enumerate(volumes)]
        wait_until(lambda: len(slow.target.inside) == STEPS, 20, 'all of them at the target', 0.01)
        slow.target.gate.set()
        for call in calls:
            call.result(30)


def test_who_waits_for_a_volume_has_no_turn(slow):
    shared, other = make_volumes(slow, 2)
    with concurrent.futures.ThreadPoolExecutor(STEPS) as pool:
        calls = [pool.submit(attach, slow, shared, number) for number in range(STEPS - 1)]
        wait_until(lambda: shared in slow.target.inside, 20, 'the first one', 0.01)
        calls.append(pool.submit(attach, slow, other, STEPS))
        wait_until(lambda: other in slow.target.inside, 20, 'that of another volume', 0.01)
        slow.target.gate.set()
        for call in calls:
            call.result(30)


def test_few_compute_at_once(slow, monkeypatch):
    slow.target.gate.set()
    volumes = make_volumes(slow, STEPS)
    exporter = slow.exporter
    plan, inside, gate = exporter._exports.plan, [], threading.Event()

    def held(ident):
        inside.append(ident)
        assert gate.wait(30)
        return plan(ident)

    monkeypatch.setattr(exporter._exports, 'plan', held)
    with concurrent.futures.ThreadPoolExecutor(STEPS) as pool:
        calls = [pool.submit(attach, slow, volume, number) for number, volume in enumerate(volumes)]
        try:
            wait_until(lambda: len(exporter._turns._fresh) == STEPS - MOST, 20, 'the others', 0.01)
            assert len(inside) == MOST
        finally:
            gate.set()
        for call in calls:
            call.result(30)
    assert len(inside) == STEPS
