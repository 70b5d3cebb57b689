# SPDX-License-Identifier: Apache-2.0
"""Orders to volume workers: the intent that is written first, what is asked, and how it ended if no answer came."""

import contextlib
import time
from collections.abc import Iterator

from oslo_log import log

from multiattach import backoff, failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    locks,
    transition_statements as statements,
    transitions,
)
from multiattach.db.commits import Work
from multiattach.domain import connection, errors, extra_specs, sharing, states
from multiattach.rpc.clients import ExportOrder, VolumeWorkers
from multiattach.steps import oddities
from multiattach.steps.protocols import Protocols

LOG = log.getLogger(__name__)
A = states.Attachment
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # s


class Orders:
    """Orders to the workers that export volumes.

    A lost answer, or a worker that died, is not the end of an order: the row tells when the worker, or
    another one of the same backend, has carried it out.

    :param patience: seconds that an order may take in all.
    """

    def __init__(self, db: database.Database, workers: VolumeWorkers, patience: float) -> None:
        self._db = db
        self._workers = workers
        self._patience = patience
        self._protocols = Protocols()

    def begin_connect(
        self, work: Work, row: locks.LockedAttachment, wanted: connection.Connector, actor: transitions.Actor
    ) -> tuple[ExportOrder | None, bool]:
        """Write the intent to admit an initiator, unless it is admitted.

        :param row: the attachment with its volume and connection_info, locked.
        :returns: the order for the worker, None if the export is there; and whether this is the first connector.
        :raises InvalidConnector: it lacks what the volume's backend needs.
        :raises InvalidVolume: the status of the volume does not allow it, or its type; or it has no backend.
        :raises Conflict: the sharing rules say no (contract 2.2).
        """
        return _begin_connect(work, row, wanted, self.name_initiator(work, row.volume.host, row.id, wanted), actor)

    def name_initiator(self, work: Work, backend: str | None, attachment_id: str, wanted: connection.Connector) -> str:
        """Name who is to use a volume of a backend by an attachment.

        :raises InvalidConnector: it lacks what the backend needs.
        """
        return connection.name_initiator(self._protocols.find(work, backend), attachment_id, wanted)

    def export(self, order: ExportOrder, request_id: str | None) -> None:
        """Have the initiator of an attachment in ``exporting`` admitted.

        :raises MultiattachError: the worker refused and undid its step.
        """
        with self._row_tells(order, 'export', A.EXPORTING, A.RESERVED):
            self._workers.export(order, request_id)

    def unexport(self, order: ExportOrder, request_id: str | None) -> bool:
        """Have the initiator of an attachment in ``unexporting`` turned away.

        :returns: True if the volume is known to have had no other attachment.
        :raises OutcomeUnknown: nobody has carried it out in time.
        :raises MultiattachError: the worker could not.
        """
        alone = False
        with self._row_tells(order, 'unexport', A.UNEXPORTING, A.ERROR_DETACHING):
            alone = self._workers.unexport(order, request_id)
        return alone is True

    @contextlib.contextmanager
    def _row_tells(self, order: ExportOrder, step: str, on_its_way: str, refused: str) -> Iterator[None]:
        """Ask a worker in the block; if no answer comes, see from the row how it ended."""
        deadline = time.monotonic() + self._patience
        failpoints.reach(f'orders.{step}.written')
        try:
            yield
            failpoints.reach(f'orders.{step}.answered')
        except errors.Unanswered as unknown:  # what a worker itself does not know would only hold this thread
            LOG.info('Attachment %s: %s The row will tell.', order.attachment_id, unknown.message)
            failpoints.reach('orders.wait.begun')
            found = backoff.poll(
                lambda: self._read(order.attachment_id),
                lambda seen: not seen or seen[0] != on_its_way,
                deadline - time.monotonic(),
                first=_PAUSE,
                most=_LONGEST_PAUSE,
            )
            if found and found[0] == on_its_way:
                raise
            if found and found[0] == refused and found[1]:
                raise errors.BackendError(found[1]) from unknown
            if found and on_its_way == A.UNEXPORTING and found[0] in states.CUT_OFF:
                raise errors.changed_meanwhile(order.attachment_id) from unknown

    @database.retry
    def _read(self, attachment_id: str) -> tuple[str, str | None] | None:
        with self._db.rows() as rows:
            return db_attachments.read_state(rows, attachment_id)


def _begin_connect(
    work: Work, row: locks.LockedAttachment, wanted: connection.Connector, initiator: str, actor: transitions.Actor
) -> tuple[ExportOrder | None, bool]:
    volume = row.volume
    if volume.status in states.WITHOUT_STORAGE and volume.status not in states.FAILED:
        raise errors.InvalidVolume(f'The volume is {volume.status}.')
    facts = sharing.VolumeFacts(
        volume.status,
        volume.multiattach,
        bool(extra_specs.parse_is(row.reservations)),
        bool(extra_specs.parse_is(row.enforce_read_only)),
    )
    mode = sharing.decide_mode(row.attach_mode, wanted.mode, bool(volume.readonly))
    me = sharing.Sharer(row.id, row.state, row.instance_uuid, row.attached_host, row.initiator, mode)
    sharing.check_connect(facts, me, wanted.host, initiator, ())
    if row.state in states.ADMITTED and row.connection_info is not None:
        return oddities.find_move(work, row), False
    if volume.host is None:
        raise errors.InvalidVolume('The volume has no backend.')
    clash, apart = None, _find_apart(facts)
    lone = volume.multiattach and not row.instance_uuid and apart is None
    if not (row.state in states.ON_TARGET and row.attached_host) and not lone:
        clash = transitions.Clash(volume.multiattach, row.instance_uuid, wanted.host, apart, initiator, mode)
    try:
        transitions.move(
            work,
            row,
            'export',
            actor,
            clash=clash,
            connector=dict(wanted.raw),
            attached_host=wanted.host,
            initiator=initiator,
            shared_account=None,
            mountpoint=wanted.mountpoint or row.mountpoint,
            attach_mode=mode,
        )
    except errors.InvalidTransition:
        others = db_attachments.list_sharers(work, volume.id) if clash else ()
        sharing.check_connect(facts, me, wanted.host, initiator, others)
        raise
    return ExportOrder(volume.host, volume.id, row.id), row.initiator is None


def _find_apart(volume: sharing.VolumeFacts) -> str | None:
    """Find which others of an initiator clash, see :func:`multiattach.domain.sharing.check_connect`."""
    if not volume.multiattach:
        return None
    if volume.keeps_reservations:
        return statements.ANY_MODE
    return statements.OTHER_MODE if volume.enforces_read_only else None


def leave_target(work: Work, row: transitions.Row, actor: transitions.Actor) -> ExportOrder | None:
    """Write the intent to turn an attachment's initiator away, or remove the row if none came.

    :param row: the attachment with its volume, locked.
    :param actor: who asks.
    :returns: the order for the worker, or None if the row is gone already.
    """
    volume = row.volume
    event, order = 'remove', None
    # What took no place comes back to none: its step could fail, and then it would be admitted beside others.
    if row.state in states.ON_TARGET and row.has_connector and volume.host is not None:
        event, order = 'unexport', ExportOrder(volume.host, volume.id, row.id)
    transitions.move(work, row, event, actor, ended=order is None)
    return order
