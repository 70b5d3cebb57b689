# SPDX-License-Identifier: Apache-2.0
"""What tgtd is left with: it never closes a connection on which no request came, and spins on it."""

import os
import socket
import time
from collections.abc import Callable

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.targets.tgt.conftest import Volume
from tests.testbed.polling import look_until


def count_descriptors(pid: int) -> int:
    return len(os.listdir(f'/proc/{pid}/fd'))


def cpu_ticks(pid: int) -> int:
    with open(f'/proc/{pid}/stat') as stat:
        fields = stat.read().rpartition(')')[2].split()
    return int(fields[11]) + int(fields[12])


def settle(pid: int, expected: int) -> int:
    return look_until(lambda: count_descriptors(pid), lambda found: found <= expected, 5, 0.01)


def ask_who(daemon: TgtDaemon) -> None:
    assert daemon.pid > 0
    assert daemon.generation > 0


def speak_pinned(daemon: TgtDaemon) -> None:
    with daemon.pinned():
        daemon.show_targets()


def speak_to_another(daemon: TgtDaemon) -> None:
    with daemon.pinned():
        daemon._pin.pid = 1
        with pytest.raises(TargetUnavailable, match='restarted'):
            daemon.show_targets()


@pytest.mark.parametrize('use', [ask_who, speak_pinned, speak_to_another])
def test_no_connection_is_left_behind(
    tgtd: PrivateTgtd, target: TgtTarget, volume: Volume, use: Callable[[TgtDaemon], None]
) -> None:
    daemon = tgtd.daemon
    pid = daemon.pid
    # With an initiator logged in tgtd's last error is mostly EAGAIN, which it takes for "more to come".
    grant = volume.grant(1)
    session = volume.login(volume.grant_all(target, [grant]), grant)
    session.write(0, b'x' * 512)
    before = count_descriptors(pid)
    for _ in range(20):
        use(daemon)
        session.write(0, b'x' * 512)
    assert settle(pid, before) <= before
    session.close()


def test_an_idle_tgtd_does_nothing(tgtd: PrivateTgtd, target: TgtTarget, volume: Volume) -> None:
    """A whole life of an export, and what a worker asks again and again, leave no work behind."""
    pid = tgtd.daemon.pid
    before = count_descriptors(pid)
    for _ in range(5):
        volume.grant_all(target, [volume.grant(1)])
        target.generation()
        target.remove_export(volume.id)
    assert settle(pid, before) <= before
    start = cpu_ticks(pid)
    time.sleep(1)
    assert cpu_ticks(pid) - start <= 5  # hundredths of a second


class Counting(TgtDaemon):
    """Counts connections: each request has one of its own."""

    opened = 0

    def _connect(self, deadline: float) -> socket.socket:
        self.opened += 1
        return super()._connect(deadline)


def test_the_steps_of_an_attach_ask_for_what_they_need(tgtd: PrivateTgtd, target: TgtTarget, volume: Volume) -> None:
    """Looking who answers is no request of its own: the first one of a step tells."""
    daemon = Counting(tgtd.daemon.control_port, socket_prefix=tgtd.daemon.socket_path.rpartition('.')[0])
    counting = TgtTarget(daemon, portal=target.locate(volume.id).portal)
    grant = volume.grant(1)
    asked = []
    for step in (
        lambda: counting.grant(volume.id, volume.device, grant),
        lambda: counting.grant(volume.id, volume.device, volume.grant(2)),
        lambda: counting.revoke(volume.id, grant.initiator, grant.username),
        lambda: counting.remove_export(volume.id),
    ):
        before = daemon.opened
        step()
        asked.append(daemon.opened - before)
    assert asked == [6, 5, 13, 10]
