# SPDX-License-Identifier: Apache-2.0
"""The snapshots that the storage has, compared with those that are recorded."""

import time

from multiattach.domain.drift import Drift
from multiattach.domain.findings import Seen
from multiattach.domain.snapshots import WITH_STORAGE
from multiattach.drivers.backends.base import Backend
from multiattach.steps.reconciler import Owns
from multiattach.steps.snapshots import SnapshotRows

_PAUSE = 1800.0  # s between two looks that nobody asks for: Ceph is asked for each image


class SnapshotAccounts:
    """Compares the rows of one backend with its storage."""

    def __init__(self, rows: SnapshotRows, backend: Backend, host: str) -> None:
        self._rows = rows
        self._backend = backend
        self._host = host
        self._looked: float | None = None
        self._seen: list[Seen] = []

    def look(self, owns: Owns, *, everything: bool) -> list[Seen]:
        """List what differs, or did at the last look.

        :param everything: look now.
        :raises DriverError: the storage cannot be read.
        """
        now = time.monotonic()
        if everything or self._looked is None or now - self._looked > _PAUSE:
            self._seen = self._compare()
            self._looked = now
        return [one for one in self._seen if owns(one.volume_id or one.about)]

    def _compare(self) -> list[Seen]:
        there = self._backend.list_snapshots()
        rows = {ident: (volume_id, status) for ident, volume_id, status in self._rows.list_recorded()}
        lost = {ident for ident, (_, status) in rows.items() if status in WITH_STORAGE} - there.keys()
        stray = there.keys() - rows.keys()
        if lost or stray:  # or they were taken, or deleted, between the two looks
            again = self._backend.list_snapshots()
            lost, stray = lost - again.keys(), stray & again.keys()
        return [
            *(Seen(Drift.STRAY_SNAPSHOT, self._host, there[ident], None, ident) for ident in sorted(stray)),
            *(Seen(Drift.NO_SNAPSHOT, self._host, rows[ident][0], None, ident) for ident in sorted(lost)),
        ]
