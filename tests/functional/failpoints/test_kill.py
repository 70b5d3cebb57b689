# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every failpoint, one by one: nothing is stuck, nothing leaks, within two lease times."""

import random
import time

import pytest

from multiattach import failpoints
from tests.deployments.failpoints import DURATION, Deployment, Victim
from tests.functional.cluster import facts
from tests.functional.failpoints.scenarios import Scenario
from tests.functional.failpoints.table import CASES, MORE, Case
from tests.testbed.polling import look_until, wait_until

# One of each kind of process runs in the gate.
QUICK = {'orders.export.written', 'volume.export.granted', 'volume.unexport.turned_away', 'host.attach.plugged'}
_TRIES = 12


def find_victim(cloud: Deployment, point: str) -> Victim:
    part = point.partition('.')[0]
    return {'host': cloud.agent, 'volume': cloud.workers[0]}.get(part, cloud.apis[0])  # type: ignore[return-value]


def arm(cloud: Deployment, victim: Victim, point: str, scenario: Scenario) -> None:
    rules = f'{point}=kill'
    if scenario.action == 'vanish':
        rules += ',host.attach.connected=sleep:3'
    victim.arm(rules)
    if scenario.action == 'unanswered':
        cloud.workers[0].arm('volume.export.planned=kill')  # type: ignore[attr-defined]
        cloud.workers[0].wait_ready()
    if scenario.action != 'restore':
        victim.wait_ready()


def reach(cloud: Deployment, victim: Victim, point: str, action: str) -> Scenario:
    """Do it until it kills."""
    for number in range(_TRIES):
        scenario = Scenario(cloud, action)
        scenario.prepare()
        if number == 0 or scenario.action == 'unanswered':
            arm(cloud, victim, point, scenario)
        if number and random.random() < 0.5:  # the two workers get orders in turn
            scenario.make_one_more()
        scenario.begin(0 if victim is cloud.apis[0] else 1)
        wait_until(
            lambda scenario=scenario: victim.is_dead or has_ended(cloud, scenario), 30, 'a death, or an end', 0.02
        )
        if not victim.is_dead and not wait_dead(victim):
            scenario.await_answer()
            scenario.clean()
            continue
        return scenario
    raise AssertionError(f'nobody came to {point}')


def has_ended(cloud: Deployment, scenario: Scenario) -> bool:
    return scenario.action != 'restore' and scenario.is_answered and not cloud.list_open()


def wait_dead(victim: Victim) -> bool:
    """It may die a moment after all is done."""
    return look_until(lambda: victim.is_dead, bool, 0.3, 0.02)


@pytest.mark.parametrize(
    'point', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in failpoints.POINTS]
)
def test_kill(cloud: Deployment, point: str) -> None:
    check_kill(cloud, point, CASES[point])


@pytest.mark.slow
@pytest.mark.parametrize(('point', 'case'), MORE, ids=[f'{point}-{case.action}' for point, case in MORE])
def test_kill_on_another_way(cloud: Deployment, point: str, case: Case) -> None:
    check_kill(cloud, point, case)


def check_kill(cloud: Deployment, point: str, case: Case) -> None:
    victim = find_victim(cloud, point)
    scenario = reach(cloud, victim, point, case.action)
    assert victim.process is not None
    assert victim.process.returncode == -9
    assert f'failpoint {point}: kill' in victim.log.read_text(errors='replace')
    if victim is cloud.agent:  # nobody else serves its host
        victim.arm(None)
        victim.wait_ready()
    started = time.monotonic()
    cloud.wait_settled(2 * DURATION)
    print(f'{point}: settled {time.monotonic() - started:.2f} s after the death or the return')
    scenario.await_answer()
    scenario.check(case.outcome)
    facts.check_agreement(cloud)
    cloud.check_host()
    if case.action != 'refuse':
        cloud.check_storage()
    scenario.clean()
    facts.check_agreement(cloud)
    cloud.check_host()
    cloud.check_storage()
