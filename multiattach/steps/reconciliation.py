# SPDX-License-Identifier: Apache-2.0
"""The reconcilers' side of the database: what is recorded, and the normal steps that put it right.

Each step reads its row again under the volume's lock; what is not as it was seen is left alone.
"""

import datetime
from typing import Any

from multiattach.db import attachments as db_attachments
from multiattach.db import database, epochs, leases, models, transitions
from multiattach.db import reconciliation as rows
from multiattach.db import volumes as db_volumes
from multiattach.domain import errors, states
from multiattach.domain.epoch import Doubt
from multiattach.rpc.clients import ExportOrder
from multiattach.steps.orders import leave_target

A = states.Attachment
# States in which a client, or nobody, has the next step: no worker or agent is at it.


class Reconciliation:
    def __init__(self, db: database.Database, actor: transitions.Actor) -> None:
        self._db = db
        self._actor = actor

    # -- reading -------------------------------------------------------------------------------

    @database.retry
    def list_on_backend(self, host: str) -> list[rows.BackendRow]:
        """List the volumes of a backend that somebody has, with their attachments."""
        with self._db.reader() as session:
            return rows.read_backend(session, host)

    @database.retry
    def list_of_volumes(self, volume_ids: list[str]) -> list[rows.BackendRow]:
        """List live volumes with their attachments."""
        with self._db.reader() as session:
            return rows.list_of_volumes(session, volume_ids)

    @database.retry
    def find_volumes(self, volume_ids: list[str]) -> dict[str, tuple[str | None, bool]]:
        """Return, of the volumes that are recorded, the backend and whether the volume lives."""
        with self._db.reader() as session:
            return rows.find_volumes(session, volume_ids)

    @database.retry
    def list_of_agent(self, host: str) -> list[rows.AgentRow]:
        with self._db.reader() as session:
            return rows.read_agent(session, host)

    @database.retry
    def list_places(self, volume_ids: list[str]) -> list[rows.Place]:
        """List the attachments that take a place on a volume."""
        with self._db.reader() as session:
            return rows.list_places(session, volume_ids)

    @database.retry
    def find_servers(self, server_ids: list[str]) -> dict[str, tuple[str, datetime.datetime | None]]:
        """Return the hosts of servers that agents registered, and when a server was gone."""
        with self._db.reader() as session:
            return rows.find_servers(session, server_ids)

    @database.retry
    def list_shared_names(self, initiators: list[str] | None = None) -> dict[str, list[str]]:
        """List the initiator names that live attachments have with several hosts, and those hosts."""
        with self._db.reader() as session:
            return rows.list_shared_names(session, initiators)

    @database.retry
    def list_never_connected(self, attachment_ids: list[str]) -> set[str]:
        """Return the attachments that no host was ever to be admitted for."""
        with self._db.reader() as session:
            return rows.list_never_connected(session, attachment_ids)

    @database.retry
    def list_infos(self, attachment_ids: list[str]) -> dict[str, dict[str, Any]]:
        with self._db.reader() as session:
            return rows.list_infos(session, attachment_ids)

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

    @database.retry
    def find_ended(self, volume_ids: list[str]) -> dict[str, set[str]]:
        """Return, by volume, the initiators and servers that are recorded to have it no more."""
        with self._db.reader() as session:
            return rows.find_ended(session, volume_ids)

    @database.retry
    def find_registered(self, server_ids: list[str]) -> dict[str, datetime.datetime]:
        """Return since when servers are known."""
        with self._db.reader() as session:
            return rows.find_registered(session, server_ids)

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
                row = db_attachments.get(session, attachment_id, lock=True)
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
            row = db_attachments.get(session, attachment_id, lock=True)
            _check(row, seen)
            transitions.move_attachment(session, attachment_id, 'detach', self._actor)
            transitions.derive_volume(session, row.volume_id)


def _check(row: models.Attachment, seen: str) -> None:
    if row.state != seen:
        raise errors.Conflict(f'The attachment {row.id} is {row.state} by now, not {seen}: it is left alone.')
