# SPDX-License-Identifier: Apache-2.0
"""Sends notifications from a thread of its own: nobody waits for a slow broker, or fails for one."""

import queue
import threading
import time

import oslo_messaging as messaging
from oslo_context import context as oslo_context
from oslo_log import log

from multiattach import request_ids
from multiattach.db import changes
from multiattach.db.database import Database
from multiattach.domain.callers import Caller
from multiattach.notifications import events, payloads

LOG = log.getLogger(__name__)
_WARNING_INTERVAL = 60.0
_Item = tuple[changes.Change, dict[str, str | None]]


class Sender:
    """An observer of the database that tells others what it hears.

    A crash loses what waits; notifications are no ledger, the database is.

    :param notifier: oslo.messaging notifier.
    :param queue_size: changes that wait; further ones are dropped.
    """

    def __init__(self, db: Database, notifier: messaging.Notifier, queue_size: int) -> None:
        self._db = db
        self._notifier = notifier
        self._queue: queue.Queue[_Item | None] = queue.Queue(queue_size)
        self._dropped = 0
        self._warned_at = float('-inf')
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def changed(self, change: changes.Change) -> None:
        """Take a change that was committed; returns at once."""
        try:
            self._queue.put_nowait((change, request_ids.make(change.request_id)))
            if self._thread is None:  # only now: a start takes a while, in which later changes would go first
                self._start()
        except queue.Full:
            self._dropped += 1
            if time.monotonic() - self._warned_at > _WARNING_INTERVAL:
                self._warned_at = time.monotonic()
                LOG.warning(
                    '%d notifications were dropped so far: the broker of '
                    '[oslo_messaging_notifications] does not take them as fast as they come '
                    '(option queue_size in [notifications])',
                    self._dropped,
                )

    def stop(self, patience: float = 5.0) -> None:
        """Send what waits, but not for long.

        :param patience: most seconds.
        """
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

    def _start(self) -> None:
        """Start the thread with the first change: a WSGI server may fork before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='notifications', daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._send(*item)
            except Exception as exc:  # the next one may pass
                LOG.warning(
                    '%s %s: no notification of "%s": %s', item[0].noun, item[0].ident, item[0].event, type(exc).__name__
                )

    def _send(self, change: changes.Change, ids: dict[str, str | None]) -> None:
        request_ids.bind(ids)
        event_type = events.name_event(change, payloads.read_history(self._db, change))
        if event_type is None:
            return
        payload = payloads.build_payload(self._db, change)
        if payload is None:
            return
        caller = change.caller or Caller()
        # Who did it, and from where; null for what the service does by itself.
        payload['caller'] = change.caller and {
            'user_id': caller.user,
            'project_id': caller.project,
            'service_id': caller.service,
            'address': caller.address,
        }
        payload['request_id'] = ids['request_id']
        notifier = self._notifier.prepare(publisher_id=f'volume.{payload["host"] or "unplaced"}')
        send = notifier.error if event_type.endswith('.error') else notifier.info
        # As a dict oslo.messaging would drop it.
        send(
            oslo_context.RequestContext(
                request_id=ids['request_id'],
                global_request_id=ids['global_request_id'],
                project_id=caller.project or payload['tenant_id'],
                user_id=caller.user or payload['user_id'],
            ),
            event_type,
            payload,
        )
