# SPDX-License-Identifier: Apache-2.0
"""The snapshots that the storage has, compared with those that are recorded."""

from multiattach.domain.drift import Drift
from multiattach.domain.findings import Seen
from multiattach.domain.snapshots import WITH_STORAGE
from multiattach.drivers.backends.base import Backend
from multiattach.steps.snapshots import SnapshotRows


class SnapshotAccounts:
    """Compares the rows of one backend with its storage."""

    def __init__(self, rows: SnapshotRows, backend: Backend, host: str) -> None:
        self._rows = rows
        self._backend = backend
        self._host = host

    def compare(self) -> list[Seen]:
        """List what differs.

        :raises DriverError: the storage cannot be read.
        """
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
