# SPDX-License-Identifier: Apache-2.0
"""Nova, told what became of the volumes of its servers (os-server-external-events)."""

import http
from collections.abc import Iterable
from typing import Any

from keystoneauth1 import adapter, exceptions
from oslo_log import log

LOG = log.getLogger(__name__)
_VERSION = '2.51'  # the first one with volume-extended
_REIMAGED = '2.93'  # and with volume-reimaged


class NovaEvents:
    """Sends events as a user of this service."""

    def __init__(self, client: adapter.Adapter) -> None:
        self._client = client

    def tell_extended(self, volume_id: str, server_ids: Iterable[str]) -> None:
        """Tell of each server that its volume has grown; a failure is logged."""
        events: list[dict[str, Any]] = [
            {'name': 'volume-extended', 'server_uuid': server_id, 'tag': volume_id} for server_id in server_ids
        ]
        self._send(events, _VERSION, f'volume {volume_id} has grown')

    def tell_reimaged(self, volume_id: str, server_ids: Iterable[str], *, failed: bool) -> None:
        """Tell of each server that its volume has the contents of an image, or has not got them: Nova waits for it."""
        status = 'failed' if failed else 'completed'
        events = [
            {'name': 'volume-reimaged', 'server_uuid': server_id, 'tag': volume_id, 'status': status}
            for server_id in server_ids
        ]
        self._send(events, _REIMAGED, f'the reimage of volume {volume_id} has {status}')

    def _send(self, events: list[dict[str, Any]], version: str, what: str) -> None:
        if not events:
            return
        try:
            reply = self._client.post('/os-server-external-events', json={'events': events}, microversion=version)
        except exceptions.ClientException as exc:
            LOG.warning('Nova was not told that %s: %s', what, type(exc).__name__)
            return
        for server_id, code in _find_dropped(reply):
            LOG.warning('The server %s was not told that %s: Nova answers %s', server_id, what, code)


def _find_dropped(reply: Any) -> list[tuple[Any, Any]]:
    """Find the servers whose event Nova dropped (207).

    404: unknown to it, or of another project than the account's, which then lacks the role admin; 422: on no
    host.
    """
    try:
        return [
            (event['server_uuid'], event['code'])
            for event in reply.json()['events']
            if event['code'] != http.HTTPStatus.OK
        ]
    except (ValueError, LookupError, TypeError):
        return []
