# SPDX-License-Identifier: Apache-2.0
"""The host agent's side of an attachment: what it owns, and that it was done."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from multiattach.db import (
    agendas,
    attachments as db_attachments,
    database,
    fences,
    locks,
    messages,
    models,
    servers as db_servers,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import connection, errors, sharing, states
from multiattach.domain.fences import explain_mark
from multiattach.domain.messages import ATTACH_FAILED, DETACH_FAILED
from multiattach.rpc.clients import ExportOrder
from multiattach.steps.orders import Orders, leave_target


@dataclasses.dataclass(frozen=True)
class HostTask:
    """An attachment as the agent needs it.

    :param device: device name on the server, ``/dev/vdb``.
    :param mode: ``rw`` or ``ro``.
    :param connection_info: flat connection_info (contract 8.2), or None.
    """

    attachment_id: str
    volume_id: str
    server_id: str
    state: str
    device: str
    mode: str
    multiattach: bool
    size_gb: int
    connector: Mapping[str, Any] | None = dataclasses.field(repr=False)
    connection_info: Mapping[str, Any] | None = dataclasses.field(repr=False)
    tag: str | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Agenda:
    """What there is to do.

    :param fence: why this host is to have no volume, None if it may.
    """

    fence: str | None
    is_unswept: bool
    is_open: bool
    is_grown: bool


class HostAttachments:
    def __init__(self, db: database.Database, orders: Orders, host: str) -> None:
        self._db = db
        self._orders = orders
        self._host = host
        self._actor = transitions.Actor(f'host:{host}')

    # -- what there is to do -------------------------------------------------------------------

    @database.retry
    def load(self, attachment_id: str) -> HostTask:
        with self._db.reader() as session:
            return _task(db_attachments.get(session, attachment_id))

    @database.retry
    def look(self) -> Agenda:
        """Tell whether there is anything to do."""
        with self._db.rows() as rows:
            found = agendas.read(rows, self._host)
        fence = None if found.fenced_at is None else explain_mark(self._host, found.fenced_at, found.reason)
        return Agenda(fence, found.is_unswept, found.is_open, found.is_grown)

    @database.retry
    def list_open(self) -> list[tuple[str, str, datetime.datetime]]:
        """List what this agent has to carry on with, oldest first: attachment id, state and since when."""
        with self._db.reader() as session:
            rows = db_attachments.list_of_agent(session, self._host, states.AGENT_OPEN)
            return [(row.id, row.state, row.state_at) for row in rows]

    @database.retry
    def find_fence(self) -> str | None:
        """Return why this host is to have no volume, None if it may."""
        with self._db.reader() as session:
            mark = fences.find_mark(session, self._host)
            return None if mark is None else explain_mark(mark.host, mark.fenced_at, mark.reason)

    @database.retry
    def list_unswept(self) -> list[HostTask]:
        """List what was cut off and may still be on this host, also if its row is gone since; without secrets."""
        with self._db.reader() as session:
            return [_task(row) for row in fences.list_unswept(session, self._host)]

    @database.retry
    def is_replaced(self, task: HostTask) -> bool:
        """Return whether the server has the volume anew: then its disk is not what was cut off."""
        with self._db.reader() as session:
            sharers = db_attachments.list_sharers(
                session, task.volume_id, models.Attachment.attached_host == self._host
            )
        return any(one.instance_uuid == task.server_id and one.state in states.ON_HOST for one in sharers)

    @database.retry
    def finish_sweep(self, task: HostTask) -> None:
        with self._db.writer() as session:
            fences.set_swept(session, task.attachment_id)

    @database.retry
    def is_last_on_host(self, task: HostTask) -> bool:
        """Return whether the host is to disconnect (requirement row 15); asked under the host's lock."""
        with self._db.reader() as session:
            sharers = db_attachments.list_sharers(
                session, task.volume_id, models.Attachment.attached_host == self._host
            )
        return sharing.is_last_on_host(task.attachment_id, self._host, sharers)

    @database.retry
    def register_servers(self, domains: Mapping[str, Mapping[str, Any]]) -> None:
        """Make the host's servers what libvirt shows, see :func:`multiattach.db.servers.register`."""
        with self._db.writer() as session:
            db_servers.register(session, self._host, domains)

    # -- attaching -----------------------------------------------------------------------------

    def connect(self, task: HostTask, connector: Mapping[str, Any], request_id: str | None) -> Mapping[str, Any]:
        """Have the target admit this host; repeating it returns the same.

        :raises Conflict: the sharing rules say no, or the attachment went elsewhere meanwhile.
        :raises BackendError: the worker failed; the attachment is ``reserved`` again.
        :raises OutcomeUnknown: no answer in time; repeat it.
        """
        order = self._begin_connect(task.attachment_id, connection.parse_connector(connector), request_id)
        if order is not None:
            self._orders.export(order, request_id)
        info = self._read_info(task.attachment_id)
        if info is None:
            raise errors.changed_meanwhile(task.attachment_id)
        return info

    @database.retry
    def _begin_connect(
        self, attachment_id: str, wanted: connection.Connector, request_id: str | None
    ) -> ExportOrder | None:
        with self._db.transaction() as work:
            row = locks.lock_attachment(work, attachment_id, with_info=True)
            return self._orders.begin_connect(work, row, wanted, transitions.Actor(self._actor.name, request_id))[0]

    @database.retry
    def _read_info(self, attachment_id: str) -> Mapping[str, Any] | None:
        with self._db.rows() as rows:
            info: Mapping[str, Any] | None = db_attachments.show(rows, attachment_id).connection_info
            return info

    def begin_attach(self, attachment_id: str) -> HostTask:
        """Write the intent to touch the host.

        :raises InvalidTransition: it went elsewhere meanwhile: leave it.
        """
        self._move(attachment_id, 'connect')
        return self.load(attachment_id)

    def finish_attach(self, task: HostTask, device: str, seconds: float) -> None:
        """Write that the server has the volume.

        :raises InvalidTransition: it went elsewhere meanwhile: undo.
        """
        self._move(task.attachment_id, 'complete', seconds=seconds, mountpoint=device, seen_size=task.size_gb)

    def fail_attach(self, task: HostTask, error: str, request_id: str | None) -> None:
        """End an attach whose host side was undone: the export goes, the reason stays.

        :raises InvalidTransition: somebody else moved it meanwhile: theirs to end.
        :raises OutcomeUnknown: the volume worker did not answer; it carries on by itself.
        """
        order = self._begin_failure(task, error, request_id)
        if order is not None:
            self._orders.unexport(order, request_id)

    @database.retry
    def _begin_failure(self, task: HostTask, error: str, request_id: str | None) -> ExportOrder | None:
        with self._db.writer() as session:
            volume = db_volumes.lock(session, task.volume_id)
            row = db_attachments.get(session, task.attachment_id)
            if row.state not in states.ON_THE_WAY:
                raise errors.InvalidTransition('attachment', row.id, 'attach_failed')
            messages.add(
                session, volume.project_id, volume.id, ATTACH_FAILED, f'attach volume: {error}', request_id=request_id
            )
            known = row.connector is not None and volume.host is not None
            # The worker sees the error on the row and ends in error_attaching, not in removal.
            transitions.move_attachment(
                session, row.id, 'unexport' if known else 'attach_failed', self._actor, error=error
            )
            transitions.derive_volume(session, volume.id)
            return ExportOrder(str(volume.host), volume.id, row.id) if known else None

    # -- growing -------------------------------------------------------------------------------

    @database.retry
    def list_grown(self) -> list[str]:
        """List the attached attachments whose server has not seen its volume grow."""
        with self._db.reader() as session:
            return [row.id for row in db_attachments.list_grown(session, self._host)]

    @database.retry
    def finish_extend(self, task: HostTask) -> None:
        with self._db.writer() as session:
            db_attachments.set_seen_size(session, task.attachment_id, task.size_gb)

    # -- detaching -----------------------------------------------------------------------------

    def finish_detach(self, task: HostTask, request_id: str | None) -> None:
        """Go on after the host let go: the target turns the initiator away, the row goes.

        :raises OutcomeUnknown: the volume worker did not answer; it carries on by itself.
        """
        order = self._begin_leave(task)
        if order is not None:
            self._orders.unexport(order, request_id)

    def end_delete(self, order: ExportOrder) -> None:
        """Have the initiator of an attachment in ``unexporting`` turned away."""
        self._orders.unexport(order, None)

    @database.retry
    def _begin_leave(self, task: HostTask) -> ExportOrder | None:
        with self._db.transaction() as work:
            return leave_target(work, locks.lock_attachment(work, task.attachment_id), self._actor)

    @database.retry
    def refuse_detach(self, task: HostTask, error: str, request_id: str | None) -> None:
        """Write that the server kept the device: it is attached as before."""
        self._end_detach(task, 'detach_refused', error, request_id)

    @database.retry
    def fail_detach(self, task: HostTask, error: str, request_id: str | None) -> None:
        """Write that the detach stopped half-way; it may be asked for again."""
        self._end_detach(task, 'detach_failed', error, request_id)

    def _end_detach(self, task: HostTask, event: str, error: str, request_id: str | None) -> None:
        with self._db.writer() as session:
            volume = db_volumes.lock(session, task.volume_id)
            transitions.move_attachment(session, task.attachment_id, event, self._actor, error=error)
            transitions.derive_volume(session, volume.id)
            messages.add(
                session, volume.project_id, volume.id, DETACH_FAILED, f'detach volume: {error}', request_id=request_id
            )

    @database.retry
    def _move(self, attachment_id: str, event: str, **values: Any) -> None:
        with self._db.transaction() as work:
            transitions.lock_and_move(work, attachment_id, event, self._actor, **values)


def _task(row: models.Attachment) -> HostTask:
    return HostTask(
        attachment_id=row.id,
        volume_id=row.volume_id,
        server_id=row.instance_uuid or '',
        state=row.state,
        device=row.mountpoint or '',
        mode=row.attach_mode or 'rw',
        multiattach=row.volume.multiattach,
        size_gb=row.volume.size,
        connector=row.connector,
        connection_info=row.connection_info,
        tag=row.tag,
        error=row.error,
    )
