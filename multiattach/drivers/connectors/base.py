# SPDX-License-Identifier: Apache-2.0
"""What a connector driver is: it turns a connection_info into a device of this host."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from multiattach.domain.connection import DeviceInfo


@dataclasses.dataclass(frozen=True)
class HostSession:
    """A session of this host to a target that is named as this service names them."""

    volume_id: str
    iqn: str
    portal: str


class HostConnector(Protocol):
    """A way to reach volumes. Calls for one volume come one at a time; volumes in parallel.

    All methods may raise ``ConnectorError`` and ``ConnectorTimeout`` (:mod:`multiattach.drivers.errors`).
    """

    @property
    def shares_sessions(self) -> bool:
        """All attachments of a volume on this host use one session (requirement row 15)."""

    def describe(self) -> dict[str, Any]:
        """Tell what all connectors of this host have in common, for the host's report."""

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        """Make the connector of an attachment (contract 2.7); always the same for one."""

    def connect(self, connection_info: Mapping[str, Any]) -> DeviceInfo:
        """Make the volume reachable; being connected is success."""

    def verify(self, device: DeviceInfo, connection_info: Mapping[str, Any]) -> None:
        """Check that a device is the volume.

        :raises WrongDevice: it is another one, or it does not say which.
        """

    def disconnect(self, connection_info: Mapping[str, Any], device: DeviceInfo | None, *, lost: bool = False) -> None:
        """Let go of the volume; not being connected is success.

        :param device: answer of :meth:`connect`, None if it is not known (any more).
        :param lost: the target has cut this host off: what was not written is lost, and no reason to stay.
        """

    def extend(self, connection_info: Mapping[str, Any]) -> int | None:
        """See the new size of a volume that has grown: bytes, None if the host has no device of it."""

    def list_sessions(self) -> list[HostSession]:
        """List the sessions that the host has, also to other services; none where servers connect themselves."""
