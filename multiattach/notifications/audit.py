# SPDX-License-Identifier: Apache-2.0
"""CADF events of the API, sent from a thread of their own."""

from typing import Any

import oslo_messaging as messaging
from oslo_context import context as oslo_context

from multiattach.notifications.outbox import Outbox


class AuditSender:
    """Sends what the audit filter of the API tells.

    :param queue_size: events that wait; further ones are dropped.
    """

    def __init__(self, notifier: messaging.Notifier, queue_size: int) -> None:
        self._notifier = notifier.prepare(publisher_id='volume.api')
        self._outbox = Outbox[tuple[str, dict[str, Any]]](self._send, lambda item: f'CADF event {item[0]}', queue_size)

    def tell(self, event_type: str, payload: dict[str, Any]) -> None:
        """Take an event; returns at once."""
        self._outbox.put((event_type, payload))

    def _send(self, item: tuple[str, dict[str, Any]]) -> None:
        event_type, payload = item
        who = payload['initiator']
        self._notifier.info(
            oslo_context.RequestContext(
                request_id=who.get('request_id'),
                global_request_id=who.get('global_request_id'),
                user_id=who.get('id'),
                project_id=who.get('project_id'),
                overwrite=False,
            ),
            event_type,
            payload,
        )
