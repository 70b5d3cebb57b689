# SPDX-License-Identifier: Apache-2.0
"""Sends notifications from a thread of its own: nobody waits for a slow broker, or fails for one."""

import oslo_messaging as messaging
from oslo_context import context as oslo_context

from multiattach import request_ids
from multiattach.db import changes
from multiattach.db.database import Database
from multiattach.domain.callers import Caller
from multiattach.notifications import events, payloads
from multiattach.notifications.outbox import Outbox

_Item = tuple[changes.Change, dict[str, str | None]]


class Sender:
    """An observer of the database that tells others what it hears.

    A crash loses what waits; notifications are no ledger, the database is.

    :param queue_size: changes that wait; further ones are dropped.
    """

    def __init__(self, db: Database, notifier: messaging.Notifier, queue_size: int) -> None:
        self._db = db
        self._notifier = notifier
        self._outbox = Outbox[_Item](self._send, _describe, queue_size)
        #: sends what waits, but not for long
        self.stop = self._outbox.stop

    def changed(self, change: changes.Change) -> None:
        """Take a change that was committed; returns at once."""
        self._outbox.put((change, request_ids.make(change.request_id)))

    def _send(self, item: _Item) -> None:
        change, ids = item
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
        who = 'snapshot' if change.noun == changes.SNAPSHOT else 'volume'
        notifier = self._notifier.prepare(publisher_id=f'{who}.{payload["host"] or "unplaced"}')
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


def _describe(item: _Item) -> str:
    change = item[0]
    return f'{change.noun} {change.ident}: notification of "{change.event}"'
