# SPDX-License-Identifier: Apache-2.0
"""A private tgtd: start, side by side, stop, and death of the parent."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.testbed.polling import wait_until

from .conftest import VOLUME_SIZE, Volume, free_portal, list_files


def running(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


def test_two_side_by_side(make_tgtd: Callable[[], PrivateTgtd], tmp_path: Path) -> None:
    one, two = make_tgtd(), make_tgtd()
    assert one.daemon.control_port != two.daemon.control_port
    assert one.daemon.generation != two.daemon.generation
    for number, tgtd in enumerate((one, two)):
        device = tmp_path / f'device-{number}'
        device.write_bytes(bytes([number + 1]) * VOLUME_SIZE)
        volume = Volume(str(device), tgtd.portal)
        target = TgtTarget(tgtd.daemon, portal=tgtd.portal)
        grant = volume.grant(1)
        with volume.login(target.grant(volume.id, volume.device, grant), grant) as session:
            assert session.read(0)[0] == number + 1
        assert set(target.list_exports()) == {volume.id}


def test_stop_leaves_nothing_even_in_use(make_tgtd: Callable[[], PrivateTgtd], tmp_path: Path) -> None:
    tgtd = make_tgtd()
    device = tmp_path / 'device'
    device.write_bytes(bytes(VOLUME_SIZE))
    volume = Volume(str(device), tgtd.portal)
    grant = volume.grant(1)
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal)
    session = volume.login(target.grant(volume.id, volume.device, grant), grant)
    pid = tgtd.pid
    assert pid is not None
    before = list_files(tgtd)
    assert before
    begin = time.monotonic()
    tgtd.stop()
    assert time.monotonic() - begin < 5
    assert not tgtd.alive()
    assert not running(pid)
    assert not before & list_files(tgtd)
    tgtd.stop()
    session.close()


def test_hung_tgtd_is_killed(tmp_path: Path) -> None:
    tgtd = PrivateTgtd(portal=free_portal(), threads=1, stop_timeout=1)
    daemon = tgtd.start()
    pid = tgtd.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with daemon.within(0.3), pytest.raises(TargetUnavailable, match='did not answer'):
        daemon.show_portals()
    with daemon.within(0.3):
        tgtd.stop()
    assert not running(pid)


def test_portal_in_use_is_an_error_and_no_tgtd_stays() -> None:
    # tgtd alone would stay up and listen at 0.0.0.0:3260 instead.
    with socket.socket() as holder:
        holder.bind(('127.0.0.1', 0))
        holder.listen()
        portal = f'127.0.0.1:{holder.getsockname()[1]}'
        tgtd = PrivateTgtd(portal=portal, threads=1)
        with pytest.raises(TargetUnavailable, match='cannot listen'):
            tgtd.start()
        assert not tgtd.alive()


def test_tgtd_that_listens_elsewhere_is_ended() -> None:
    # What happens when the port is lost after the probe; here tgtd shows the name's address.
    tgtd = PrivateTgtd(portal=free_portal().replace('127.0.0.1', 'localhost'), threads=1)
    with pytest.raises(TargetUnavailable, match=r'listens at 127.0.0.1:\d+ instead'):
        tgtd.start()
    assert not tgtd.alive()
    tgtd.stop()


def test_control_port_in_use_is_an_error(make_tgtd: Callable[[], PrivateTgtd]) -> None:
    first = make_tgtd()
    second = PrivateTgtd(portal=free_portal(), control_port=first.daemon.control_port)
    with pytest.raises(TargetUnavailable, match='no control port is free'):
        second.start()
    second.stop()
    assert first.alive()
    first.daemon.show_portals()


def test_own_socket_folder(tmp_path: Path) -> None:
    tgtd = PrivateTgtd(portal=free_portal(), threads=1, socket_prefix=str(tmp_path / 's'))
    daemon = tgtd.start()
    try:
        assert Path(daemon.socket_path).parent == tmp_path
        assert daemon.pid == tgtd.pid
    finally:
        tgtd.stop()
    assert list(tmp_path.iterdir()) == []


def test_check_tells_what_is_wrong(tgtd: PrivateTgtd) -> None:
    TgtTarget(tgtd.daemon, portal=tgtd.portal).check()
    with pytest.raises(TargetUnavailable, match=r'does not listen at 192\.0\.2\.1:3260'):
        TgtTarget(tgtd.daemon, portal='192.0.2.1:3260').check()
    absent = TgtDaemon(32700)
    with pytest.raises(TargetUnavailable, match='start it') as error:
        TgtTarget(absent, portal=tgtd.portal).check()
    assert not error.value.delivered


def test_it_dies_with_a_killed_parent(tmp_path: Path) -> None:
    program = """
import sys, time
from multiattach.drivers.targets.tgt.process import PrivateTgtd
tgtd = PrivateTgtd(portal=sys.argv[1], threads=1, control_port=int(sys.argv[2]))
tgtd.start()
print(tgtd.pid, flush=True)
time.sleep(60)
"""
    portal = free_portal()
    argv = [sys.executable, '-c', program, portal, '31999']
    parent = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_until(lambda: not running(pid), 5, 'the end of tgtd', 0.01)
    # Its number and portal can be used at once, in spite of its files.
    again = PrivateTgtd(portal=portal, threads=1, control_port=31999)
    again.start()
    again.stop()
    assert not Path(again.daemon.socket_path).exists()


def test_who_waits_for_a_turn_at_a_hung_tgtd_waits_in_bounds(tmp_path: Path) -> None:
    tgtd = PrivateTgtd(portal=free_portal(), threads=1, stop_timeout=1)
    daemon = tgtd.start()
    assert tgtd.pid is not None
    os.kill(tgtd.pid, signal.SIGSTOP)
    patient = TgtDaemon(daemon.control_port, timeout=20)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        takers = [pool.submit(patient.show_portals) for _ in range(8)]
        time.sleep(0.5)
        begin = time.monotonic()
        with patient.within(1), pytest.raises(TargetUnavailable, match='8 earlier requests') as caught:
            patient.show_portals()
        assert not caught.value.delivered
        assert 0.5 < time.monotonic() - begin < 5
        os.kill(tgtd.pid, signal.SIGCONT)
        assert all(taker.result() for taker in takers)
    assert patient.show_portals()
    tgtd.stop()
