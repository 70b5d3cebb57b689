# SPDX-License-Identifier: Apache-2.0
"""Volumes whose storage somebody took away, storage that nobody recorded, and what steps have left."""

import datetime
import pathlib
import threading
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.drift import Drift
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.backends.file import FileBackend
from multiattach.engine.manageable import Takeover
from multiattach.engine.snapshots import SnapshotWish
from multiattach.steps.leases import VOLUME
from multiattach.volume import remnants
from tests.functional.reconcile.conftest import Bench


def folder(bench: Bench) -> pathlib.Path:
    return bench.deployed.directory / 'volumes'


def tell(bench: Bench, fix: bool | None = False, release: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    return sorted((one.kind, one.about, one.outcome) for one in bench.look(fix, release))


def leave(bench: Bench, *names: str) -> list[pathlib.Path]:
    paths = [folder(bench) / name for name in names]
    for path in paths:
        path.write_bytes(b'half')
    return paths


def forget_volume(bench: Bench, ident: str) -> None:
    with bench.deployed.db.writer() as session:
        session.execute(sa.delete(models.Volume).where(models.Volume.id == ident))


def test_storage_that_vanished_or_was_renamed_is_reported_and_explained(bench: Bench) -> None:
    d = bench.deployed
    kept, lost = d.make_volume(), d.make_volume()
    assert bench.look() == []
    path = folder(bench) / f'volume-{lost}'
    path.rename(folder(bench) / 'elsewhere')
    for fix in (False, True):
        assert tell(bench, fix) == [(Drift.NO_STORAGE, f'volume-{lost}', 'reported')]
    (found,) = d.engine.explanations.explain_volume(d.ctx, lost, live=True).truth.findings
    assert 'give the storage its name (volume-UUID) back' in found.step
    assert d.engine.explanations.explain_volume(d.ctx, kept, live=True).truth.findings == []
    bench.write(models.Volume, lost, status='error')
    assert bench.look() == []
    bench.write(models.Volume, lost, status='available')
    (folder(bench) / 'elsewhere').rename(path)
    assert bench.look() == []


def test_storage_that_is_not_recorded_is_reported_as_one_and_stays(bench: Bench) -> None:
    d = bench.deployed
    unmanaged = d.make_volume()
    d.engine.manageable.unmanage(d.ctx, unmanaged)
    d.wait(lambda: d.status(unmanaged) is None)
    strangers = [str(uuid.uuid4()) for _ in range(6)]
    paths = leave(bench, *(f'volume-{ident}' for ident in strangers), f'draft-{uuid.uuid4()}', 'volume-x', 'draft')
    for fix in (False, True):
        ((kind, about, outcome),) = tell(bench, fix)
        assert (kind, outcome) == (Drift.STRAY_STORAGE, 'reported')
        assert about.startswith('not recorded: draft or trash of ')
        assert about.endswith(' and 3 more')
    assert all(path.exists() for path in paths)
    assert (folder(bench) / f'volume-{unmanaged}').exists()


def test_what_is_left_of_a_step_is_removed_and_nothing_else(bench: Bench) -> None:
    d = bench.deployed
    volume = d.make_volume()
    other = d.make_volume()
    paths = leave(bench, f'draft-{volume}', f'trash-{volume}.1f', f'trash-{other}.2e')
    assert tell(bench, None) == [(Drift.REMNANT, ident, 'waiting') for ident in sorted((volume, other))]
    assert all(path.exists() for path in paths), 'it is not as old as its grace'
    assert tell(bench, True) == [(Drift.REMNANT, ident, 'repaired') for ident in sorted((volume, other))]
    assert not any(path.exists() for path in paths)
    assert bench.look() == []
    assert (d.status(volume), d.status(other)) == ('available', 'available')


def test_what_a_step_needs_is_no_remnant(bench: Bench) -> None:
    d = bench.deployed
    volume = d.make_volume()
    (draft,) = leave(bench, f'draft-{volume}')
    for status in ('downloading', 'creating', 'deleting', 'error_deleting', 'reverting'):
        d.worker._storage.stop()  # nobody carries on with it
        bench.write(models.Volume, volume, status=status)
        assert Drift.REMNANT not in bench.kinds(True), status
    assert draft.exists()
    d.worker._storage.start()
    bench.write(models.Volume, volume, status='available')
    with d.worker._storage._locks.try_storage(volume):
        (found,) = bench.look(True)
        assert (found.outcome, found.error) == ('failed', 'A step on its storage has not ended.')
    assert tell(bench, True) == [(Drift.REMNANT, volume, 'repaired')]


def test_what_may_be_the_only_copy_is_left_alone(bench: Bench) -> None:
    d = bench.deployed
    volumes = [d.make_volume() for _ in range(2)]
    snapshot = d.engine.snapshots.create(d.ctx, SnapshotWish(volumes[0])).id
    d.wait(lambda: d.engine.snapshots.show(d.ctx, snapshot).status == 'available')
    assert bench.look() == []
    trash = [folder(bench) / f'trash-{ident}.1f' for ident in (*volumes, snapshot)]
    for kind, ident, path in zip(('volume', 'volume', 'snapshot'), (*volumes, snapshot), trash, strict=True):
        (folder(bench) / f'{kind}-{ident}').rename(path)
    bench.write(models.Volume, volumes[1], status='error')  # a reimage that was killed between two renames
    for fix in (False, True):
        found = tell(bench, fix)
        assert [one for one in found if one[0] == Drift.STRAY_STORAGE] == [
            (Drift.STRAY_STORAGE, f'draft or trash of {ident}, and nothing else', 'reported')
            for ident in sorted((*volumes, snapshot))
        ]
        assert Drift.REMNANT not in {kind for kind, _, _ in found}
    assert all(path.exists() for path in trash)
    trash[0].rename(folder(bench) / f'volume-{volumes[0]}')


def test_what_was_given_back_is_never_removed(bench: Bench) -> None:
    d = bench.deployed
    volume, other = d.make_volume(), d.make_volume()
    snapshot = d.engine.snapshots.create(d.ctx, SnapshotWish(other)).id
    d.wait(lambda: d.engine.snapshots.show(d.ctx, snapshot).status == 'available')
    d.engine.manageable_snapshots.unmanage(d.ctx, snapshot)
    d.engine.manageable.unmanage(d.ctx, volume)
    d.wait(lambda: d.status(volume) is None)
    for kind, ident in (('volume', volume), ('snapshot', snapshot)):
        (folder(bench) / f'{kind}-{ident}').rename(folder(bench) / f'trash-{ident}.1f')
    paths = [folder(bench) / f'trash-{ident}.1f' for ident in (volume, snapshot)] + leave(bench, f'draft-{volume}')
    for fix in (False, True):
        ((kind, about, outcome),) = tell(bench, fix)
        assert (kind, outcome) == (Drift.STRAY_STORAGE, 'reported')
        assert volume in about
        assert snapshot in about
    assert all(path.exists() for path in paths)


def test_what_is_left_of_a_volume_that_was_managed_is_removed(bench: Bench) -> None:
    d = bench.deployed
    given = d.make_volume()
    d.engine.manageable.unmanage(d.ctx, given)
    d.wait(lambda: d.status(given) is None)
    taken = d.engine.manageable.manage(d.ctx, Takeover(('testhost@file', None), f'volume-{given}')).id
    d.wait(lambda: d.status(taken) == 'available')
    d.engine.volumes.delete(d.ctx, taken)
    d.wait(lambda: d.status(taken) is None)
    (trash,) = leave(bench, f'trash-{taken}.1f')
    assert tell(bench, True) == [(Drift.REMNANT, taken, 'repaired')]
    assert not trash.exists()


def test_what_becomes_the_only_copy_after_the_look_is_left_alone(bench: Bench) -> None:
    d = bench.deployed
    volume = d.make_volume()
    (trash,) = leave(bench, f'trash-{volume}.1f')
    (found,) = bench.look()
    (folder(bench) / f'volume-{volume}').rename(folder(bench) / 'elsewhere')
    with pytest.raises(errors.Conflict, match='only copy'):
        d.worker._storage.remnants.remove(str(found.about), volume)
    assert trash.exists()
    (folder(bench) / 'elsewhere').rename(folder(bench) / f'volume-{volume}')


def test_what_takes_long_to_remove_is_begun_and_counted_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    d = bench.deployed
    volume = d.make_volume()
    (trash,) = leave(bench, f'trash-{volume}.1f')
    monkeypatch.setattr(remnants, '_PATIENCE', 0.01)
    free, real = threading.Event(), FileBackend.clear

    def clear(backend: FileBackend, ident: str, proceed: Callable[[], bool]) -> None:
        assert free.wait(30)
        real(backend, ident, proceed)

    monkeypatch.setattr(FileBackend, 'clear', clear)
    assert tell(bench, True) == [(Drift.REMNANT, volume, 'failed')]
    assert bench.look(True) == [], 'it is on its way out'
    free.set()
    d.wait(lambda: not trash.exists() and not d.worker._storage.remnants.is_at(volume))
    assert bench.look(True) == []


def test_many_remnants_wait_for_a_person(bench: Bench) -> None:
    d = bench.deployed
    volumes = [d.make_volume() for _ in range(7)]
    paths = leave(bench, *(f'draft-{ident}' for ident in volumes))
    found = bench.look(True)
    assert {one.outcome for one in found} == {'waiting'}
    assert all(path.exists() for path in paths)
    (seal,) = {one.seal for one in found}
    assert {outcome for _, _, outcome in tell(bench, True, (str(seal),))} == {'repaired'}
    assert not any(path.exists() for path in paths)


def test_a_half_copy_at_the_destination_whose_migration_nobody_knows(make_bench, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = make_bench(others={'other': FileBackend(tmp_path / 'other')})
    d = bench.deployed
    volume = d.make_volume()
    there = d.others['other']._reconciler
    draft = tmp_path / 'other' / f'draft-{volume}'
    draft.write_bytes(b'half')
    (tmp_path / 'other' / f'volume-{volume}').write_bytes(b'whole')
    found = {(one.kind, one.about, one.outcome) for one in there.run(fix=True)}
    assert found == {
        (Drift.REMNANT, volume, 'repaired'),
        (Drift.STRAY_STORAGE, f'volume-{volume}, which is on testhost@file', 'reported'),
    }
    assert not draft.exists()
    assert (tmp_path / 'other' / f'volume-{volume}').exists()
    assert bench.look() == []


def test_what_a_migration_has_there_is_its_own(make_bench, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    bench = make_bench(others={'other': FileBackend(tmp_path / 'other')})
    d = bench.deployed
    volume = d.make_volume()
    seen = []
    real = FileBackend.discard

    def look_first(backend: FileBackend, ident: str) -> None:
        seen.append((bench.look(), d.others['other']._reconciler.run(fix=False)))
        real(backend, ident)

    monkeypatch.setattr(FileBackend, 'discard', look_first)
    d.engine.migrations.migrate(d.ctx, volume, ('testhost@other', None), locked=False)
    d.wait(lambda: seen and not (folder(bench) / f'volume-{volume}').exists())
    assert seen == [([], [])]
    assert d.others['other']._reconciler.run(fix=False) == []


def test_steps_that_stand_still(make_bench) -> None:  # type: ignore[no-untyped-def]
    bench = make_bench(lease_rules=LeaseRules())
    d = bench.deployed
    volume = d.make_volume()
    d.worker._storage.stop()
    bench.write(models.Volume, volume, status='uploading')
    with d.db.writer() as session:
        session.add(models.ImageCopy(volume_id=volume, image_id=str(uuid.uuid4()), purpose='upload', percent=7))
    assert bench.look() == []
    bench.write(models.Volume, volume, status_at=models.now() - datetime.timedelta(seconds=601))
    stuck = [(Drift.STUCK_STEP, f'uploading {volume}', 'reported')]
    assert tell(bench) == stuck
    found = d.engine.explanations.explain_volume(d.ctx, volume, live=True).truth.findings
    assert [one.kind for one in found] == [Drift.STUCK_STEP]
    d.leases.grab(VOLUME, volume)
    d.leases._adopt(VOLUME, volume)  # somebody is at it
    assert bench.look() == []
    d.reconciler._steps._watch._sights[volume].first -= 601
    assert tell(bench) == stuck, 'it has not advanced'
    with d.db.writer() as session:
        session.execute(sa.update(models.ImageCopy).values(percent=8))
    assert bench.look() == []
    d.leases.drop(volume)


def test_snapshots_and_migrations_that_stand_still(make_bench, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = make_bench(others={'other': FileBackend(tmp_path / 'other')})
    d = bench.deployed
    volume, long_ago = d.make_volume(), models.now() - datetime.timedelta(seconds=601)
    d.others['other'].stop()
    d.engine.migrations.migrate(d.ctx, volume, ('testhost@other', None), locked=False)
    with d.db.writer() as session:
        session.execute(sa.update(models.Migration).values(state_at=long_ago))
    (found,) = d.others['other']._reconciler.run(fix=False)
    assert (found.kind, found.volume_id) == (Drift.STUCK_STEP, volume)
    assert found.about.startswith('starting ')
    d.others['other'].start()
    d.wait(lambda: d.engine.volumes.show(d.ctx, volume).host == 'testhost@other')
    other = d.make_volume()
    d.worker._storage.stop()
    snapshot = d.engine.snapshots.create(d.ctx, SnapshotWish(other)).id
    bench.write(models.Snapshot, snapshot, status_at=long_ago)
    assert tell(bench) == [(Drift.STUCK_STEP, f'creating {snapshot}', 'reported')]
