# SPDX-License-Identifier: Apache-2.0
"""What takes long is in nobody's way, and a fence is ahead of all: on a real database, RPC and worker."""

import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.drivers.errors import ClearAborted, StorageError
from multiattach.drivers.targets.null import NullTarget
from multiattach.rpc.clients import ExportOrder
from tests.deployments import embedded

THREADS = 3  # of the worker's RPC server
AT_ONCE = 5.0  # s


class SlowTarget(NullTarget):
    """Admits nobody while it is told to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.go_on.set()
        self.entered = threading.Semaphore(0)

    def grant(self, *args: Any) -> Any:
        self.entered.release()
        assert self.go_on.wait(30)
        return super().grant(*args)


class Zeroing:
    """Stands for a disk on which zeroing takes as long as a test wants."""

    def __init__(self, clear: Callable[[str, Callable[[], bool]], None]) -> None:
        self._clear = clear
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, volume_id: str, proceed: Callable[[], bool]) -> None:
        self.begun.set()
        while not self.go_on.wait(0.01):
            if not proceed():
                raise ClearAborted('the worker stops')
        self._clear(volume_id, proceed)


@pytest.fixture
def d(tmp_path: pathlib.Path) -> Iterator[embedded.Deployment]:
    """All volumes share a lock."""
    with embedded.deploy(tmp_path, SlowTarget(), report_interval=600, start_worker=False, volume_locks=1) as parts:
        parts.conf.set_override('executor_thread_pool_size', THREADS)
        parts.make_type()
        parts.worker.start()
        try:
            yield parts
        finally:
            parts.target.go_on.set()  # type: ignore[attr-defined]
            parts.worker.stop()


@pytest.fixture
def zeroing(d: embedded.Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zeroing]:
    backend = d.exporter._backend
    made = Zeroing(backend.clear)
    monkeypatch.setattr(backend, 'clear', made)
    yield made
    made.go_on.set()


def attach(d: embedded.Deployment, volume_id: str, host: str) -> Any:
    row = d.engine.attachments.create(
        d.ctx, volume_id, str(uuid.uuid4()), {'host': host, 'initiator': f'iqn.1994-05.com.redhat:{host}'}, None
    )
    d.engine.attachments.complete(d.ctx, row.id)
    return row


def list_trash(d: embedded.Deployment) -> list[pathlib.Path]:
    return list((d.directory / 'volumes').glob('trash-*'))


def test_a_fence_an_attach_and_a_re_export_do_not_wait_for_zeroing(d: embedded.Deployment, zeroing: Zeroing) -> None:
    shared, doomed = d.make_volume('multi'), d.make_volume('multi', size=3)
    attach(d, shared, 'one')
    before = d.engine.services.list_backends()[0].allocated_gb
    d.engine.volumes.delete(d.ctx, doomed)
    assert zeroing.begun.wait(20)
    started = time.monotonic()
    attach(d, shared, 'two')
    assert d.exporter.restore()
    assert d.engine.fences.fence_host(d.ctx, 'one').is_complete
    created = d.make_volume('multi')
    d.engine.volumes.delete(d.ctx, created)
    assert time.monotonic() - started < AT_ONCE
    assert d.status(doomed) == 'deleting'
    assert d.engine.services.list_backends()[0].allocated_gb == before + 1, 'its room was given away'
    d.wait(lambda: len(list_trash(d)) == 2)
    assert not (d.directory / 'volumes' / f'volume-{doomed}').exists()
    zeroing.go_on.set()
    d.wait(lambda: d.status(doomed) is None)
    d.wait(lambda: d.status(created) is None)
    assert list_trash(d) == []


def test_the_worker_s_rounds_and_its_end_do_not_wait_for_zeroing(d: embedded.Deployment, zeroing: Zeroing) -> None:
    doomed = d.make_volume('multi')
    d.engine.volumes.delete(d.ctx, doomed)
    assert zeroing.begun.wait(20)
    started = time.monotonic()
    d.worker.tend()
    steps = d.worker._storage
    steps.stop()
    assert time.monotonic() - started < AT_ONCE
    assert d.status(doomed) == 'deleting'
    assert len(list_trash(d)) == 1
    # The next one finds it.
    zeroing.go_on.set()
    steps.start()
    d.worker.tend()
    d.wait(lambda: d.status(doomed) is None)
    assert list_trash(d) == []


def test_zeroing_that_fails_is_told_and_can_be_asked_for_again(
    d: embedded.Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = d.make_volume('multi')
    with monkeypatch.context() as patch:

        def fail(*_args: Any) -> None:
            raise StorageError('blkdiscard failed')

        patch.setattr(d.exporter._backend, 'clear', fail)
        d.engine.volumes.delete(d.ctx, doomed)
        d.wait(lambda: d.status(doomed) == 'error_deleting')
    assert len(list_trash(d)) == 1
    d.engine.volumes.delete(d.ctx, doomed, force=True)
    d.wait(lambda: d.status(doomed) is None)
    assert list_trash(d) == []


def test_a_fence_begins_while_exports_take_all_threads_of_the_worker(
    d: embedded.Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One export is at the target and holds the lock that all share, the others wait for it."""
    target: Any = d.target
    row = attach(d, d.make_volume('multi'), 'dead')
    others = [d.make_volume('multi') for _ in range(3 * THREADS)]
    while target.entered.acquire(blocking=False):
        pass
    target.go_on.clear()
    ended: list[str] = []
    real = target.fence

    def fence(*args: Any, **more: Any) -> Any:
        ended.append('fence')
        return real(*args, **more)

    monkeypatch.setattr(target, 'fence', fence)
    with ThreadPoolExecutor(len(others) + 1) as pool:

        def export(volume_id: str) -> None:
            attach(d, volume_id, 'alive')
            ended.append('export')

        exports = [pool.submit(export, volume_id) for volume_id in others]
        assert target.entered.acquire(timeout=20)
        turns = d.exporter._locks._turns[0]
        d.wait(lambda: len(turns._waiting) == THREADS - 1)
        fenced = pool.submit(d.engine.fences.fence_attachment, d.ctx, row.id)
        d.wait(lambda: turns.is_hurried)
        assert turns.holder is not None
        assert turns.holder.step == 'export'
        target.go_on.set()
        [answer] = fenced.result(20)
        for one in exports:
            one.result(30)
    assert answer.proof is not None
    assert ended.index('fence') <= 1, 'exports that came before it went ahead'


def test_callers_and_workers_of_the_release_before_fence_over_the_topic_that_they_know(
    d: embedded.Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = attach(d, d.make_volume('multi'), 'one')
    workers = d.engine.fences._workers
    assert d.engine.services.fences_apart(embedded.BACKEND)
    with d.db.writer() as session:
        service = session.scalars(sa.select(models.Service).where(models.Service.binary == 'multiattach-volume')).one()
        service.report = {key: value for key, value in service.report.items() if key != 'fences_apart'}
    assert not d.engine.services.fences_apart(embedded.BACKEND)

    def refuse(*_args: Any) -> None:
        raise AssertionError('nobody listens there')

    monkeypatch.setattr(workers.fencing, 'fence', refuse)
    monkeypatch.setattr(workers.fencing, 'fence_many', refuse)
    [answer] = d.engine.fences.fence_attachment(d.ctx, row.id)
    assert answer.proof is not None
    assert d.engine.fences.fence_host(d.ctx, 'one').is_complete
    # What an API of the release before sends.
    assert workers.fence(ExportOrder(embedded.BACKEND, row.volume_id, row.id), None)['cut']['acl']


def test_a_volume_whose_lock_is_busy_is_no_drift_and_is_told(d: embedded.Deployment) -> None:
    volume_id = d.make_volume('multi')
    attach(d, volume_id, 'one')
    d.target.remove_export(volume_id)
    held = d.exporter._locks
    held.patience = 0.1
    with held.hold(volume_id, 'export'):
        found = d.reconciler.reconcile(False)
        with pytest.raises(errors.OutcomeUnknown, match='re-export'):
            d.exporter.agree(volume_id)
        assert not d.exporter.restore()
    assert found['findings'] == []
    assert '"export" of volume' in found['unread']['target']
    assert [one['kind'] for one in d.reconciler.reconcile(False)['findings']] != []
