# SPDX-License-Identifier: Apache-2.0
"""Programs that die in the middle of a step, and what they leave to those who come after."""

import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator

from tests.deployments import two_hosts
from tests.e2e import facts
from tests.testbed.polling import wait_until


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process for the length of a block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def count_sockets(pid: int, path: str) -> int:
    """Count the ends of a Unix socket in a process's namespace: who listens, and each connection."""
    lines = pathlib.Path(f'/proc/{pid}/net/unix').read_text().splitlines()
    return sum(line.split()[-1].endswith(path) for line in lines)


def test_all_workers_killed_in_mid_export(cloud: two_hosts.Deployment, volume: str) -> None:
    socket = f'/tgtd/socket.{cloud.tgtd.control_port}'
    with frozen(cloud.tgtd_pid):
        cloud.request_attach(cloud.one, volume)
        wait_until(lambda: cloud.state_of(cloud.one, volume) == 'exporting', 30, 'the intent')
        wait_until(lambda: count_sockets(cloud.tgtd_pid, socket) > 1, 30, "a worker's request to tgtd")
        for worker in cloud.workers:
            worker.kill()
        assert cloud.state_of(cloud.one, volume) == 'exporting'
    for worker in cloud.workers:
        worker.start()
    for worker in cloud.workers:
        worker.wait_ready()
    device = cloud.wait_attached(cloud.one, volume)
    facts.check_disk(cloud.hosts[0], cloud.one, volume)
    # One target with one initiator: what the first worker asked for was not done twice.
    exports = cloud.list_exports()
    assert list(exports) == [volume]
    assert list(exports[volume].initiators) == [cloud.hosts[0].initiator]
    assert len(exports[volume].accounts) == 1
    cloud.one.write_block(device, 10, b'after the crash')
    assert cloud.one.read_block(device, 10).startswith(b'after the crash')
    cloud.detach(cloud.one, volume)


def test_one_of_two_workers_killed_while_both_hosts_attach(cloud: two_hosts.Deployment, volume: str) -> None:
    killed = cloud.workers[0]
    guests = (cloud.one, cloud.far)
    with frozen(cloud.tgtd_pid):
        for guest in guests:
            cloud.request_attach(guest, volume)
        wait_until(lambda: [cloud.state_of(guest, volume) for guest in guests] == ['exporting'] * 2, 30, 'both intents')
        killed.kill()
    # The other one takes over what the killed one had, and the volume's lock if it died with it.
    one, far = (cloud.wait_attached(guest, volume) for guest in guests)
    exports = cloud.list_exports()
    assert list(exports) == [volume]
    assert sorted(exports[volume].initiators) == sorted(host.initiator for host in cloud.hosts)
    assert len(exports[volume].accounts) == len(guests)
    facts.share(cloud.one, one, cloud.far, far, 1000)
    facts.share(cloud.far, far, cloud.one, one, 1001)
    # It comes back without disturbing anybody.
    with facts.Writer(cloud.far, far, 2000).running() as writer:
        killed.start()
        killed.wait_ready()
        writer.wait_progress()
    assert cloud.query(
        "SELECT host FROM services WHERE JSON_VALUE(report, '$.cluster') = 'control@file' ORDER BY host"
    ) == [('left@file',), ('right@file',)]
    for guest in guests:
        cloud.detach(guest, volume)


def test_host_agent_killed_in_mid_connect(cloud: two_hosts.Deployment, volume: str) -> None:
    agent = cloud.agents[1]
    # The login is asked for and cannot end: iscsid does what iscsiadm asks it to do.
    pids = agent.host.check('pidof iscsid')
    agent.host.check(f'kill -STOP {pids}')
    try:
        cloud.request_attach(cloud.far, volume)
        wait_until(lambda: agent.host.run("pgrep -f '[i]scsiadm .*--login'")[0] == 0, 60, 'the login', 0.3)
        assert cloud.state_of(cloud.far, volume) == 'connecting'
        agent.kill()
    finally:
        agent.host.check(f'kill -CONT {pids}')
    assert cloud.state_of(cloud.far, volume) == 'connecting'
    agent.start()
    agent.wait_ready()
    device = cloud.wait_attached(cloud.far, volume)
    facts.check_disk(agent.host, cloud.far, volume)
    assert len(two_hosts.list_sessions(agent.host)) == len(two_hosts.list_disks(agent.host)) == 1
    cloud.far.write_block(device, 10, b'after the crash')
    assert cloud.far.read_block(device, 10).startswith(b'after the crash')
    cloud.detach(cloud.far, volume)


def test_tgtd_killed_while_both_write(cloud: two_hosts.Deployment, volume: str) -> None:
    one, far = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    before = cloud.list_exports()[volume]
    with facts.Writer(cloud.one, one, 0).running() as near, facts.Writer(cloud.far, far, 100).running() as other:
        cloud.tgtd.kill()
        cloud.tgtd.start()
        for writer in (near, other):
            writer.wait_progress(100)
        after = cloud.list_exports()[volume]
        assert (after.initiators, after.accounts) == (before.initiators, before.accounts)
    facts.share(cloud.one, one, cloud.far, far, 200)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)
