# SPDX-License-Identifier: Apache-2.0
"""An older copy of the database is put back under a real target: no login is cut before a person says so."""

import concurrent.futures
import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.rpc import clients
from multiattach.steps.epochs import Epochs
from tests.deployments import embedded
from tests.deployments.targets import IS_KERNEL
from tests.functional.drivers.targets.tgt.initiator import LoginRefused, Session
from tests.functional.operations.test_manage import run
from tests.functional.reconcile.conftest import Bench
from tests.functional.reconcile.hands import STRANGER, Hands

pytestmark = pytest.mark.every_target

LOGINS = 8 if IS_KERNEL else 12  # an emulated processor takes its time for each target
INTERVAL = 0.2  # s; so that many rounds pass


class House:
    """One backend with its target and its database file, started as often as a test likes."""

    def __init__(self, folder: pathlib.Path, hands: Hands) -> None:
        self.folder = folder
        self.hands = hands
        self.target = hands.make_target()
        self.database = folder / 'house.sqlite'
        self.config = folder / 'manage.conf'
        self.config.write_text(f'[database]\nconnection = sqlite:///{self.database}\n')
        self.mark = folder / 'epochs' / 'file.json'
        self.sessions: list[Session] = []

    @contextlib.contextmanager
    def start(self, interval: float = INTERVAL) -> Iterator[Bench]:
        url = f'sqlite:///{self.database}'
        with embedded.deploy(
            self.folder, self.target, url=url, report_interval=0.1, reconcile_interval=interval
        ) as deployed:
            yield Bench(deployed, self.hands)

    def copy(self) -> pathlib.Path:
        copy = self.folder / 'copy.sqlite'
        with (
            contextlib.closing(sqlite3.connect(self.database)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return copy

    def put_back(self, copy: pathlib.Path) -> None:
        for stale in self.folder.glob(f'{self.database.name}*'):
            stale.unlink()
        shutil.copy(copy, self.database)

    def count_logins(self) -> int:
        return sum(len(state.sessions) for state in self.target.list_exports().values())

    def check_alive(self) -> None:
        """Every login reads and writes."""
        assert self.count_logins() == len(self.sessions)
        for number, session in enumerate(self.sessions):
            session.write(number, bytes([number]) * 512)
            assert session.read(number) == bytes([number]) * 512

    def run(self, *words: Any) -> 'subprocess.CompletedProcess[str]':
        """Run a command while every login reads and writes: the kernel ends one that is silent for 45 s."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            done = pool.submit(run, *words)
            while not done.done():
                self.check_alive()
                time.sleep(1)
            return done.result()


@pytest.fixture
def house(tmp_path: pathlib.Path, hands: Hands) -> Iterator[House]:
    made = House(tmp_path, hands)
    yield made
    for session in made.sessions:
        with contextlib.suppress(Exception):
            session.close()
    for volume_id in made.target.list_exports():
        made.target.remove_export(volume_id)


def settle(bench: Bench) -> None:
    """Let several rounds and reports pass."""
    after = time.monotonic() + 5 * INTERVAL
    bench.deployed.wait(lambda: bench.deployed.reconciler.due > after)


def attach_many(house: House, bench: Bench) -> None:
    """Half of them share a volume."""
    shared = bench.deployed.make_volume('multi')
    volumes = [shared] * (LOGINS // 2) + [bench.deployed.make_volume('multi') for _ in range(LOGINS // 2)]
    rows = [bench.attach(volume, f'host-{number}') for number, volume in enumerate(volumes)]
    house.sessions += [bench.login(row) for row in rows]


@pytest.mark.parametrize('has_mark', [True, False])
def test_an_older_copy_cuts_no_login(house: House, has_mark: bool) -> None:
    """Without the file that tells it, the breaker stands alone."""
    with house.start() as bench:
        copy = house.copy()
        attach_many(house, bench)
        house.check_alive()
    house.put_back(copy)
    if not has_mark:
        house.mark.unlink()
    with house.start() as bench:
        settle(bench)
        house.check_alive()
        found = bench.look()
        told = {one.kind: one for one in found}
        assert (Drift.OLD_DATABASE in told) is has_mark
        # Volumes that were made after the copy are nobody's: they may be another service's.
        assert told[Drift.NO_VOLUME].outcome == 'reported'
        settle(bench)
        bench.look(fix=True)
        house.check_alive()


@pytest.mark.parametrize('has_mark', [True, False])
def test_an_older_copy_that_knows_the_volumes_cuts_no_login(
    house: House, has_mark: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with house.start() as bench:
        shared = bench.deployed.make_volume('multi')
        volumes = [shared] * (LOGINS // 2) + [bench.deployed.make_volume('multi') for _ in range(LOGINS // 2)]
        kept = bench.attach(shared, 'kept')
        copy = house.copy()
        rows = [bench.attach(volume, f'host-{number}') for number, volume in enumerate(volumes)]
        house.sessions += [bench.login(row) for row in [kept, *rows]]
    house.put_back(copy)
    if not has_mark:
        house.mark.unlink()
    with house.start() as bench:
        settle(bench)
        house.check_alive()
        doctor = clients.VolumeWorkers(bench.deployed.rpc, 20)
        found = doctor.reconcile(embedded.BACKEND, True, None)['findings']
        house.check_alive()
        kinds = {one['kind'] for one in found}
        assert {Drift.ACCOUNT, Drift.ADMITTED, Drift.SESSION, Drift.UNUSED} <= kinds
        assert {one['outcome'] for one in found if one['kind'] != Drift.OLD_DATABASE} == {'waiting'}
        explained = doctor.list_findings(embedded.BACKEND, shared, None)
        assert {one['outcome'] for one in explained} <= {'waiting', 'reported'}
        if has_mark:
            assert [one['outcome'] for one in found if one['kind'] == Drift.OLD_DATABASE] == ['reported']
            assert Drift.OLD_DATABASE in {one['kind'] for one in explained}
            assert all('is an older copy' in one['error'] for one in found if one['outcome'] == 'waiting')
            assert capsys.readouterr().out.count('ERROR multiattach.volume.epoch') == 1
            assert 'is an older copy' in house.run('manage', house.config, 'db', 'accept').stdout
            accepted = house.run('manage', house.config, 'db', 'accept', embedded.BACKEND)
            assert accepted.returncode == 0, accepted.stderr
            settle(bench)
            house.check_alive()
            found = doctor.reconcile(embedded.BACKEND, False, None)['findings']
            assert Drift.OLD_DATABASE not in {one['kind'] for one in found}
        [seal] = {one['seal'] for one in found}
        assert all(f'--release {seal}' in one['error'] for one in found)
        doctor.release(embedded.BACKEND, ['0' * 12], None)
        house.check_alive()
        released = doctor.release(embedded.BACKEND, [seal], None)['findings']
        assert {one['outcome'] for one in released} == {'repaired'}
        assert house.count_logins() == 1, 'of the attachment that the copy knows'
        assert bench.look() == []
        house.sessions[:] = house.sessions[:1]
        house.check_alive()


def test_who_was_turned_away_since_the_copy_is_not_let_in_again(house: House) -> None:
    """It may have been fenced: an older copy does not know, and would admit it when the worker starts."""
    with house.start() as bench:
        volume = bench.deployed.make_volume('multi')
        row, kept = bench.attach(volume, 'one'), bench.attach(volume, 'two')
        copy = house.copy()
        bench.deployed.engine.attachments.delete(bench.deployed.ctx, row.id)
        house.sessions += [bench.login(kept)]
    house.put_back(copy)
    with house.start() as bench:
        settle(bench)
        assert house.target.list_exports()[volume].initiators == (kept.initiator,)
        with pytest.raises(LoginRefused):
            bench.login(row)
        house.check_alive()
        # What people ask for goes on.
        other = bench.attach(bench.deployed.make_volume('multi'), 'three')
        house.sessions += [bench.login(other)]
        bench.deployed.engine.attachments.delete(bench.deployed.ctx, other.id)
        house.sessions.pop()
        house.check_alive()


def test_a_step_of_the_copy_is_not_carried_on_with(house: House) -> None:
    """In the copy somebody was leaving; since then the same initiator came back."""
    with house.start(0.0) as bench:
        volume = bench.deployed.make_volume('multi')
        row = bench.attach(volume, 'one')
        bench.deployed.worker.stop()
        bench.deployed.engine.attachments._begin_delete(bench.deployed.ctx, row.id, asked=True)
        copy = house.copy()
        bench.deployed.worker.start()
        bench.deployed.wait(lambda: not bench.exists(row.id))
        house.sessions += [bench.login(bench.attach(volume, 'one'))]
    house.put_back(copy)
    with house.start() as bench:
        settle(bench)
        house.check_alive()


@pytest.mark.parametrize('has_mark', [True, False])
def test_who_was_fenced_in_the_copy_and_came_back_since_is_not_cut_off_again(house: House, has_mark: bool) -> None:
    """For ten minutes a worker looks whether somebody whom it has cut off is logged in."""
    with house.start(0.0) as bench:
        volume = bench.deployed.make_volume('multi')
        rows = [bench.attach(volume, host) for host in ('one', 'two')]
        bench.deployed.engine.fences.fence_attachment(bench.deployed.ctx, rows[0].id)
        copy = house.copy()
        house.sessions += [bench.login(row) for row in (rows[1], bench.attach(volume, 'one'))]
    house.put_back(copy)
    if not has_mark:
        house.mark.unlink()
    with house.start(0.0) as bench:  # what is repaired as drift is another matter
        for _ in range(3):
            bench.deployed.worker.tend()
        house.check_alive()
        if has_mark:
            Epochs(bench.deployed.db).accept(embedded.BACKEND)
            bench.deployed.worker.tend()
            house.check_alive()


def test_a_worker_that_starts_adds_and_takes_nothing_away(house: House) -> None:
    """Never in the first round, and not at all before it."""
    with house.start() as bench:
        volume, other = (bench.deployed.make_volume('multi') for _ in range(2))
        row, missing = bench.attach(volume, 'one'), bench.attach(other, 'two')
    bench.hands.admit(volume, STRANGER)
    house.target.remove_export(other)
    with house.start(interval=3600.0) as bench:
        bench.deployed.wait(lambda: bench.deployed.reconciler.due > 0)
        assert house.target.list_exports()[volume].initiators == (row.initiator, STRANGER)
        assert house.target.list_exports()[other].initiators == (missing.initiator,)
        [seen] = bench.look()
        assert (seen.kind, seen.outcome) == (Drift.ADMITTED, 'found')
    with house.start() as bench:
        bench.deployed.wait(lambda: house.target.list_exports()[volume].initiators == (row.initiator,))


def test_one_attachment_whose_end_is_recorded(house: House) -> None:
    """The only target of a backend: believed if its end is on record in the database that made it."""
    with house.start() as bench:
        volume = bench.deployed.make_volume('multi')
        row = bench.attach(volume)
    with house.start(0.0) as bench:
        bench.write(models.Attachment, row.id, deleted_at=models.now(), state='detached')
        bench.write(models.Volume, volume, status='available')
        [done] = bench.look_twice()
        assert (done.kind, done.outcome) == (Drift.UNUSED, 'repaired')
        assert house.target.list_exports() == {}


@pytest.mark.parametrize('spoil', ['purged', 'unsure'])
def test_one_attachment_of_which_nothing_is_recorded(house: House, spoil: str) -> None:
    with house.start() as bench:
        volume = bench.deployed.make_volume('multi')
        row = bench.attach(volume)
        house.sessions.append(bench.login(row))
    if spoil == 'unsure':
        house.mark.unlink()
    with house.start(0.0) as bench:
        bench.write(
            models.Attachment,
            row.id,
            deleted_at=models.now(),
            state='detached',
            **({'initiator': None} if spoil == 'purged' else {}),
        )
        bench.write(models.Volume, volume, status='available')
        for fix in (None, None, True):
            [seen] = bench.look(fix)
            assert (seen.kind, seen.outcome) == (Drift.UNUSED, 'waiting')
            assert 'Not one target of this backend is named' in str(seen.error)
        house.check_alive()
        assert [one.outcome for one in bench.look(True, (str(seen.seal),))] == ['repaired']
        house.sessions.clear()
        assert house.target.list_exports() == {}


def test_the_file_beside_the_targets(house: House) -> None:
    with house.start() as bench:
        settle(bench)
        before = json.loads(house.mark.read_text())['counter']
        settle(bench)
        assert json.loads(house.mark.read_text())['counter'] > before
