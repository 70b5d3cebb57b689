# SPDX-License-Identifier: Apache-2.0
"""Calls to volume workers and host agents. They carry ids; the rows carry the rest.

A call's timeout means "unknown": the step may have been taken. A lost cast is found again by
the owner of the row when it resumes.
"""

import dataclasses
from typing import Any

import oslo_messaging as messaging
from oslo_log import log

from multiattach.domain import errors

LOG = log.getLogger(__name__)

VOLUME_TOPIC = 'multiattach-volume'
HOST_TOPIC = 'multiattach-host'
VERSION = '1.0'
# oslo.messaging's default is for ever: without a broker each request would take a thread for good.
_RETRIES = 2


@dataclasses.dataclass(frozen=True)
class ExportOrder:
    """Which attachment a worker is to act on.

    :param host: backend host of the volume, the name of the RPC server.
    :param volume_id: UUID; what the worker locks.
    :param attachment_id: UUID.
    """

    host: str
    volume_id: str
    attachment_id: str


class _Client:
    def __init__(self, transport: messaging.Transport, topic: str, timeout: float) -> None:
        target = messaging.Target(topic=topic, version=VERSION)
        self._client = messaging.get_rpc_client(transport, target, timeout=timeout,
                                                retry=_RETRIES)

    def _cast(self, server: str, method: str, request_id: str | None, **ids: str) -> None:
        try:
            self._client.prepare(server=server).cast({'request_id': request_id}, method, **ids)
        except messaging.MessageDeliveryFailure as exc:
            # The row is written: its owner finds it with its next look, at the latest.
            LOG.warning('%s was not told of %s: %s', server, method, exc)

    def _call(self, server: str, method: str, request_id: str | None, **ids: str) -> Any:
        try:
            return self._client.prepare(server=server).call(
                {'request_id': request_id}, method, **ids)
        except (messaging.MessagingTimeout, messaging.MessageDeliveryFailure) as exc:
            raise errors.OutcomeUnknown(
                f'No answer from {server} in time; the request may still be carried out. '
                'It is safe to repeat it.') from exc
        except messaging.RemoteError as exc:
            raise errors.BackendError(f'{server} failed: {exc.exc_type}.') from exc


class VolumeWorkers(_Client):
    """The workers that make and export volumes; each serves one backend host.

    :param transport: oslo.messaging RPC transport.
    :param timeout: seconds to wait for an answer.
    """

    def __init__(self, transport: messaging.Transport, timeout: float) -> None:
        super().__init__(transport, VOLUME_TOPIC, timeout)

    def create_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask for the storage of a volume in ``creating`` (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        :param volume_id: UUID of the volume.
        :param request_id: the API call behind it, or None.
        """
        self._cast(host, 'create_volume', request_id, volume_id=volume_id)

    def delete_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to delete the storage of a volume in ``deleting`` (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        :param volume_id: UUID of the volume.
        :param request_id: the API call behind it, or None.
        """
        self._cast(host, 'delete_volume', request_id, volume_id=volume_id)

    def extend_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to extend a volume in ``extending`` to its ``new_size`` (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        :param volume_id: UUID of the volume.
        :param request_id: the API call behind it, or None.
        """
        self._cast(host, 'extend_volume', request_id, volume_id=volume_id)

    def export(self, order: ExportOrder, request_id: str | None) -> None:
        """Have the initiator of an attachment in ``exporting`` admitted.

        :param order: the attachment and its backend.
        :param request_id: the API call behind it.
        :raises OutcomeUnknown: no answer; the row tells later.
        :raises MultiattachError: the worker refused and undid its step.
        """
        self._call(order.host, 'export', request_id, volume_id=order.volume_id,
                   attachment_id=order.attachment_id)

    def unexport(self, order: ExportOrder, request_id: str | None) -> None:
        """Have the initiator of an attachment in ``unexporting`` turned away.

        :param order: the attachment and its backend.
        :param request_id: the API call behind it.
        :raises OutcomeUnknown: no answer; the row tells later.
        :raises MultiattachError: the worker could not.
        """
        self._call(order.host, 'unexport', request_id, volume_id=order.volume_id,
                   attachment_id=order.attachment_id)


class HostAgents(_Client):
    """The agents on compute hosts.

    :param transport: oslo.messaging RPC transport.
    :param timeout: seconds to wait for an answer.
    """

    def __init__(self, transport: messaging.Transport, timeout: float) -> None:
        super().__init__(transport, HOST_TOPIC, timeout)

    def attach(self, host: str, attachment_id: str, request_id: str | None) -> None:
        """Have a reserved attachment of this agent attached (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        :param attachment_id: UUID of the attachment.
        :param request_id: the API call behind it, or None.
        """
        self._cast(host, 'attach', request_id, attachment_id=attachment_id)

    def extend(self, host: str, request_id: str | None) -> None:
        """Have the agent show its servers what has grown (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        :param request_id: the API call behind it, or None.
        """
        self._cast(host, 'extend', request_id)

    def detach(self, host: str, attachment_id: str, request_id: str | None) -> None:
        """Have an attachment in ``detaching`` detached (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        :param attachment_id: UUID of the attachment.
        :param request_id: the API call behind it, or None.
        """
        self._cast(host, 'detach', request_id, attachment_id=attachment_id)
