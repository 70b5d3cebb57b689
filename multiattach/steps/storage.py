# SPDX-License-Identifier: Apache-2.0
"""The volume worker's side of a volume's storage: what it owns, and that it was done."""

import contextlib
import datetime
from typing import Any

from multiattach.db import (
    attachments as db_attachments,
    clones as db_clones,
    database,
    inventories,
    messages,
    models,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import errors, states
from multiattach.domain.messages import STORAGE_FAILED


@database.retry
def list_renamed(db: database.Database) -> dict[str, str]:
    """List the ids after which storage is named that has not its volume's own, by volume."""
    with db.reader() as session:
        return db_volumes.list_renamed(session)


class Storage:
    """Plans and outcomes of the worker's steps on volumes."""

    def __init__(self, db: database.Database, host: str) -> None:
        self._db = db
        self._host = host

    @database.retry
    def load(self, volume_id: str, status: str) -> models.Volume | None:
        """Read a volume, or None if it is not (any more) in the status in which the step is due."""
        with self._db.reader() as session:
            try:
                volume = db_volumes.load(session, volume_id)
            except errors.VolumeNotFound:
                return None
        due = volume.status == status and volume.host == self._host
        return volume if due else None

    find_source = database.reading(db_clones.find_source)

    @database.retry
    def list_open(self) -> list[tuple[str, str, datetime.datetime]]:
        """List the volumes whose next step is this worker's, oldest first: id, status and since when."""
        with self._db.reader() as session:
            rows = db_volumes.list_owned(session, self._host, states.WORKER_STATUSES)
            return [(row.id, row.status, row.status_at) for row in rows]

    list_unplaced = database.reading(db_volumes.list_unplaced)

    def fail_unplaced(self, volume_id: str) -> None:
        """End the making of a volume for which nobody chose a backend: whoever was about to is gone."""
        with contextlib.suppress(errors.InvalidTransition, errors.VolumeNotFound):
            self.fail(
                volume_id,
                'create_failed',
                'create volume: the service ended before it chose a backend; create it anew',
                unplaced=True,
            )

    list_agent_hosts = database.reading(db_attachments.list_agent_hosts)
    list_statuses = database.reading(inventories.list_statuses)
    find_owners = database.reading(inventories.find_owners)
    find_busy = database.reading(inventories.find_busy)

    def has(self, ident: str) -> bool:
        """Tell whether what is named after an id is, or was, of a volume or a snapshot, and was not given back."""
        return bool(self.find_owners([ident]))

    @database.retry
    def list_nova_servers(self, volume_id: str) -> list[str]:
        with self._db.reader() as session:
            return sorted(
                {
                    row.instance_uuid
                    for row in db_attachments.list_of_volume(session, volume_id)
                    if row.instance_uuid and row.agent_host is None and row.state == states.Attachment.ATTACHED
                }
            )

    @database.retry
    def finish(self, volume_id: str, event: str, **values: Any) -> None:
        """Write that a step is done."""
        with self._db.writer() as session:
            db_volumes.lock(session, volume_id)
            transitions.move_volume(session, volume_id, event, **values)

    @database.retry
    def fail(self, volume_id: str, event: str, text: str, *, unplaced: bool = False) -> None:
        """Write that a step failed for good, and tell the user why.

        :param unplaced: only while nobody has chosen a backend for it.
        """
        with self._db.writer() as session:
            volume = db_volumes.lock(session, volume_id)
            if unplaced and volume.host is not None:
                return
            # What the step had promised counts no more against quotas and the backend's room.
            transitions.move_volume(session, volume_id, event, new_size=None)
            messages.add(
                session, volume.project_id, volume_id, STORAGE_FAILED[event], text, request_id=volume.request_id
            )
