# SPDX-License-Identifier: Apache-2.0
"""Hosts of which Ceph tells nothing for a while: they sleep, or have lost their monitor."""

import signal

import pytest

from multiattach.drivers.ceph.images import list_watchers, name_image
from multiattach.drivers.ceph.sessions import read_sessions
from multiattach.drivers.targets.rbd.cuts import Cuts
from tests.testbed.polling import wait_until

from .cloud import make_connector
from .test_fences import fence, read_block

pytestmark = pytest.mark.slow  # Ceph takes its time to forget a client
_SOON = 15  # s that a monitor remembers a silent client; 300 by itself


@pytest.fixture
def hasty_monitor(ceph):
    ceph.ask('config set', who='mon', name='mon_session_timeout', value=str(_SOON))
    yield
    ceph.ask('config rm', who='mon', name='mon_session_timeout')


def restart_worker(cloud):
    """Have the target forget what it knows, as a worker that was started again."""
    target = cloud.deployed.target
    target._cuts = Cuts(target._pool, target._users)


@pytest.mark.usefixtures('hasty_monitor')
def test_a_host_that_sleeps_is_cut_off_though_nobody_sees_it(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    sleeper, other = cloud.write(one['connection_info']), cloud.write(two['connection_info'], 1 << 20)
    target, user = cloud.deployed.target, one['connection_info']['auth_username']
    target.list_exports()  # as a round of the worker does
    (before,) = read_sessions(target.pool).list_of(f'client.{user}')
    restart_worker(cloud)
    sleeper.process.send_signal(signal.SIGSTOP)

    def is_forgotten():
        watchers = [watcher.address for watcher in list_watchers(target.pool, name_image(volume_id))]
        return not read_sessions(target.pool).list_of(f'client.{user}') and before.address not in watchers

    wait_until(is_forgotten, 120, 'the end of its session and of its watch', 0.5)
    proof = fence(cloud, one['id'])
    assert list(proof['ceph']['blocklist']) == [before.address]
    last = read_block(cloud, volume_id, 0)
    sleeper.process.send_signal(signal.SIGCONT)
    cloud.deployed.wait(lambda: sleeper.process.poll() is not None, 60)
    assert sleeper.error
    assert read_block(cloud, volume_id, 0) == last
    other.go_on()


@pytest.mark.usefixtures('hasty_monitor')
def test_a_detach_cuts_off_nobody_else_whom_no_monitor_knows(cloud):
    volume_id = cloud.deployed.make_volume('multi')
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    other = cloud.write(two['connection_info'])
    target, user = cloud.deployed.target, two['connection_info']['auth_username']
    other.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not read_sessions(target.pool).list_of(f'client.{user}'), 60, 'the end of its session', 0.2)
    assert list_watchers(target.pool, name_image(volume_id))  # for 30 s
    restart_worker(cloud)
    cloud.detach(one['id'])
    other.process.send_signal(signal.SIGCONT)
    other.go_on()
