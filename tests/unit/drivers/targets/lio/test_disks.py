# SPDX-License-Identifier: Apache-2.0
"""Disks that do not answer: nobody waits for them without a limit, and none writes what it was given up for."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.lio import state_file

from .test_interrupted import HOLDER, PEER, VOLUME, Bench, grant, register

OTHER = '2b7c1f5e-9d0a-4c86-a3f4-58e1d6b90c27'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.write(register(HOLDER, holds=True), register(PEER))
    return made


CHANGES: dict[str, Callable[[Bench], object]] = {
    'grant': lambda bench: bench.target.grant(VOLUME, str(bench.device), grant(PEER)),
    'fence': lambda bench: bench.target.fence(VOLUME, HOLDER, 'user'),
    'clear': lambda bench: bench.target.clear_reservations(VOLUME, PEER),
    'read': lambda bench: bench.target.read_reservations(VOLUME),
}


@pytest.mark.parametrize('change', list(CHANGES))
def test_a_file_that_cannot_be_read_keeps_nobody_for_ever(bench: Bench, change: str) -> None:
    """A pipe stands for it."""
    text = bench.file.read_text()
    bench.file.unlink()
    os.mkfifo(bench.file)
    bench.target.learn_devices(lambda _volume: str(bench.device))
    with bench.target.within(0.2), pytest.raises(TargetUnavailable, match='has not ended it'):
        CHANGES[change](bench)
    with bench.target.within(60), pytest.raises(TargetUnavailable, match='earlier'):
        CHANGES[change](bench)  # at once: it has not come back
    with bench.file.open('w') as file:
        file.write(text)
    bench.file.unlink()
    bench.file.write_text(text)
    with bench.target.within(10):
        _repeat(lambda: CHANGES[change](bench))


def test_a_disk_that_does_not_answer_keeps_no_fence_on_another_one(bench: Bench, tmp_path: Path) -> None:
    hung, healthy = tmp_path / 'hung' / f'volume-{VOLUME}', tmp_path / 'healthy' / f'volume-{OTHER}'
    for device in (hung, healthy):
        device.parent.mkdir()
        device.write_bytes(bytes(512))
    bench.target.grant(OTHER, str(healthy), grant(PEER))
    file = hung.with_name(bench.file.name)
    os.mkfifo(file)
    with bench.target.within(0.2), pytest.raises(TargetUnavailable, match='has not ended it'):
        bench.target.grant(VOLUME, str(hung), grant(PEER))
    try:
        bench.target.learn_devices(lambda _volume: pytest.fail('a folder may be of the disk that does not answer'))
        for alone in (False, True):
            assert bench.target.fence(OTHER, PEER, f'user-{PEER}', alone=alone).whole
    finally:
        file.write_text('')  # it lets the thread go that was left behind


def _repeat(act: Callable[[], object]) -> None:
    """The thread that was left behind may take a moment to end."""
    for _ in range(500):
        try:
            act()
            return
        except TargetUnavailable:
            threading.Event().wait(0.01)
    act()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    answers, fsync = threading.Event(), os.fsync

    def wait(handle: int) -> None:
        answers.wait(30)
        fsync(handle)

    monkeypatch.setattr(state_file.os, 'fsync', wait)
    yield answers
    answers.set()


@pytest.mark.usefixtures('slow_disk')
def test_what_was_given_up_is_not_written_over_what_came_after(bench: Bench, slow_disk: threading.Event) -> None:
    bench.target.learn_devices(lambda _volume: str(bench.device))
    with bench.target.within(0.2), pytest.raises(TargetUnavailable, match='has not ended it'):
        bench.target.clear_reservations(VOLUME, None)
    assert bench.list_drafts()
    bench.write(register(PEER))  # as the kernel, or another worker, does meanwhile
    slow_disk.set()
    for _ in range(500):
        if not bench.list_drafts():
            break
        threading.Event().wait(0.01)
    assert bench.list_drafts() == []
    _repeat(lambda: bench.target.read_reservations(VOLUME))
    assert bench.list_registered() == [(PEER, False)]


def test_a_change_that_a_process_left_in_the_kernel_keeps_nobody_for_ever(bench: Bench) -> None:
    """It holds the folders in which it waits; a pipe stands for that."""
    bench.admit(PEER)
    shown = bench.kernel.root / 'iscsi' / bench.target.iqn(VOLUME) / 'tpgt_1' / 'attrib' / 'generate_node_acls'
    shown.unlink()
    os.mkfifo(shown)
    with bench.target.within(0.2), pytest.raises(TargetUnavailable, match='has not ended it'):
        bench.target.fence(VOLUME, PEER, 'user')
    os.close(os.open(shown, os.O_WRONLY))
