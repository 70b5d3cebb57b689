# SPDX-License-Identifier: Apache-2.0
"""The volume worker's side of snapshots: what it owns, and that it was done."""

import datetime

from multiattach.db import (
    attachments as db_attachments,
    database,
    messages,
    models,
    snapshots as db_snapshots,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import errors, snapshots, states
from multiattach.domain.messages import SNAPSHOT_FAILED, STORAGE_FAILED


class SnapshotRows:
    """Plans and outcomes of the worker's steps on snapshots."""

    def __init__(self, db: database.Database, host: str) -> None:
        self._db = db
        self._host = host

    @database.retry
    def load(self, snapshot_id: str, status: str) -> models.Snapshot | None:
        """Read a snapshot, or None if it is not (any more) in the status in which the step is due."""
        with self._db.reader() as session:
            return db_snapshots.load(session, self._host, snapshot_id, status)

    @database.retry
    def list_open(self) -> list[tuple[str, str, datetime.datetime]]:
        """List the snapshots whose next step is this worker's, oldest first: id, status and since when."""
        with self._db.reader() as session:
            return [(row.id, row.status, row.status_at) for row in db_snapshots.list_open(session, self._host)]

    @database.retry
    def list_of_volume(self, volume_id: str, status: str) -> list[str]:
        """List the snapshots of a volume that are in a status, newest first."""
        with self._db.reader() as session:
            return [row.id for row in db_snapshots.list_of_volume(session, volume_id) if row.status == status]

    @database.retry
    def list_recorded(self) -> list[tuple[str, str, str]]:
        """List id, volume and status of this backend's snapshots."""
        with self._db.reader() as session:
            return db_snapshots.list_recorded(session, self._host)

    @database.retry
    def may_be_written(self, volume_id: str) -> bool:
        """Tell whether a target may admit somebody to a volume."""
        with self._db.reader() as session:
            return any(row.state in states.ON_TARGET for row in db_attachments.list_of_volume(session, volume_id))

    @database.retry
    def write_progress(self, snapshot_id: str, progress: str) -> None:
        with self._db.writer() as session:
            db_snapshots.write_progress(session, snapshot_id, progress)

    @database.retry
    def finish(self, snapshot_id: str, event: str) -> None:
        """Write that a step is done."""
        with self._db.writer() as session:
            db_snapshots.lock(session, snapshot_id)
            done = {'progress': snapshots.DONE, 'managed_from': None} if event == 'created' else {}
            db_snapshots.move(session, snapshot_id, event, **done)

    @database.retry
    def fail(self, snapshot_id: str, event: str, text: str) -> None:
        """Write that a step failed for good, and tell the user why."""
        with self._db.writer() as session:
            row = db_snapshots.lock(session, snapshot_id)
            db_snapshots.move(session, snapshot_id, event)
            messages.add(
                session,
                row.project_id,
                snapshot_id,
                SNAPSHOT_FAILED[event],
                text,
                request_id=row.request_id,
                resource_type='VOLUME_SNAPSHOT',
            )

    @database.retry
    def end_revert(self, volume_id: str, event: str, text: str = '') -> None:
        """Write that a revert is done, or failed for good: of the volume and of its snapshot.

        :param event: ``reverted`` or ``revert_failed``.
        :param text: why it failed, for the user.
        """
        with self._db.writer() as session:
            volume = db_volumes.lock(session, volume_id)
            transitions.move_volume(session, volume_id, event)
            for row in db_snapshots.list_of_volume(session, volume_id, for_update=True):
                if row.status == snapshots.Snapshot.RESTORING:
                    db_snapshots.move(session, row.id, event)
            if text:
                kind = STORAGE_FAILED[event]
                messages.add(session, volume.project_id, volume_id, kind, text, request_id=volume.request_id)

    @database.retry
    def find_volume(self, volume_id: str) -> models.Volume | None:
        """Read a volume that is this backend's, with what it is; None if it is gone."""
        with self._db.reader() as session:
            try:
                volume = db_volumes.load(session, volume_id)
            except errors.VolumeNotFound:
                return None
        return volume if volume.host == self._host else None
