# SPDX-License-Identifier: Apache-2.0
"""What connectors have in common whose volumes QEMU reaches by itself: nothing of a volume is on the host."""

import platform
import sys
from collections.abc import Mapping
from typing import Any

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors.base import HostSession

NETWORK = 'network'


class NetworkDiskConnector:
    """A connector that only tells QEMU, by a network disk, where to find a volume."""

    shares_sessions = False

    def __init__(self, host: str, ip: str) -> None:
        self._host = host
        self._ip = ip

    def describe(self) -> dict[str, Any]:
        return {
            'host': self._host,
            'ip': self._ip,
            'platform': platform.machine(),
            'os_type': sys.platform,
            'multipath': False,
        }

    def disconnect(self, connection_info: Mapping[str, Any], device: DeviceInfo | None, *, lost: bool = False) -> None:
        """QEMU let go of the volume with the detach."""

    def extend(self, connection_info: Mapping[str, Any]) -> int | None:
        return None

    def list_sessions(self) -> list[HostSession]:
        """QEMU has them, with its disks."""
        return []
