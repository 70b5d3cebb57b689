# SPDX-License-Identifier: Apache-2.0
"""Nobody takes a volume away under a server that uses it (CVE-2023-2088, contract 7.3).

The compute service is asked unless another service makes the call. The decision stands on the
connector that was stored, so that a worker who answers late leaves no hole (contract 11.4 number 20).
"""

import dataclasses
from typing import Any, Protocol

from oslo_log import log

from multiattach.domain import errors
from multiattach.engine.context import RequestContext

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ServerUse:
    """An attachment as the guard sees it.

    :param connected: a connector is stored.
    :param agent_host: host agent that drives the attachment, or None.
    """

    attachment_id: str
    volume_id: str
    server_id: str | None
    connected: bool
    agent_host: str | None


class ComputeGuard(Protocol):
    """The compute service, asked with the caller's own token."""

    def find_attachment(
        self, token: str | None, catalog: list[dict[str, Any]] | None, server_id: str, volume_id: str
    ) -> str | None:
        """Find the attachment by which a server uses a volume.

        :param token: token of the caller.
        :param catalog: service catalogue of the caller, None without Keystone.
        :returns: UUID of the attachment; None if the server, or its use of the volume, is unknown.
        :raises NotAuthorized: the compute service refuses the caller.
        :raises Unavailable: it does not answer.
        :raises Conflict: nobody can be asked.
        """


class Guard:
    """Asks before an attachment is taken away."""

    def __init__(self, compute: ComputeGuard | None) -> None:
        self._compute = compute

    def must_ask(self, ctx: RequestContext, usage: ServerUse) -> bool:
        """Return whether the compute service is to be asked; decided without asking it.

        :param usage: the attachment, read in the transaction that would take it away.
        :raises Conflict: this service's own compute endpoint uses it.
        """
        if ctx.is_service_request or not usage.connected or usage.server_id is None:
            return False
        if usage.agent_host is not None:
            refuse(usage.server_id)
        return self._compute is not None

    def ask(self, ctx: RequestContext, usage: ServerUse) -> None:
        """Ask the compute service, outside any transaction.

        :raises Conflict: the server uses it: ``ConflictNovaUsingAttachment``.
        :raises NotAuthorized: the compute service refuses the caller.
        :raises Unavailable: the compute service does not answer.
        """
        assert self._compute is not None
        assert usage.server_id is not None
        used_by = self._compute.find_attachment(ctx.auth_token, ctx.service_catalog, usage.server_id, usage.volume_id)
        if used_by == usage.attachment_id:
            refuse(usage.server_id)
        LOG.warning(
            'Attachment %s of server %s is taken away by a user: the server %s',
            usage.attachment_id,
            usage.server_id,
            f'uses {used_by}' if used_by else 'does not use the volume',
        )


def refuse(server_id: str) -> None:
    """Refuse with the text that clients know; *server_id* is empty if it is unknown."""
    raise errors.Conflict(f'ConflictNovaUsingAttachment: Detach volume from instance {server_id} using the Compute API')
