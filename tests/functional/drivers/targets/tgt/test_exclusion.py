# SPDX-License-Identifier: Apache-2.0
"""Two workers of one host change one target, as when one has lost its lock in the coordination backend."""

import concurrent.futures
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.exclusion import Exclusion
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget

from .conftest import Volume

ROUNDS = 60


def another(tgtd: PrivateTgtd, folder: Path) -> TgtTarget:
    """Make what another process has of the same tgtd."""
    known = tgtd.daemon
    daemon = TgtDaemon(known.control_port, socket_prefix=known.socket_path.rpartition('.')[0])
    return TgtTarget(daemon, portal=tgtd.portal, volumes_dir=folder)


def test_two_who_change_one_target_leave_it_whole(
    tgtd: PrivateTgtd, target: TgtTarget, volume: Volume, tmp_path: Path
) -> None:
    """Without it, tgtd ends with a segmentation fault, or somebody who was admitted cannot log in."""
    stays = volume.grant(0)
    info = volume.grant_all(target, [stays])
    pid = tgtd.daemon.pid

    def come_and_go(number: int) -> None:
        mine = another(tgtd, tmp_path / 'targets')
        for _ in range(ROUNDS):
            grant = volume.grant(number)
            mine.grant(volume.id, volume.device, grant)
            mine.revoke(volume.id, grant.initiator, grant.username)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for job in [pool.submit(come_and_go, number) for number in (1, 2, 3)]:
            job.result()
    assert tgtd.daemon.pid == pid
    state = target.show(volume.id)
    assert state is not None
    assert (state.initiators, state.accounts) == ((stays.initiator,), (stays.username,))
    with volume.login(info, stays) as session:
        session.read(0)


def test_a_target_that_another_worker_removes_is_not_taken_for_its_neighbour(
    tgtd: PrivateTgtd, target: TgtTarget, volume: Volume, make_volume: Callable[[], Volume], tmp_path: Path
) -> None:
    """Between a list and the question whether a target in it is there. tgtd does not survive what followed."""
    stays, comes = volume.grant(0), volume.grant(1)
    info = volume.grant_all(target, [stays])
    pid = tgtd.daemon.pid
    mine = another(tgtd, tmp_path / 'targets')
    mine._last_tid = info.tid  # its targets come next in the list
    passing = make_volume()
    ends = threading.Event()

    def make_and_remove() -> None:
        while not ends.is_set():
            mine.grant(passing.id, passing.device, passing.grant(0))
            mine.remove_export(passing.id)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        job = pool.submit(make_and_remove)
        try:
            for _ in range(ROUNDS * 4):
                target.grant(volume.id, volume.device, comes)
                target.revoke(volume.id, comes.initiator, comes.username)
        finally:
            ends.set()
        job.result()
    assert tgtd.daemon.pid == pid
    state = target.show(volume.id)
    assert state is not None
    assert (state.initiators, state.accounts) == ((stays.initiator,), (stays.username,))


def test_who_waits_too_long_is_told(tgtd: PrivateTgtd) -> None:
    path, one, other = tgtd.daemon.socket_path, Exclusion(), Exclusion()
    with one.hold(path, 'iqn.a', time.monotonic()):
        with one.hold(path, 'iqn.a', time.monotonic()):
            pass  # the same thread again
        with other.hold(path, 'iqn.b', time.monotonic()):
            pass
        with (
            pytest.raises(TargetUnavailable, match=r'another process of this host changes target iqn\.a'),
            other.hold(path, 'iqn.a', time.monotonic() + 0.1),
        ):
            raise AssertionError('two hold it')
    with other.hold(path, 'iqn.a', time.monotonic()):
        pass


def test_a_file_that_was_tidied_away_is_made_again(tgtd: PrivateTgtd) -> None:
    path = tgtd.daemon.socket_path
    os.unlink(f'{path}.lock')
    with Exclusion().hold(path, 'iqn.a', time.monotonic()):
        assert Path(f'{path}.lock').exists()


def test_where_no_tgtd_was_ever_nobody_waits(tmp_path: Path) -> None:
    path = f'{tmp_path}/nowhere/socket.1'
    with Exclusion().hold(path, 'iqn.a', 0), Exclusion().hold(path, 'iqn.a', 0):
        pass
    assert not list(tmp_path.iterdir())
