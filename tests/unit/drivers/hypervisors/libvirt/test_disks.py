# SPDX-License-Identifier: Apache-2.0
import uuid

import pytest

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.hypervisors.base import Disk, FoundDisk
from multiattach.drivers.hypervisors.libvirt import xml
from multiattach.drivers.hypervisors.libvirt.connection import DomainState
from multiattach.drivers.hypervisors.libvirt.disks import DiskReader

VOLUME, OTHER, ATTACHMENT = (str(uuid.uuid4()) for _ in range(3))
BLOCK = DeviceInfo('block', path='/dev/disk/by-path/one')
NETWORK = DeviceInfo(
    'network',
    details={
        'protocol': 'iscsi',
        'name': 'iqn/1',
        'host': '192.0.2.1',
        'port': 3260,
        'initiator': 'iqn.one',
        'username': 'user',
        'password': 'x',
    },
)


def make(*disks: str) -> str:
    return f'<domain><devices>{"".join(disks)}</devices></domain>'


def disk(volume: str, source: DeviceInfo = BLOCK) -> str:
    return xml.build_disk(Disk(ATTACHMENT, volume, source, '/dev/vdb'), 'vdb')


def read(live: str | None, config: str | None, secrets: frozenset[str] = frozenset()) -> tuple[FoundDisk, ...]:
    [server] = DiskReader().read([DomainState('id', 'web', 'running', live, config)], secrets)
    return server.disks


def test_only_what_is_marked_as_ours_is_found() -> None:
    root = "<disk type='file' device='disk'><target dev='vda'/><serial>x</serial></disk>"
    renamed = disk(OTHER).replace(f'ua-{OTHER}', 'ua-else')
    assert read(make(root, disk(VOLUME), renamed), make(disk(VOLUME))) == (FoundDisk(VOLUME, 'vdb', True, True),)


def test_now_and_later_are_told_apart() -> None:
    found = read(make(disk(VOLUME)), make(disk(OTHER)))
    assert {one.volume_id: (one.is_live, one.is_saved) for one in found} == {
        VOLUME: (True, False),
        OTHER: (False, True),
    }
    assert read(None, make(disk(VOLUME)))[0].is_live is False


def test_a_secret_that_is_lost() -> None:
    [found] = read(make(disk(VOLUME, NETWORK)), None)
    assert (found.secret_id, found.has_secret) == (ATTACHMENT, False)
    [found] = read(make(disk(VOLUME, NETWORK)), None, frozenset({ATTACHMENT}))
    assert found.has_secret


def test_only_what_has_changed_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str | None] = []
    real = xml.list_own
    monkeypatch.setattr(xml, 'list_own', lambda live, config: (parsed.append(live), real(live, config))[1])
    reader, text = DiskReader(), make(disk(VOLUME, NETWORK))

    def look(live: str, *secrets: str) -> list[bool]:
        [server] = reader.read([DomainState('id', 'web', 'running', live, None)], frozenset(secrets))
        return [one.has_secret for one in server.disks]

    assert [look(text), look(text, ATTACHMENT), look(text)] == [[False], [True], [False]]
    assert parsed == [text]
    assert look(make()) == []
    assert len(parsed) == 2
    assert reader.read([], frozenset()) == []
