# SPDX-License-Identifier: Apache-2.0
"""The reconcilers' side of the database: what is recorded, and the normal steps that put it right.

Each step reads its row again under the volume's lock; what is not as it was seen is left alone.
"""

import datetime

from multiattach.db import (
    database,
    epochs,
    imports,
    inventories,
    leases,
    locks,
    models,
    reconciliation as rows,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import errors, states
from multiattach.domain.epoch import Doubt
from multiattach.rpc.clients import ExportOrder
from multiattach.steps.orders import leave_target

A = states.Attachment


class Reconciliation:
    def __init__(self, db: database.Database, actor: transitions.Actor) -> None:
        self._db = db
        self._actor = actor

    # -- reading -------------------------------------------------------------------------------

    list_on_backend = database.reading(rows.read_backend)
    list_of_volumes = database.reading(rows.list_of_volumes)
    find_volumes = database.reading(rows.find_volumes)
    list_of_agent = database.reading(rows.read_agent)
    list_places = database.reading(rows.list_places)
    find_attachments = database.reading(rows.find_attachments)
    find_servers = database.reading(rows.find_servers)
    list_shared_names = database.reading(rows.list_shared_names)
    list_never_connected = database.reading(rows.list_never_connected)
    list_infos = database.reading(rows.list_infos)
    list_ids = database.reading(rows.list_ids)
    find_ended = database.reading(rows.find_ended)
    find_left = database.reading(rows.find_left)
    find_registered = database.reading(rows.find_registered)
    has_imports = database.reading(imports.has_any)
    list_open_steps = database.reading(inventories.list_open_steps)

    @database.retry
    def find_held(self, attachment_ids: list[str], longest: float) -> set[str]:
        """Return the attachments whose step somebody is at now.

        :param longest: seconds that no lease has left; one that has more is of a clock that was ahead.
        """
        with self._db.reader() as session:
            found = leases.list_of(session, attachment_ids)
        now = models.now()
        latest = now + datetime.timedelta(seconds=longest)
        return {ident for ident, lease in found.items() if now < lease.until <= latest and lease.retry_at is None}

    @database.retry
    def find_doubt(self) -> Doubt | None:
        """Return the first doubt that a worker has noted: the database may be an older copy."""
        with self._db.reader() as session:
            return min(epochs.list_doubts(session), key=lambda one: one.since, default=None)

    # -- putting right -------------------------------------------------------------------------

    @database.retry
    def derive(self, volume_id: str) -> None:
        with self._db.writer() as session:
            db_volumes.lock(session, volume_id)
            transitions.derive_volume(session, volume_id)

    @database.retry
    def drop_mark(self, volume_id: str, mark: str) -> None:
        """Take a mark of os-reserve or os-begin_detaching back; another one, or none, is left alone."""
        with self._db.writer() as session:
            transitions.drop_claim(session, db_volumes.lock(session, volume_id), mark)

    @database.retry
    def begin_delete(self, attachment_id: str, seen: str) -> ExportOrder | None:
        """Write the intent to turn an attachment's initiator away, as a delete by its user does.

        :param seen: state in which it was seen; in another one it is left alone.
        :raises Conflict: it went elsewhere meanwhile.
        """
        with self._db.writer() as session:
            try:
                row = locks.lock_attachment(session, attachment_id)
            except errors.AttachmentNotFound:
                return None
            _check(row, seen)
            return leave_target(session, row, self._actor)

    @database.retry
    def begin_detach(self, attachment_id: str, seen: str) -> None:
        """Write the intent to take a volume from its server, as a detach by its user does.

        :param seen: state in which it was seen; in another one it is left alone.
        :raises Conflict: it went elsewhere meanwhile.
        """
        with self._db.writer() as session:
            row = locks.lock_attachment(session, attachment_id)
            _check(row, seen)
            transitions.move(session, row, 'detach', self._actor)


def _check(row: locks.LockedAttachment, seen: str) -> None:
    if row.state != seen:
        raise errors.Conflict(f'The attachment {row.id} is {row.state} by now, not {seen}: it is left alone.')
