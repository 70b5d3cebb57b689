# SPDX-License-Identifier: Apache-2.0
"""What steps left in the storage, and nobody goes on with: drafts and trash."""

import functools
from collections.abc import Mapping, Set
from concurrent.futures import Future
from typing import Any

from oslo_log import log

from multiattach.db.inventories import Owner
from multiattach.domain import errors
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.backends.names import Stored
from multiattach.drivers.errors import ClearAborted
from multiattach.steps.storage import Storage
from multiattach.volume import answers
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.slow_steps import SlowSteps

LOG = log.getLogger(__name__)
_PATIENCE = 3.0  # s that one who looks waits; what is zeroed takes as long as it takes


def choose(remnants: Set[str], owners: Mapping[str, Owner], there: Stored, backend: Any) -> set[str]:
    """Choose those of which nothing is lost: what they are left of is gone, or is there itself.

    A step that was killed between two renames, or somebody's hands, may have made trash of the only copy.
    """
    lives = {ident for ident in remnants if ident in owners and owners[ident].lives}
    unseen = lives - there.volumes
    snapshots = set(backend.list_snapshots()) if unseen and hasattr(backend, 'list_snapshots') else set()
    return {ident for ident in remnants if ident in owners and ident not in unseen - snapshots}


class Remnants:
    """:param steps: those of deletions, which this is one of."""

    def __init__(self, rows: Storage, backend: Backend, locks: VolumeLocks, steps: SlowSteps) -> None:
        self._rows = rows
        self._backend = backend
        self._locks = locks
        self._steps = steps

    def is_at(self, ident: str) -> bool:
        """Tell whether what is left of it is being removed, which may take hours."""
        return self._steps.has(ident)

    def remove(self, ident: str, volume_id: str) -> None:
        """Remove the draft and the trash of a volume or a snapshot, unless a step on it is due.

        :param volume_id: whose storage is locked meanwhile.
        :raises OutcomeUnknown: it takes longer, and goes on.
        """
        done: Future[None] = Future()
        self._steps.begin(ident, functools.partial(self._run, ident, volume_id, done))
        try:
            done.result(_PATIENCE)
        except TimeoutError:
            raise errors.OutcomeUnknown('It is being removed; the next look tells what came of it.') from None

    def _run(self, ident: str, volume_id: str, done: 'Future[None]') -> None:
        try:
            self._remove(ident, volume_id)
        except errors.MultiattachError as exc:
            done.set_exception(exc)
            raise
        done.set_result(None)

    def _remove(self, ident: str, volume_id: str) -> None:
        with self._locks.try_storage(volume_id) as held:
            if not held:
                raise errors.OutcomeUnknown('A step on its storage has not ended.')
            if self._rows.find_busy([ident]):
                raise errors.Conflict('A step on it is due by now: it is left alone.')
            with answers.expect('What is left in the storage cannot be removed'):
                if not choose({ident}, self._rows.find_owners([ident]), self._backend.list_storage(), self._backend):  # type: ignore[attr-defined]
                    raise errors.Conflict('It may be the only copy by now: it is left alone.')
                try:
                    self._backend.movable.drop_draft(ident)  # type: ignore[attr-defined]
                    self._backend.clear(ident, lambda: not self._steps.is_stopping)
                except ClearAborted as exc:
                    raise errors.OutcomeUnknown(f'What is left in the storage is not removed now: {exc}.') from exc
        LOG.info('What was left of %s, of volume %s, is removed from the storage', ident, volume_id)
