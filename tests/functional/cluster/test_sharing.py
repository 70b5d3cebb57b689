# SPDX-License-Identifier: Apache-2.0
"""Two workers serve one backend: they share the work, and count as one."""

import collections
import json
import shutil
import signal
import threading
import time

from tests.deployments.distributed import BACKEND, Deployment
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client, Place, do_all
from tests.testbed.polling import wait_until

_NAP = 15  # s; a lock lasts 5


def list_services(client: Client) -> dict[str, dict[str, object]]:
    found = client.get('/v3/os-services?binary=cinder-volume')['services']
    return {service['host']: service for service in found}


def are_up(client: Client) -> bool:
    return all(one['state'] == 'up' for one in list_services(client).values())


def test_both_are_listed_and_count_once(cloud: Deployment, client: Client, volumes: dict[str, list[str]]) -> None:
    wait_until(lambda: are_up(client), 30, 'both', 0.2)
    services = list_services(client)
    assert sorted(services) == ['left@file', 'right@file']
    assert {service['cluster'] for service in services.values()} == {BACKEND}
    (pool,) = client.get('/v3/scheduler-stats/get_pools?detail=true')['pools']
    assert pool['name'].partition('#')[0] == BACKEND
    total = shutil.disk_usage(cloud.folder).total / 2**30
    assert abs(pool['capabilities']['total_capacity_gb'] - total) < total / 100
    assert pool['capabilities']['allocated_capacity_gb'] == len(volumes['plain'] + volumes['shared'])
    shown = client.get(f'/v3/volumes/{volumes["shared"][0]}')['volume']
    assert shown['os-vol-host-attr:host'].partition('#')[0] == BACKEND


def test_both_do_their_share(cloud: Deployment, client: Client, places: list[Place]) -> None:
    do_all(client.attach, places, len(places), lambda: None)
    actors = collections.Counter(
        json.loads(line)['by']
        for (timeline,) in cloud.query('SELECT timeline FROM attachments WHERE deleted_at IS NULL')
        for line in timeline.splitlines()
        if json.loads(line)['event'] == 'exported'
    )
    assert sorted(actors) == ['volume:left@file', 'volume:right@file']
    assert min(actors.values()) >= 10, actors
    facts.check_agreement(cloud)
    facts.check_logins(places)
    do_all(client.detach, places, len(places), lambda: None)
    assert not client.refusals


def test_one_that_slept_through_its_lock_does_no_harm(cloud: Deployment, client: Client, places: list[Place]) -> None:
    """A worker that is stopped for longer than its locks last wakes up in the middle of steps.

    Both work at one tgtd: the targets that it has in its hands no other process touches before it wakes or ends.
    """
    sleeper = cloud.workers[0].process
    assert sleeper is not None
    waking = threading.Timer(_NAP, sleeper.send_signal, [signal.SIGCONT])

    def stop() -> None:
        sleeper.send_signal(signal.SIGSTOP)
        waking.start()

    try:
        do_all(client.attach, places, 30, stop)
    finally:
        waking.cancel()
        sleeper.send_signal(signal.SIGCONT)
    wait_until(lambda: are_up(client), 30, 'both', 0.2)
    facts.wait_settled(cloud)
    wait_agreement(cloud)
    facts.check_agreement(cloud)
    facts.check_logins(places)
    do_all(client.detach, places, len(places), lambda: None)


def wait_agreement(cloud: Deployment) -> None:
    """Wait until what the sleeper had in work is put right, and nothing is touched any more."""
    since = time.monotonic()

    def is_calm() -> bool:
        nonlocal since
        if not agrees(cloud):
            since = time.monotonic()
        return time.monotonic() > since + 3

    wait_until(is_calm, 30, 'rows and targets', 0.2)


def agrees(cloud: Deployment) -> bool:
    try:
        facts.check_agreement(cloud)
    except AssertionError:
        return False
    return True
