# SPDX-License-Identifier: Apache-2.0
"""The wall clock of one worker is an hour ahead or behind, or steps; its monotonic clock is not."""

import time

import pytest

from tests.deployments.failpoints import DURATION, Deployment, Victim
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client, Place, do_all
from tests.functional.disturbances.clock import HOUR, WallClock
from tests.functional.failpoints.scenarios import Scenario
from tests.testbed.polling import wait_until

pytestmark = pytest.mark.slow  # a deployment of its own, whose workers are started again and again
Clocked = tuple[Deployment, WallClock]
# Its order comes over the broker; after its answer, and in the middle of its work.
POINTS = ('volume.export.granted', 'volume.unexport.turned_away')


def restart(victim: Victim, rules: str | None) -> None:
    victim.arm(rules)
    victim.wait_ready()


def reach(cloud: Deployment, victim: Victim, point: str, action: str) -> Scenario:
    """Do it until the victim dies of it: the workers get orders in turn."""
    for number in range(12):
        scenario = Scenario(cloud, action)
        scenario.prepare()
        if number == 0:
            restart(victim, f'{point}=kill')
        elif number % 3 == 0:
            scenario.make_one_more()
        scenario.begin(1)
        wait_until(
            lambda scenario=scenario: victim.is_dead or (scenario.is_answered and not cloud.list_open()),
            30,
            'a death, or an end',
            0.02,
        )
        time.sleep(0.1)
        if victim.is_dead:
            return scenario
        scenario.await_answer()
        scenario.clean()
    raise AssertionError(f'nobody came to {point}')


@pytest.mark.parametrize(
    ('step', 'point', 'action', 'state'),
    [
        (HOUR, POINTS[0], 'connect', 'exported'),
        (-HOUR, POINTS[0], 'connect', 'exported'),
        (HOUR, POINTS[1], 'disconnect', None),
        (-HOUR, POINTS[1], 'disconnect', None),
    ],
)
def test_its_step_is_taken_over_in_time(
    clocked: Clocked, step: int, point: str, action: str, state: str | None
) -> None:
    cloud, clock = clocked
    victim: Victim = cloud.workers[0]  # type: ignore[assignment]
    clock.step(step)
    try:
        scenario = reach(cloud, victim, point, action)
        began = time.monotonic()
        cloud.wait_settled(2 * DURATION)
        print(f'{point} at {step:+d} s: settled {time.monotonic() - began:.2f} s after the death')
        scenario.await_answer()
        assert scenario.state() == state
        facts.check_agreement(cloud)
        scenario.clean()
        facts.check_agreement(cloud)
    finally:
        clock.step(0)
        restart(victim, None)


@pytest.mark.parametrize('step', [HOUR, -HOUR])
def test_attach_and_detach_while_it_steps(clocked: Clocked, step: int) -> None:
    """There and back in the middle of both; nobody notices."""
    cloud, clock = clocked
    client = Client(cloud.ports)
    volumes = client.make_volumes('shared', 4)
    places = [Place(volume, host) for volume in volumes for host in ('a', 'b', 'a', 'c')]
    try:
        do_all(client.attach, places, 4, lambda: clock.step(step))
        facts.wait_settled(cloud)
        facts.check_agreement(cloud)
        facts.check_logins(places)
        do_all(client.detach, places, 4, lambda: clock.step(0))
        facts.wait_settled(cloud)
        do_all(client.attach, places, 4, lambda: clock.step(-step))
        do_all(client.detach, places, 4, lambda: clock.step(0))
        facts.wait_settled(cloud)
        facts.check_agreement(cloud)
        assert cloud.query('SELECT attempts FROM step_leases WHERE attempts > 1') == []
        assert not [one for one in client.refusals if one[1] != 409], client.refusals
    finally:
        clock.step(0)
        cloud.report()
    for volume in volumes:
        code, reply = client.ask('DELETE', f'/v3/volumes/{volume}')
        assert code == 202, reply
    cloud.wait_settled(30)


def test_a_worker_whose_clock_is_behind_is_down_and_works(clocked: Clocked) -> None:
    """Its heartbeats are an hour old; it is not counted on, and does what it is told."""
    cloud, clock = clocked
    client = Client(cloud.ports)

    def tell() -> str:
        found = client.get('/v3/os-services?binary=cinder-volume')['services']
        return str({one['host']: one['state'] for one in found}['left@file'])

    wait_until(lambda: tell() == 'up', 10, 'a worker', 0.1)
    for step in (HOUR, -HOUR):
        try:
            clock.step(step)
            wait_until(lambda: tell() == 'down', 10, 'a worker whose time is wrong', 0.1)
        finally:
            clock.step(0)
        wait_until(lambda: tell() == 'up', 10, 'a worker whose time is right', 0.1)
