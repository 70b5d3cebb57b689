# SPDX-License-Identifier: Apache-2.0
"""Snapshots that the storage has and nobody recorded, and the other way round."""

import pathlib

from multiattach.db import models
from multiattach.domain.drift import Account, Drift
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.errors import StorageError
from multiattach.engine.snapshots import SnapshotWish
from tests.functional.reconcile.conftest import Bench

_STRAY = '5c3a1dd4-3f3a-4d4e-9b7e-1c5a5f1d8c11'


def take(bench: Bench) -> str:
    d = bench.deployed
    ident = d.engine.snapshots.create(d.ctx, SnapshotWish(d.make_volume())).id
    d.wait(lambda: d.engine.snapshots.show(d.ctx, ident).status == 'available')
    return ident


def find_file(bench: Bench, snapshot_id: str) -> pathlib.Path:
    return bench.deployed.directory / 'volumes' / f'snapshot-{snapshot_id}'


def test_what_the_storage_and_the_rows_do_not_both_have_is_reported_and_stays(bench: Bench) -> None:
    kept, lost = take(bench), take(bench)
    assert bench.look() == []
    find_file(bench, lost).unlink()
    find_file(bench, _STRAY).touch()
    for fix in (False, True):
        found = {(one.kind, one.about, one.outcome) for one in bench.look(fix)}
        assert found == {(Drift.STRAY_SNAPSHOT, _STRAY, 'reported'), (Drift.NO_SNAPSHOT, lost, 'reported')}
    assert find_file(bench, _STRAY).exists()
    assert find_file(bench, kept).exists()
    find_file(bench, _STRAY).unlink()
    bench.write(models.Snapshot, lost, status='error')
    assert bench.look() == []


def test_one_that_is_taken_or_deleted_meanwhile_is_none(bench: Bench, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    gone = take(bench)
    real, made = FileBackend.list_snapshots, []

    def look(backend: FileBackend) -> dict[str, str | None]:
        found = real(backend)
        if not made:
            made.append(take(bench))
            bench.deployed.engine.snapshots.delete(bench.deployed.ctx, gone)
            bench.deployed.wait(lambda: not find_file(bench, gone).exists())
        return found

    monkeypatch.setattr(FileBackend, 'list_snapshots', look)
    assert bench.look() == []
    assert made


def test_storage_that_cannot_be_read_is_told(bench: Bench, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def refuse(_backend: FileBackend) -> dict[str, str | None]:
        raise StorageError('it is away')

    monkeypatch.setattr(FileBackend, 'list_snapshots', refuse)
    assert bench.deployed.reconciler.reconcile(False)['unread'] == {
        Account.STORAGE: 'The storage cannot be read: it is away'
    }
