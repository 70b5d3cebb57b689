# SPDX-License-Identifier: Apache-2.0
"""Making volumes of volumes and of snapshots: beside the other steps, because a copy takes as long as it takes."""

import functools
import time
from collections.abc import Callable

from oslo_log import log

from multiattach import failpoints
from multiattach.db.clones import Source
from multiattach.domain import errors, states
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import CopyAborted, DriverUnavailable, StorageError
from multiattach.steps.leases import VOLUME, StepLeases
from multiattach.steps.storage import Storage
from multiattach.volume import answers
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.slow_steps import SlowSteps

LOG = log.getLogger(__name__)

_AT_A_TIME = 2  # more make each one slower, and what servers do
LOOK_AGAIN = 2.0  # s between two looks whether a clone is still wanted


class Copies:
    """The copies that a worker makes. One that broke off is made anew."""

    def __init__(self, storage: Storage, backend: Backend, locks: VolumeLocks, leases: StepLeases) -> None:
        self._leases = leases
        self._storage = storage
        self._backend = backend
        self._locks = locks
        self._steps = SlowSteps(leases, 'copy', _AT_A_TIME)

    def start(self) -> None:
        """Make copies (again)."""
        self._steps.start()

    def stop(self) -> None:
        """Break off the copies in work, and begin no more."""
        self._steps.stop()

    def begin(self, volume_id: str, source: Source) -> None:
        """Have the storage of a clone in ``creating`` made; one that is being made is left alone."""
        self._steps.begin(volume_id, functools.partial(self._run, volume_id, source))

    def _run(self, volume_id: str, source: Source) -> None:
        with (
            self._leases.attempt(VOLUME, volume_id, lambda error: self._give_up(volume_id, error)),
            self._locks.try_storage(volume_id) as held,
        ):
            _check(held)
            try:
                self._copy(volume_id, source)
            except DriverUnavailable as exc:
                raise answers.translate(exc, states.Volume.CREATING) from exc

    def _give_up(self, volume_id: str, error: str) -> None:
        with self._locks.try_storage(volume_id) as held:
            _check(held)
            if self._storage.load(volume_id, states.Volume.CREATING) is not None:
                self._storage.fail(volume_id, 'create_failed', f'create volume: {error}')

    def _copy(self, volume_id: str, source: Source) -> None:
        volume = self._storage.load(volume_id, states.Volume.CREATING)
        if volume is None:
            return
        failpoints.reach('volume.copy.planned')
        try:
            self._clone(volume_id, source, volume.size)
        except StorageError as exc:
            LOG.error('Volume %s cannot be made of %s: %s', volume_id, source, exc)
            self._storage.fail(volume_id, 'create_failed', f'create volume: {exc}')
            return
        except CopyAborted:
            LOG.info('The copy of %s to volume %s is broken off', source, volume_id)
            return
        failpoints.reach('volume.copy.copied')
        self._storage.finish(volume_id, 'created')
        failpoints.reach('volume.copy.finished')
        LOG.info('Volume %s of %d GiB is a clone of %s', volume_id, volume.size, source)

    def _clone(self, volume_id: str, source: Source, size: int) -> None:
        proceed = self._make_proceed(volume_id)
        if source.snapshot_id is None:
            self._backend.clone(volume_id, source.volume_id, size, proceed)
        else:
            self._backend.clone_snapshot(volume_id, source.snapshot_id, source.volume_id, size, proceed)

    def _make_proceed(self, volume_id: str) -> Callable[[], bool]:
        """Build what tells whether to go on: not when the worker stops, nor for a volume given up."""
        looked = time.monotonic()

        def proceed() -> bool:
            nonlocal looked
            failpoints.reach('volume.copy.running')
            if self._steps.is_stopping:
                return False
            if time.monotonic() - looked < LOOK_AGAIN:
                return True
            looked = time.monotonic()
            return self._storage.load(volume_id, states.Volume.CREATING) is not None

        return proceed


def _check(held: bool) -> None:
    if not held:
        raise errors.OutcomeUnknown('Another worker makes the copy.')
