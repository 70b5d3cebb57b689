# SPDX-License-Identifier: Apache-2.0
"""The outermost wall: a hypervisor and a connector that remember; and calls that end in a crash."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors.base import HostSession
from multiattach.drivers.errors import DomainNotFound, WrongDevice
from multiattach.drivers.hypervisors.base import Disk, Domain, FoundDisk, ServerDisks

SERVERS = ('11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222')


class FakeHypervisor:
    """Servers and their disks; ``trouble`` is called before each step and may raise."""

    def __init__(self) -> None:
        self.disks: dict[str, dict[str, Disk]] = {server: {} for server in SERVERS}
        self.attachments: list[str] = []
        self.losses = 0
        self.ended: frozenset[str] = frozenset()
        self.trouble: dict[str, Callable[[], None]] = {}
        self.reason: str | None = None
        self.sizes: dict[tuple[str, str], int] = {}
        self.secrets: set[str] = set()

    def attach(self, server_id: str, disk: Disk) -> str:
        self._before('attach')
        if server_id not in self.disks:
            raise DomainNotFound('no such server')
        self.disks[server_id][disk.volume_id] = disk
        self.attachments.append(disk.attachment_id)
        self._before('after attach')
        return disk.device

    def detach(self, server_id: str, volume_id: str, attachment_id: str, *, insist: bool = True) -> None:
        self._before('detach')
        self.disks.get(server_id, {}).pop(volume_id, None)

    def interrupt(self) -> None:
        self._before('interrupt')

    def list_overdue(self) -> list[str]:
        return []

    def resize(self, server_id: str, volume_id: str, size: int) -> None:
        self._before('resize')
        self.sizes[server_id, volume_id] = size

    def domains(self) -> list[Domain]:
        return [Domain(server, f'server-{server[0]}', 'running', ('vda',)) for server in self.disks]

    def list_disks(self) -> list[ServerDisks]:
        return [
            ServerDisks(
                server,
                f'server-{server[0]}',
                'running',
                True,
                tuple(FoundDisk(volume, 'vdb', True, True) for volume in disks),
            )
            for server, disks in self.disks.items()
        ]

    def list_secrets(self) -> frozenset[str]:
        return frozenset(self.secrets)

    def forget_secret(self, attachment_id: str) -> None:
        self._before('forget')
        self.secrets.discard(attachment_id)

    def cannot_share(self) -> str | None:
        return self.reason

    def versions(self) -> dict[str, str]:
        return {'libvirt': '9.0.0', 'qemu': '7.2.0'}

    def _before(self, step: str) -> None:
        self.trouble.get(step, lambda: None)()

    def holders(self, volume_id: str) -> set[str]:
        return {server for server, disks in self.disks.items() if volume_id in disks}


class FakeConnector:
    """Sessions by volume; a disk that is taken while its session is not there is a fault."""

    def __init__(self, host: str, *, shares_sessions: bool = True) -> None:
        self._host = host
        self.shares_sessions = shares_sessions
        self.sessions: set[str] = set()
        self.disconnects: list[str] = []
        self.lost: dict[str, bool] = {}  # by volume: whether the last disconnect was one by force
        self.trouble: dict[str, Callable[[], None]] = {}
        self.presents: str | None = None
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def describe(self) -> dict[str, Any]:
        return {'host': self._host, 'ip': '127.0.0.1'}

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        self._before('properties')
        name = self._host if self.shares_sessions else attachment_id
        return {**self.describe(), 'initiator': f'iqn.1994-05.com.redhat:{name}'}

    def connect(self, connection_info: Mapping[str, Any]) -> DeviceInfo:
        volume_id = connection_info['volume_id']
        with _Alone(self, volume_id):
            self._before('connect')
            self.sessions.add(self._key(connection_info))
            self._before('after connect')
            return DeviceInfo('block', f'/dev/{volume_id}')

    def verify(self, device: DeviceInfo, connection_info: Mapping[str, Any]) -> None:
        if self.presents is not None:
            raise WrongDevice(f'The device is {self.presents}.')
        assert device.path == f'/dev/{connection_info["volume_id"]}'

    def disconnect(self, connection_info: Mapping[str, Any], device: DeviceInfo | None, *, lost: bool = False) -> None:
        with _Alone(self, connection_info['volume_id']):
            self._before('disconnect')
            self.sessions.discard(self._key(connection_info))
            self.disconnects.append(connection_info['volume_id'])
            self.lost[connection_info['volume_id']] = lost

    def extend(self, connection_info: Mapping[str, Any]) -> int | None:
        return None

    def list_sessions(self) -> list[HostSession]:
        return (
            [
                HostSession(one, f'iqn.2010-10.org.openstack:volume-{one}', '127.0.0.1:3260')
                for one in sorted(self.sessions)
            ]
            if self.shares_sessions
            else []
        )

    def _key(self, connection_info: Mapping[str, Any]) -> str:
        return str(connection_info['volume_id' if self.shares_sessions else 'attachment_id'])

    def _before(self, step: str) -> None:
        self.trouble.get(step, lambda: None)()


class _Alone:
    """Calls for one volume come one at a time."""

    def __init__(self, connector: FakeConnector, volume_id: str) -> None:
        self._connector, self._volume_id = connector, volume_id

    def __enter__(self) -> None:
        with self._connector._lock:
            assert self._volume_id not in self._connector._busy
            self._connector._busy.add(self._volume_id)

    def __exit__(self, *_: object) -> None:
        with self._connector._lock:
            self._connector._busy.discard(self._volume_id)


class Crash(BaseException):
    """The process ends here."""


class Fuse:
    """Counts calls through its proxies and crashes at one, before or after it is carried out."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.calls: list[str] = []
        self._at = at
        self._after = after

    def wrap(self, part: Any) -> Any:
        return _Proxy(self, part)

    def run(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        mine = len(self.calls) == self._at
        if mine and not self._after:
            raise Crash(name)
        result = call()
        if mine:
            raise Crash(name)
        return result


class _Proxy:
    def __init__(self, fuse: Fuse, part: Any) -> None:
        self._fuse, self._part = fuse, part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._fuse.run(name, lambda: value(*args, **kwargs))
