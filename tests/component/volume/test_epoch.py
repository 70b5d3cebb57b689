# SPDX-License-Identifier: Apache-2.0
"""The counter that tells an older copy of the database: on real files, with copies that are put back."""

import json
import pathlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from multiattach.db import migration
from multiattach.db.database import Database
from multiattach.domain import errors
from multiattach.domain.epoch import Doubt, Mark
from multiattach.steps.epochs import Epochs
from multiattach.volume.epoch import Epoch

BACKEND = 'host@file'


class Bench:
    """A database that can be copied and put back, and workers that come and go."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / 'epochs' / 'host@file.json'
        self.db: Database | None = None
        self.open()

    def open(self, name: str = 'one') -> None:
        self.close()
        self.db = Database(f'sqlite:///{self.folder}/{name}.sqlite')
        migration.sync(self.db)

    def close(self) -> None:
        if self.db is not None:
            self.db.close()

    @property
    def epochs(self) -> Epochs:
        assert self.db is not None
        return Epochs(self.db)

    def start(self, path: pathlib.Path | None = None) -> Epoch:
        return Epoch(self, BACKEND, path or self.path)

    def count(self, backend: str, seen: Mark | None) -> tuple[Mark, Doubt | None]:
        """Count in the database that is there now, as a worker does whose connections are made anew."""
        return self.epochs.count(backend, seen)

    def copy(self) -> pathlib.Path:
        copy = self.folder / 'copy.sqlite'
        copy.unlink(missing_ok=True)
        source, target = sqlite3.connect(self.folder / 'one.sqlite'), sqlite3.connect(copy)
        source.backup(target)
        source.close()
        target.close()
        return copy

    def put_back(self, copy: pathlib.Path) -> None:
        self.close()
        for stale in self.folder.glob('one.sqlite*'):
            stale.unlink()
        (self.folder / 'one.sqlite').write_bytes(copy.read_bytes())
        self.open()

    def counter(self) -> int:
        return int(json.loads(self.path.read_text())['counter'])


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def run(epoch: Epoch, times: int = 3) -> Epoch:
    for _ in range(times):
        assert epoch.check() is None
    return epoch


def test_a_worker_that_starts_again_and_again_has_no_doubt(bench: Bench) -> None:
    counters = []
    for _ in range(3):
        epoch = run(bench.start())
        assert epoch.is_sure
        counters.append(bench.counter())
        epoch.close()
    run(bench.start(), 1)  # and was killed
    run(bench.start(), 1)
    assert counters == sorted(set(counters))


@pytest.mark.parametrize('orderly', [True, False])
def test_an_older_copy_is_told_until_a_person_accepts_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, orderly: bool
) -> None:
    first = run(bench.start())
    copy = bench.copy()
    if orderly:
        first.close()
    else:
        run(first, 2)  # as much as two reports
    bench.put_back(copy)
    second = bench.start()
    for _ in range(3):
        doubt = second.check()
        assert doubt is not None
        assert not doubt.is_other
        assert doubt.here.counter < doubt.seen.counter
    assert [one for one in caplog.messages if 'is an older copy' in one] == [doubt.tell()], 'it is said once'
    assert 'multiattach-manage db accept host@file' in doubt.tell()
    assert bench.start().check() == doubt, 'also after a restart'
    bench.path.unlink()
    assert bench.start().check() == doubt, 'and if somebody removes the file'
    with pytest.raises(errors.NotFound, match='it is for: host@file'):
        bench.epochs.accept('other@file')
    assert bench.epochs.accept(BACKEND) == doubt
    run(second)
    assert run(bench.start()).is_sure
    with pytest.raises(errors.NotFound, match='it is for: none'):
        bench.epochs.accept(BACKEND)
    bench.put_back(copy)
    assert bench.start().check() is not None, 'what is accepted is the database, and not the copy'


def test_the_right_database_put_back_needs_nobody(bench: Bench) -> None:
    old = bench.copy() if run(bench.start()) else None
    assert old is not None
    old = old.rename(bench.folder / 'old.sqlite')
    run(bench.start())
    new = bench.copy()
    bench.put_back(old)
    epoch = bench.start()
    assert epoch.check() is not None
    bench.put_back(new)
    run(epoch)
    assert bench.epochs.list_doubts() == []


def test_a_copy_that_is_put_back_while_the_worker_runs(bench: Bench) -> None:
    epoch = run(bench.start())
    copy = bench.copy()
    run(epoch)
    bench.path.unlink()  # it knows by itself
    bench.put_back(copy)
    assert epoch.check() is not None


def test_another_database(bench: Bench) -> None:
    run(bench.start()).close()
    bench.open('two')
    epoch = bench.start()
    doubt = epoch.check()
    assert doubt is not None
    assert doubt.is_other
    assert 'is another one' in doubt.tell()
    bench.epochs.accept(BACKEND)
    run(epoch)
    run(bench.start())


def test_a_commit_that_was_lost_is_no_older_copy(bench: Bench) -> None:
    """A power cut, or a replica that takes over, may lose the last one; the file has not got it yet."""
    epoch = run(bench.start())
    copy = bench.copy()
    run(epoch, 1)
    bench.put_back(copy)
    assert bench.start().check() is None


@pytest.mark.parametrize(
    'spoil',
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(''),
        lambda path: path.write_text('[]'),
        lambda path: path.write_text('{"lineage": 1}'),
        lambda path: path.write_bytes(b'\xff' * 9000),
        lambda path: path.write_text('{"lineage": "x", "counter": "many"}'),
        lambda path: path.write_text('{"lineage": "x", "counter": -1}'),
        lambda path: path.write_text(json.dumps({'lineage': 'x' * 99, 'counter': 10**30})),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_file_that_says_nothing_is_unknown_and_not_older(bench: Bench, spoil: Callable[[pathlib.Path], None]) -> None:
    run(bench.start())
    spoil(bench.path)
    epoch = run(bench.start())
    assert not epoch.is_sure
    if bench.path.is_file():
        assert run(bench.start()).is_sure


def test_a_file_that_cannot_be_written_stops_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    (bench.folder / 'file').write_text('')
    epoch = run(bench.start(bench.folder / 'file' / 'below.json'))
    epoch.close()
    assert len([one for one in caplog.messages if 'may not be noticed' in one]) >= 1
    assert len(caplog.messages) <= 2, 'it is said once, and not each time'


def test_several_workers_of_one_backend(bench: Bench) -> None:
    """On one machine they share the file, on two each has its own."""
    away = bench.folder / 'away.json'
    workers = [bench.start(), bench.start(), bench.start(away)]
    for _ in range(4):
        for worker in workers:
            assert worker.check() is None
    copy = bench.copy()
    for worker in workers * 2:
        run(worker, 1)
    bench.put_back(copy)
    doubts = [bench.start(path).check() for path in (bench.path, away, bench.path)]
    assert None not in doubts
    bench.epochs.accept(BACKEND)
    for path in (away, bench.path):
        run(bench.start(path))


def test_marks() -> None:
    assert Mark('a', 2).is_ahead_of(Mark('a', 1))
    assert not Mark('a', 1).is_ahead_of(Mark('a', 1))
    assert Mark('b', 1).is_ahead_of(Mark('a', 9)), 'nothing is known of it'


def test_a_database_that_is_away_or_hangs_holds_up_no_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, released = run(bench.start()), threading.Event()

    def hang(*_args: object) -> None:
        released.wait(30)
        raise OSError

    monkeypatch.setattr(bench, 'count', hang)
    started = time.monotonic()
    epoch.close()
    assert time.monotonic() - started < 10
    released.set()
    epoch.close()
