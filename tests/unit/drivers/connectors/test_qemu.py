# SPDX-License-Identifier: Apache-2.0
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.domain.connection import DeviceInfo, parse_connector
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.connectors.qemu import QemuConnector
from multiattach.drivers.errors import ConnectorError, WrongDevice

VOLUME = 'f3a1b2c3-d4e5-4f60-8718-293a4b5c6d7e'
ATTACHMENT = '0c2e2d01-58bf-42ec-bba6-52019e687c85'
SECRET = 'chap-secret-1234'


@pytest.fixture
def info() -> Iterator[dict[str, Any]]:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        yield {
            'driver_volume_type': 'iscsi',
            'attachment_id': ATTACHMENT,
            'volume_id': VOLUME,
            'target_iqn': f'iqn.2010-10.org.openstack:volume-{VOLUME}',
            'target_lun': 1,
            'target_portal': f'127.0.0.1:{server.getsockname()[1]}',
            'auth_method': 'CHAP',
            'auth_username': 'user',
            'auth_password': SECRET,
        }


@pytest.fixture
def connector() -> HostConnector:
    return QemuConnector('host1', '10.0.0.5', portal_timeout=0.3)


def test_each_attachment_is_an_initiator_of_its_own(connector: HostConnector) -> None:
    mine, other = (connector.properties(ident, 'server') for ident in (ATTACHMENT, VOLUME))
    assert parse_connector(mine).initiator == f'iqn.2010-10.org.openstack:{ATTACHMENT}'
    assert mine['initiator'] != other['initiator']
    assert (mine['host'], mine['ip'], mine['multipath']) == ('host1', '10.0.0.5', False)
    assert connector.properties(ATTACHMENT, 'server') == mine
    assert not connector.shares_sessions


def test_what_qemu_needs(connector: HostConnector, info: dict[str, Any]) -> None:
    device = connector.connect(info)
    assert device.source_type == 'network'
    assert device.details == {
        'protocol': 'iscsi',
        'name': f'{info["target_iqn"]}/1',
        'host': '127.0.0.1',
        'port': int(info['target_portal'].split(':')[1]),
        'username': 'user',
        'password': SECRET,
        'initiator': f'iqn.2010-10.org.openstack:{ATTACHMENT}',
    }
    assert SECRET not in repr(device)
    connector.verify(device, info)
    connector.disconnect(info, device)
    connector.disconnect(info, None)


def test_prefix_is_the_operators(info: dict[str, Any]) -> None:
    connector = QemuConnector('h', '::1', initiator_prefix='iqn.2020-01.org.example:c1:')
    wanted = f'iqn.2020-01.org.example:c1:{ATTACHMENT}'
    assert connector.properties(ATTACHMENT, 's')['initiator'] == wanted
    assert connector.connect(info).details['initiator'] == wanted


def test_without_chap(connector: HostConnector, info: dict[str, Any]) -> None:
    del info['auth_method']
    assert 'password' not in connector.connect(info).details


def test_target_of_another_volume(connector: HostConnector, info: dict[str, Any]) -> None:
    device = connector.connect(info | {'target_iqn': f'iqn.2010-10.org.openstack:volume-{ATTACHMENT}'})
    with pytest.raises(WrongDevice, match=ATTACHMENT):
        connector.verify(device, info)
    with pytest.raises(WrongDevice):
        connector.verify(DeviceInfo('network'), info)


def test_target_that_is_named_after_another_id(connector: HostConnector, info: dict[str, Any]) -> None:
    named = info | {'target_iqn': f'iqn.2010-10.org.openstack:volume-{ATTACHMENT}', 'name_id': ATTACHMENT}
    connector.verify(connector.connect(named), named)
    with pytest.raises(WrongDevice):
        connector.verify(connector.connect(info), named)


@pytest.mark.parametrize('key', ['target_portal', 'target_iqn', 'target_lun', 'attachment_id'])
def test_connection_info_that_lacks_something(connector: HostConnector, info: dict[str, Any], key: str) -> None:
    del info[key]
    with pytest.raises(ConnectorError, match=key):
        connector.connect(info)


def test_nobody_listens(connector: HostConnector, info: dict[str, Any]) -> None:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        with pytest.raises(ConnectorError, match='Nothing answers'):
            connector.connect(info | {'target_portal': f'127.0.0.1:{server.getsockname()[1]}'})
