# SPDX-License-Identifier: Apache-2.0
"""What is asked of volume workers for an attachment, and how it ended when no answer came."""

import contextlib
import time
from collections.abc import Iterator

from oslo_log import log

from multiattach import backoff, failpoints
from multiattach.db import attachments as db_attachments
from multiattach.db import database
from multiattach.domain import errors, states
from multiattach.rpc.clients import ExportOrder, VolumeWorkers

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

    def export(self, order: ExportOrder, request_id: str | None) -> None:
        """Have the initiator of an attachment in ``exporting`` admitted.

        :raises OutcomeUnknown: nobody has carried it out in time.
        :raises MultiattachError: the worker refused and undid its step.
        """
        with self._row_tells(order, 'export', A.EXPORTING, A.RESERVED):
            self._workers.export(order, request_id)

    def unexport(self, order: ExportOrder, request_id: str | None) -> None:
        """Have the initiator of an attachment in ``unexporting`` turned away.

        :raises OutcomeUnknown: nobody has carried it out in time.
        :raises MultiattachError: the worker could not.
        """
        with self._row_tells(order, 'unexport', A.UNEXPORTING, A.ERROR_DETACHING):
            self._workers.unexport(order, request_id)

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
        with self._db.reader() as session:
            return db_attachments.read_state(session, attachment_id)
