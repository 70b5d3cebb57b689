# SPDX-License-Identifier: Apache-2.0
"""Nova, told that the volume of its servers has grown (os-server-external-events)."""

from collections.abc import Iterable
from typing import Any

from keystoneauth1 import adapter, exceptions
from oslo_log import log

LOG = log.getLogger(__name__)
_VERSION = '2.51'  # the first one with volume-extended


class NovaEvents:
    """Sends events as a user of this service.

    :param client: adapter of the Compute API with this service's credentials.
    """

    def __init__(self, client: adapter.Adapter) -> None:
        self._client = client

    def tell_extended(self, volume_id: str, server_ids: Iterable[str]) -> None:
        """Tell of each server that its volume has grown; a failure is logged.

        :param volume_id: UUID of the volume.
        :param server_ids: UUIDs of the servers.
        """
        events: list[dict[str, Any]] = [
            {'name': 'volume-extended', 'server_uuid': server_id, 'tag': volume_id}
            for server_id in server_ids]
        if not events:
            return
        try:
            self._client.post('/os-server-external-events', json={'events': events},
                              microversion=_VERSION)
        except exceptions.ClientException as exc:
            LOG.warning('Nova was not told that volume %s has grown: %s', volume_id,
                        type(exc).__name__)
