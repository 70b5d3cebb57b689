# SPDX-License-Identifier: Apache-2.0
"""The host's sessions: made by the first attachment of a volume here, ended by the last one."""

from collections.abc import Callable

from multiattach import failpoints
from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors.base import HostConnector, HostSession
from multiattach.host.work import HostLocks
from multiattach.steps.host_attachments import HostAttachments, HostTask

# A connect or a disconnect may take some 160 s; several may wait for one another, and are tried again.
_PATIENCE = 180.0  # s


class HostSessions:
    """Connecting and disconnecting volumes under the host's lock of the volume."""

    def __init__(self, steps: HostAttachments, connector: HostConnector) -> None:
        self._steps = steps
        self._connector = connector
        self._locks = HostLocks()

    def connect(self, task: HostTask) -> DeviceInfo:
        """Make a volume reachable and check that it is the one.

        :raises ConnectorError: failed, or another device was found.
        :raises ConnectorTimeout: no end in time.
        :raises Unavailable: another step has the volume's session and does not end.
        """
        assert task.connection_info is not None
        with self._locks.hold(task.volume_id, _PATIENCE):
            device = self._connector.connect(task.connection_info)
            failpoints.reach('host.session.logged_in')
            self._connector.verify(device, task.connection_info)
            return device

    def leave(
        self, task: HostTask, device: DeviceInfo | None, write: Callable[[], None], *, lost: bool = False
    ) -> None:
        """Disconnect if no other server of the host uses the session, and write it down.

        Both under one lock: of two that leave at once, the second sees that the first is gone.

        :param device: what :meth:`connect` answered, None if it is not known (any more).
        :param lost: the target has cut this host off.
        """
        with self._locks.hold(task.volume_id, _PATIENCE):
            if task.connection_info is not None and self._may_disconnect(task):
                self._connector.disconnect(task.connection_info, device, lost=lost)
            failpoints.reach('host.session.logged_out')
            write()

    def drop(self, session: HostSession, is_wanted: Callable[[], bool]) -> None:
        """End a session that no attachment of this host is known for.

        :param is_wanted: asked under the lock; then nothing is done.
        """
        with self._locks.hold(session.volume_id, _PATIENCE):
            if not is_wanted():
                self._connector.disconnect(
                    {
                        'driver_volume_type': 'iscsi',
                        'volume_id': session.volume_id,
                        'target_discovered': False,
                        'target_portal': session.portal,
                        'target_iqn': session.iqn,
                        'target_lun': 1,
                    },
                    None,
                )

    def _may_disconnect(self, task: HostTask) -> bool:
        return not self._connector.shares_sessions or self._steps.is_last_on_host(task)
