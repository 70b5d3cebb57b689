# SPDX-License-Identifier: Apache-2.0
"""The host's sessions: made by the first attachment of a volume here, ended by the last one."""

from collections.abc import Callable

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.host_connector import HostConnector
from multiattach.engine.host_attachments import HostAttachments, HostTask
from multiattach.host.work import HostLocks


class HostSessions:
    """Connecting and disconnecting volumes under the host's lock of the volume.

    :param engine_side: the agent's door to the database.
    :param connector: how the host reaches volumes.
    """

    def __init__(self, engine_side: HostAttachments, connector: HostConnector) -> None:
        self._engine = engine_side
        self._connector = connector
        self._locks = HostLocks()

    def connect(self, task: HostTask) -> DeviceInfo:
        """Make a volume reachable and check that it is the one.

        The attachment is in ``connecting`` before this, so that whoever leaves counts it.

        :param task: the attachment.
        :returns: what the hypervisor is to use.
        :raises ConnectorError: failed, or another device was found.
        :raises ConnectorUnavailable: no end in time.
        """
        assert task.connection_info is not None
        with self._locks.hold(task.volume_id):
            device = self._connector.connect(task.connection_info)
            self._connector.verify(device, task.connection_info)
            return device

    def leave(self, task: HostTask, device: DeviceInfo | None, write: Callable[[], None]) -> None:
        """Disconnect if no other server of the host uses the session, and write it down.

        Both under one lock: of two that leave at once, the second sees that the first is gone.

        :param task: the attachment.
        :param device: what :meth:`connect` answered, None if it is not known (any more).
        :param write: moves the attachment on.
        :raises ConnectorError: the host could not disconnect; nothing was written.
        :raises ConnectorUnavailable: no end in time; nothing was written.
        """
        with self._locks.hold(task.volume_id):
            if task.connection_info is not None and self._may_disconnect(task):
                self._connector.disconnect(task.connection_info, device)
            write()

    def _may_disconnect(self, task: HostTask) -> bool:
        return not self._connector.shares_sessions or self._engine.is_last_on_host(task)
