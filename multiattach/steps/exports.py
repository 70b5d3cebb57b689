# SPDX-License-Identifier: Apache-2.0
"""The volume worker's side of an attachment: what to do on a target, and that it was done.

The worker calls these under its lock of the volume, so that who is last is decided once.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.db import (
    attachments as db_attachments,
    database,
    exports as db_exports,
    imports as db_imports,
    locks,
    models,
    qos_specs,
    reconciliation as db_reconciliation,
    transitions,
)
from multiattach.db.commits import Work
from multiattach.domain import connection, errors, extra_specs, qos, sharing, states
from multiattach.domain.fences import explain_mark


@dataclasses.dataclass(frozen=True)
class ExportPlan:
    """An attachment as the target's driver needs it.

    :param sibling: connection_info of another attachment of the same initiator, or None.
    :param is_last_on_target: nobody else uses the export.
    :param is_last_of_initiator: the initiator has no other attachment of the volume.
    :param error: why the attach failed on its host, None if it did not.
    :param qos: what the host is told of the volume's QoS specs, None if nothing; read for an export only.
    :param is_fencing: the initiator is still to be cut off for other attachments of the volume.
    :param fenced: why its host is to have no volume, None if it may; read for an export only.
    :param twin_host: another host that presents the same initiator name, None if there is none.
    :param is_alone: the volume has no other attachment.
    :param account: the initiator's account, "" if others have it, too; None for its own, which the driver names.
    :param shared_account: account of the sibling, if Cinder gave it to several initiators.
    :param admitted: all whom the target is to admit, if Cinder made it: it may admit everybody still.
    :param granted: mode in which the initiator is admitted: it may have other attachments of the volume.
    :param wants: keys of :data:`~multiattach.domain.extra_specs.OF_TARGETS` that the volume's type asks for; read for
        an export only.
    :param name_id: after which the storage is named, None for the volume's own; read for an export only.
    """

    attachment_id: str
    volume_id: str
    state: str
    initiator: str
    connector: dict[str, Any] = dataclasses.field(repr=False)
    mode: str
    connection_info: dict[str, Any] | None = dataclasses.field(repr=False)
    sibling: dict[str, Any] | None = dataclasses.field(repr=False)
    is_last_on_target: bool
    is_last_of_initiator: bool
    error: str | None = None
    qos: Mapping[str, Any] | None = None
    is_fencing: bool = False
    fenced: str | None = None
    twin_host: str | None = None
    is_alone: bool = False
    account: str | None = None
    shared_account: str | None = None
    admitted: Sequence[db_attachments.Admitted] | None = None
    granted: str = sharing.READ_WRITE
    wants: frozenset[str] = frozenset()
    name_id: str | None = None


class Exports:
    """Plans and outcomes of the worker's steps."""

    def __init__(self, db: database.Database, actor: transitions.Actor) -> None:
        self._db = db
        self._actor = actor

    @database.retry
    def plan(self, attachment_id: str) -> ExportPlan:
        """Read what is to be done for an attachment, in one statement; for an export with QoS specs in two."""
        with self._db.rows() as rows:
            row = db_exports.read(rows, attachment_id)
            exporting, sharers, sibling = row.state == states.Attachment.EXPORTING, row.sharers, _find_sibling(row)
            return ExportPlan(
                row.id,
                row.volume_id,
                row.state,
                row.initiator or '',
                row.connector or {},
                row.attach_mode or 'rw',
                row.connection_info,
                sibling.connection_info if sibling is not None else None,
                sharing.is_last_on_target(row.id, sharers),
                sharing.is_last_of_initiator(row.id, row.initiator or '', sharers),
                row.error,
                _find_qos(rows, row.volume_id) if exporting and row.has_qos else None,
                any(one.state == states.Attachment.FENCING for one in row.mates),
                # Read after the state "exporting" was written: whoever fences the host sees one of both.
                explain_mark(row.mark.host, row.mark.fenced_at, row.mark.reason)
                if exporting and row.mark is not None
                else None,
                row.twin_host if exporting else None,
                row.is_alone,
                '' if row.has_partner else row.shared_account,
                sibling.shared_account if sibling is not None else None,
                db_attachments.list_admitted(rows, row.volume_id) if row.is_adopted else None,
                sharing.join_modes([row.attach_mode, *(one.mode for one in row.mates if one.state in states.ADMITTED)]),
                frozenset(key for key, value in row.specs.items() if extra_specs.parse_is(value)),
                row.name_id,
            )

    @database.retry
    def finish_export(self, plan: ExportPlan, connection_info: dict[str, Any], seconds: float) -> None:
        """Store connection_info and ``exported`` in one UPDATE.

        :param connection_info: flat connection_info (contract 8.2).
        :param seconds: how long the target took, in seconds.
        :raises InvalidTransition: the attachment went elsewhere meanwhile.
        """
        more: dict[str, Any] = {'shared_account': plan.shared_account} if plan.shared_account else {}
        with self._db.statement() as work:
            transitions.move_attachment(
                work,
                plan.attachment_id,
                'exported',
                self._actor,
                seconds=seconds,
                connection_info=connection_info,
                attached_at=models.now(),
                **more,
            )

    @database.retry
    def relocate(self, plan: ExportPlan, address: connection.Address) -> bool:
        """Store the address of today if the target admits the initiator; return whether another one was stored.

        No state moves; the worker holds the lock of the volume.
        """
        if (
            plan.state not in states.ADMITTED
            or not plan.connection_info
            or (connection.relocate(plan.connection_info, address) is None)
        ):
            return False
        with self._db.writer() as session:
            row = locks.lock_attachment(session, plan.attachment_id, with_info=True)
            new = connection.relocate(row.connection_info, address) if row.connection_info else None
            if new is None or row.state not in states.ADMITTED:
                return False
            db_attachments.set_connection_info(session, plan.attachment_id, new)
            return True

    @database.retry
    def fail_export(self, plan: ExportPlan, error: str) -> None:
        """Write that the export failed for good and was undone.

        :raises InvalidTransition: the attachment went elsewhere meanwhile.
        """
        with self._db.transaction() as work:
            transitions.lock_and_move(
                work,
                plan.attachment_id,
                'export_failed',
                self._actor,
                error=error,
                connector=None,
                initiator=None,
                attached_host=None,
                connection_info=None,
            )

    def finish_unexport(self, plan: ExportPlan, seconds: float) -> bool:
        """Remove the row: nothing of it is left on the target.

        :param seconds: how long the target took, in seconds.
        :returns: whether the volume is known to have no other attachment.
        :raises InvalidTransition: another one removed it first.
        """
        if plan.is_alone:  # it was; somebody may have come meanwhile
            with contextlib.suppress(errors.InvalidTransition):
                self._remove(plan, seconds, transitions.ANYBODY)
                return True
        self._remove(plan, seconds, None)
        return False

    @database.retry
    def _remove(self, plan: ExportPlan, seconds: float, clash: transitions.Clash | None) -> None:
        # An attach that failed on its host keeps its row and the reason.
        event = 'attach_failed' if plan.error else 'remove'
        told: dict[str, Any] = {'error': plan.error, 'seconds': seconds, 'connection_info': None, 'clash': clash}
        if self._db.is_mariadb:
            with contextlib.suppress(errors.InvalidTransition), self._db.statement() as work:
                transitions.move_alone(work, plan.attachment_id, plan.volume_id, event, self._actor, **told)
                return
        with self._db.transaction() as work:
            transitions.lock_and_move(work, plan.attachment_id, event, self._actor, ended=True, **told)

    @database.retry
    def fail_unexport(self, plan: ExportPlan, error: str) -> None:
        """Write that the target refused to turn the initiator away."""
        with self._db.transaction() as work:
            transitions.lock_and_move(work, plan.attachment_id, 'detach_failed', self._actor, ended=True, error=error)

    has_imports = database.reading(db_imports.has_any)
    find_left = database.reading(db_reconciliation.find_left)

    @database.retry
    def list_exported(self, backend_host: str) -> list[str]:
        """List the volumes to which a backend's target must admit anybody, for a re-export."""
        with self._db.reader() as session:
            return db_attachments.list_volumes_on_backend(session, backend_host, states.ADMITTED)

    @database.retry
    def list_admitted_of(self, volume_id: str) -> list[db_attachments.Admitted]:
        with self._db.rows() as rows:
            return db_attachments.list_admitted(rows, volume_id)

    @database.retry
    def list_open(self, backend_host: str) -> list[models.Attachment]:
        with self._db.reader() as session:
            return db_attachments.list_on_backend(session, backend_host, states.WORKER_STATES)


def _find_sibling(row: db_exports.ExportRow) -> db_exports.Mate | None:
    admitted = (one for one in row.mates if one.connection_info and one.state != states.Attachment.FENCING)
    return next(admitted, None)


def _find_qos(work: Work, volume_id: str) -> Mapping[str, Any] | None:
    found = qos_specs.find_allowance(work, volume_id)
    return None if found is None else qos.tell_host(*found)
