# SPDX-License-Identifier: Apache-2.0
"""The worker's steps under leases: retries that end, an hour of absence, a worker that wakes up late."""

import datetime
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.errors import TargetBusy, TargetError, TargetUnavailable
from multiattach.engine.volumes import VolumeWish
from tests.component.volume.test_exporter import MoodyTarget, attach
from tests.deployments import embedded
from tests.deployments.noauth import make_connector

pytestmark = pytest.mark.every_target

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def d(tmp_path: Any) -> Iterator[Any]:
    rules = LeaseRules(duration=30.0, max_attempts=3, pause=0.0)
    with embedded.deploy(tmp_path, MoodyTarget(), report_interval=3600, lease_rules=rules) as parts:
        parts.make_type()
        yield parts
        parts.target.mood = None
        parts.target.clear()


def reserve(d: Any, volume_id: str) -> str:
    ident: str = d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), None, None).id
    return ident


def leave(d: Any, mood: Exception, ident: str) -> None:
    """Have an export left without a result."""
    d.target.mood = mood
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.attachments.connect(d.ctx, ident, make_connector('a'))


def count_leases(d: Any) -> int:
    with d.db.reader() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(models.StepLease)))


def make_older(d: Any) -> None:
    """Set everything an hour back."""
    with d.db.writer() as session:
        for table, names in (
            (models.Attachment, ('state_at',)),
            (models.Volume, ('status_at',)),
            (models.StepLease, ('since', 'lease_until', 'retry_at')),
        ):
            for row in session.scalars(sa.select(table)):
                for name in names:
                    if getattr(row, name) is not None:
                        setattr(row, name, getattr(row, name) - HOUR)


def test_an_export_is_given_up_with_the_reason(d: Any) -> None:
    volume_id = d.make_volume('multi')
    other = attach(d, volume_id, 'other')
    ident = reserve(d, volume_id)
    leave(d, TargetUnavailable('no answer'), ident)
    for _ in range(2):
        assert d.engine.attachments.show(d.ctx, ident).state == 'exporting'
        d.worker.tend()
    row = d.engine.attachments.show(d.ctx, ident)
    assert row.state == 'reserved'
    assert 'given up after 3 attempts' in row.error
    assert 'no answer' in row.error
    assert count_leases(d) == 0
    d.target.mood = None  # and it can be tried anew
    assert d.engine.attachments.connect(d.ctx, ident, make_connector('a')).state == 'exported'
    assert d.engine.attachments.show(d.ctx, other.id).state == 'attached'


def test_what_a_given_up_export_may_have_left_is_taken_back(d: Any) -> None:
    volume_id = d.make_volume('multi')
    ident = reserve(d, volume_id)
    leave(d, TargetUnavailable('no answer'), ident)
    d.worker.tend()
    assert volume_id in d.target.list_exports()  # the act was carried out; the answer was lost
    d.target.mood = None
    d.exporter.give_up(volume_id, ident, 'enough')
    assert d.engine.attachments.show(d.ctx, ident).state == 'reserved'
    assert volume_id not in d.target.list_exports()


def test_an_unexport_is_given_up_and_may_be_asked_for_again(d: Any) -> None:
    volume_id = d.make_volume('multi')
    ident = attach(d, volume_id, 'a').id
    d.target.mood = TargetUnavailable('no answer')
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.attachments.delete(d.ctx, ident)
    for _ in range(2):
        d.worker.tend()
    assert d.engine.attachments.show(d.ctx, ident).state == 'error_detaching'
    assert 'given up' in d.engine.attachments.show(d.ctx, ident).error
    d.target.mood = None
    d.engine.attachments.delete(d.ctx, ident)
    assert d.status(volume_id) == 'available'
    assert d.target.list_exports() == {}


def test_a_fence_is_never_given_up(d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = d.make_volume('multi')
    ident = attach(d, volume_id, 'a').id

    def refuse(*_args: Any, **_more: Any) -> None:
        raise TargetError('busy')

    real = d.target.fence
    monkeypatch.setattr(d.target, 'fence', refuse)
    with pytest.raises(errors.BackendError):
        d.engine.fences.fence_attachment(d.ctx, ident)
    for _ in range(6):
        d.worker.tend()
        assert d.engine.attachments.show(d.ctx, ident).state == 'fencing'
    monkeypatch.setattr(d.target, 'fence', real)
    d.worker.tend()
    assert d.engine.attachments.show(d.ctx, ident).state == 'fenced'
    assert count_leases(d) == 0


def test_a_volume_that_cannot_be_deleted_says_so(d: Any) -> None:
    volume_id = d.make_volume()
    d.target.mood = TargetUnavailable('no answer')
    d.engine.volumes.delete(d.ctx, volume_id)
    d.wait(lambda: count_leases(d) == 1)
    d.wait(lambda: d.worker.tend() or d.status(volume_id) != 'deleting')  # in threads of their own
    assert d.status(volume_id) == 'error_deleting'
    with d.db.reader() as session:
        texts = list(session.scalars(sa.select(models.Message.user_message)))
    assert any('given up after 3 attempts' in text for text in texts)


def test_an_unexpected_failure_is_retried_and_bounded(d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_id = d.make_volume('multi')
    ident = reserve(d, volume_id)

    def fail(*_args: Any) -> None:
        raise ValueError('secret inside')

    monkeypatch.setattr(d.target, 'grant', fail)
    with pytest.raises(errors.MultiattachError):
        d.engine.attachments.connect(d.ctx, ident, make_connector('a'))
    for _ in range(2):
        d.worker.tend()
    row = d.engine.attachments.show(d.ctx, ident)
    assert row.state == 'reserved'
    assert 'unexpected failure (ValueError)' in row.error
    assert 'secret' not in row.error


@pytest.mark.parametrize('step', [0, 50, -50])
def test_a_volume_without_a_backend_ends_when_its_api_is_gone(
    d: Any, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The clock of the API may have been wrong: the worker counts by itself."""

    class Killed(BaseException):
        pass

    now, clock, past = models.now, time.monotonic, [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock() + past[0])

    def die(*_args: Any) -> None:
        raise Killed

    monkeypatch.setattr(d.engine.volumes, '_set_backend', die)
    monkeypatch.setattr(models, 'now', lambda: now() + datetime.timedelta(seconds=step))
    with pytest.raises(Killed):
        d.engine.volumes.create(d.ctx, VolumeWish(1))
    monkeypatch.setattr(models, 'now', now)
    with d.db.reader() as session:
        ident = session.scalars(sa.select(models.Volume.id)).one()
    for past[0] in (0.0, 29.0):
        d.worker.tend()
        assert d.status(ident) == 'creating'  # its API may be at it
    past[0] = 31.0
    d.worker.tend()
    assert d.status(ident) == 'error'
    d.engine.volumes.delete(d.ctx, ident)
    assert d.status(ident) is None


def test_a_worker_that_was_dead_for_an_hour_finds_its_house_in_order(d: Any) -> None:
    """Nothing is resurrected, nothing is lost."""
    volumes = [d.make_volume('multi') for _ in range(4)]
    kept = attach(d, volumes[0], 'a').id
    leaving = attach(d, volumes[1], 'a').id
    coming = reserve(d, volumes[2])
    removed = attach(d, volumes[3], 'a').id
    d.engine.attachments.delete(d.ctx, removed)
    leave(d, TargetUnavailable('no answer'), coming)
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.attachments.delete(d.ctx, leaving)
    d.target.mood = None
    assert count_leases(d) == 2
    make_older(d)
    d.target.lives += 1  # the target daemon is another one, too
    for volume_id in list(d.target.list_exports()):
        d.target.remove_export(volume_id)
    d.worker.tend()
    assert d.engine.attachments.show(d.ctx, kept).state == 'attached'
    assert d.engine.attachments.show(d.ctx, coming).state == 'exported'
    for ident in (leaving, removed):
        with pytest.raises(errors.AttachmentNotFound):
            d.engine.attachments.show(d.ctx, ident)
    assert set(d.target.list_exports()) == {volumes[0], volumes[2]}
    assert [d.status(one) for one in volumes] == ['in-use', 'available', 'attaching', 'available']
    assert count_leases(d) == 0


def test_one_that_wakes_up_after_its_lease_was_taken_does_no_harm(d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It slept in the target's answer; the step was carried on, and the attachment is gone since."""
    volume_id = d.make_volume('multi')
    ident = reserve(d, volume_id)
    real, asleep, wake = d.target.grant, threading.Event(), threading.Event()

    def sleep(*args: Any) -> Any:
        info = real(*args)
        asleep.set()
        wake.wait(20)
        return info

    monkeypatch.setattr(d.target, 'grant', sleep)
    sleeper = threading.Thread(target=lambda: _connect(d, ident))
    sleeper.start()
    assert asleep.wait(20)
    monkeypatch.setattr(d.target, 'grant', real)
    # Its lock ran out, and another worker went on: forward, and back.
    others = d.exporter._locks
    monkeypatch.setattr(d.exporter, '_locks', _FreeLocks())
    d.exporter.export(volume_id, ident)
    d.engine.attachments.delete(d.ctx, ident)
    assert volume_id not in d.target.list_exports()
    monkeypatch.setattr(d.exporter, '_locks', others)
    wake.set()
    sleeper.join(20)
    assert not sleeper.is_alive()
    assert volume_id not in d.target.list_exports()
    assert d.status(volume_id) == 'available'
    assert count_leases(d) == 0


def _connect(d: Any, ident: str) -> None:
    with pytest.raises(errors.MultiattachError):
        d.engine.attachments.connect(d.ctx, ident, make_connector('a'))


class _FreeLocks:
    """Locks of another machine, where nobody holds any."""

    def hold(self, _volume_id: str, _step: str) -> Any:
        return threading.Lock()


@pytest.mark.parametrize(('rounds', 'status', 'size'), [(1, 'in-use', 2), (5, 'error_extending', 1)])
def test_an_extend_waits_for_a_target_that_is_busy_and_gives_up(d: Any, rounds: int, status: str, size: int) -> None:
    volume_id = d.make_volume('multi')
    attach(d, volume_id, 'a')
    d.target.mood = TargetBusy('2 sessions did not end')
    d.engine.actions.extend(d.ctx, volume_id, 2, in_use_allowed=True)
    d.wait(lambda: count_leases(d) == 1)
    for _ in range(rounds):
        assert d.status(volume_id) in ('extending', 'error_extending')
        if rounds == 1:
            d.target.mood = None
        d.worker.tend()
    assert d.status(volume_id) == status
    assert d.engine.volumes.show(d.ctx, volume_id).size == size
