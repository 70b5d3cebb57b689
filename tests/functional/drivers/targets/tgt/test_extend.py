# SPDX-License-Identifier: Apache-2.0
"""No acknowledged write is lost by an online extend, and none fails: deep queues, a busy machine."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetBusy
from multiattach.drivers.targets.base import TargetInfo
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.stores import FileStore, Store
from tests.initiators.session import Session
from tests.initiators.wire import Claim, Login, Stage
from tests.initiators.writer import Writer
from tests.testbed.servers import pick_port
from tests.testbed.tgtd import Tgtd

from .conftest import VOLUME_SIZE, Volume

COUNT = 64  # blocks of each writer
DEPTH = 32


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Tgtd]:
    """tgtd as Debian's service runs it: not a child of the worker, its standard input /dev/null."""
    tgtd = Tgtd(tmp_path / 'service', port=pick_port(), threads=16)
    tgtd.start()
    yield tgtd
    tgtd.stop()


@pytest.fixture(params=['private', 'service'])
def anybody_s(request: pytest.FixtureRequest) -> tuple[TgtTarget, str]:
    if request.param == 'private':
        private: PrivateTgtd = request.getfixturevalue('tgtd')
        return TgtTarget(private.daemon, portal=private.portal), private.portal
    found: Tgtd = request.getfixturevalue('service')
    return TgtTarget(TgtDaemon(found.control_port), portal=found.portal), found.portal


@pytest.fixture
def load() -> Iterator[None]:
    """Programs that want all processors, as often as there are some, and twice over."""
    programs = [
        subprocess.Popen(
            [sys.executable, '-c', 'import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass']
        )
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    yield
    for program in programs:
        program.kill()
        program.wait()


def claim(volume: Volume, info: TargetInfo, grant: object, **more: object) -> Claim:
    return Claim(volume.portal, info.iqn, grant.initiator, grant.username, grant.secret, **more)  # type: ignore


def extend_under_load(target: TgtTarget, volume: Volume, extends: int) -> list[Writer]:
    """Extend a volume while three hosts write, and see that all that was acknowledged is there."""
    grants = [volume.grant(number) for number in range(3)]
    info = volume.grant_all(target, grants)
    writers = [
        Writer(claim(volume, info, grant), first=number * COUNT, count=COUNT, depth=DEPTH, give_up=60)
        for number, grant in enumerate(grants)
    ]
    for writer in writers:
        writer.start()
    for _ in range(extends):
        for writer in writers:
            writer.await_more(DEPTH, 120)  # commands are in flight whenever it begins
        volume.grow()
        target.extend(volume.id, volume.device)
    for writer in writers:
        writer.await_more(DEPTH, 120)
    for writer in writers:
        writer.stop(120)
    for writer in writers:
        assert writer.verify() == []
        assert writer.logins >= extends
    with Session(claim(volume, info, grants[0])) as session:
        assert session.capacity() == volume.size
    target.remove_export(volume.id)
    return writers


def test_nothing_is_lost(anybody_s: tuple[TgtTarget, str], store: Store) -> None:
    writers = extend_under_load(anybody_s[0], Volume.make(store, anybody_s[1]), 30)
    assert max(writer.longest_pause for writer in writers) < 20


@pytest.mark.slow
def test_nothing_is_lost_in_hundreds_of_extends_on_a_busy_machine(
    anybody_s: tuple[TgtTarget, str], store: Store, load: None
) -> None:
    # Where tgtd connects to a cluster each time it is the same often enough.
    extend_under_load(anybody_s[0], Volume.make(store, anybody_s[1]), 300 if isinstance(store, FileStore) else 30)


def test_a_command_that_does_not_end_keeps_the_volume_as_it_is(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = TgtTarget(tgtd.daemon, portal=tgtd.portal, close_timeout=0.2)
    grant = volume.grant(1)
    info = volume.grant_all(target, [grant])
    with Session(claim(volume, info, grant)) as session:
        monkeypatch.setattr(type(tgtd.daemon), 'close_connection', lambda *_args: None)
        volume.grow(VOLUME_SIZE)
        with pytest.raises(TargetBusy, match='did not end'):
            impatient.extend(volume.id, volume.device)
        monkeypatch.undo()
        assert target.list_exports()[volume.id].is_open
        session.hang_up()
    with Session(claim(volume, info, grant)) as session:
        assert session.capacity() == VOLUME_SIZE
    target.extend(volume.id, volume.device)
    with Session(claim(volume, info, grant)) as session:
        assert session.capacity() == 2 * VOLUME_SIZE


def test_a_login_that_is_completed_in_the_middle_writes_nothing_into_the_void(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It got past the gate before that was shut; its commands are dropped, and it is made to come again."""
    grant = volume.grant(1)
    info = volume.grant_all(target, [grant])
    login = Login(claim(volume, info, grant, timeout=5)).advance(Stage.NEGOTIATED)
    writer: list[Writer] = []
    real = type(tgtd.daemon).update_lun

    def update_lun(daemon: TgtDaemon, *words: object) -> None:
        writer.append(Writer(login, count=COUNT, depth=DEPTH).start())
        threading.Event().wait(0.05)
        assert len(writer[0].ledger) == 0
        real(daemon, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(type(tgtd.daemon), 'update_lun', update_lun)
    target.extend(volume.id, volume.device)
    writer[0].await_more(100)
    writer[0].stop()
    assert writer[0].logins == 2
    assert writer[0].verify() == []
