# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors.rbd import ConnectorChoice, Image, RbdConnector
from multiattach.drivers.errors import ConnectorError, WrongDevice

VOLUME = 'f3a1b2c3-d4e5-4f60-8718-293a4b5c6d7e'
ATTACHMENT = '0c2e2d01-58bf-42ec-bba6-52019e687c85'
KEY = 'AQBY2AxrFIxrNxAASqmhkd+a0wV8SgY42Z0OfA=='
INFO = {
    'driver_volume_type': 'rbd',
    'volume_id': VOLUME,
    'name': f'volumes/volume-{VOLUME}',
    'hosts': ['10.0.0.1', '[fd00::1]'],
    'ports': ['6789', 3300],
    'auth_enabled': True,
    'auth_username': f'multiattach-{ATTACHMENT}',
    'secret_uuid': ATTACHMENT,
    'keyring': f'[client.multiattach-{ATTACHMENT}]\n\tkey = {KEY}\n\tcaps mon = "profile rbd"\n',
}


def test_what_a_connection_info_says_of_an_image() -> None:
    image = Image.read(INFO)
    assert (image.pool, image.name, image.key) == ('volumes', f'volume-{VOLUME}', KEY)
    assert image.monitors == '10.0.0.1:6789,[fd00::1]:3300'
    assert KEY not in repr(image)
    assert image.tell('/etc/ceph/ceph.conf', discard=False) == {
        'protocol': 'rbd',
        'name': f'volumes/volume-{VOLUME}',
        'hosts': (('10.0.0.1', '6789'), ('fd00::1', '3300')),
        'discard': False,
        'conf': '/etc/ceph/ceph.conf',
        'username': f'multiattach-{ATTACHMENT}',
        'secret_uuid': ATTACHMENT,
        'key': KEY,
    }


@pytest.mark.parametrize('lacks', ['name', 'hosts', 'ports', 'auth_username', 'secret_uuid'])
def test_what_it_must_say(lacks: str) -> None:
    with pytest.raises(ConnectorError, match='connection_info'):
        Image.read({key: value for key, value in INFO.items() if key != lacks})


def test_monitors_without_as_many_ports() -> None:
    with pytest.raises(ConnectorError, match='none of an image'):
        Image.read({**INFO, 'ports': ['6789']})


def test_an_image_of_another_volume_is_refused() -> None:
    connector = RbdConnector('host', '10.0.0.2')
    connector.verify(DeviceInfo('network', details=Image.read(INFO).tell('', discard=True)), INFO)
    other = {**INFO, 'name': f'volumes/volume-{ATTACHMENT}'}
    with pytest.raises(WrongDevice):
        connector.verify(DeviceInfo('network', details=Image.read(other).tell('', discard=True)), other)


def test_an_image_that_is_named_after_another_id() -> None:
    """Cinder migrated the volume, and it says so."""
    connector = RbdConnector('host', '10.0.0.2')
    named = {**INFO, 'name': f'volumes/volume-{ATTACHMENT}', 'name_id': ATTACHMENT}
    connector.verify(DeviceInfo('network', details=Image.read(named).tell('', discard=True)), named)
    with pytest.raises(WrongDevice):
        connector.verify(DeviceInfo('network', details=Image.read(INFO).tell('', discard=True)), named)


def test_a_host_without_an_initiator() -> None:
    connector = RbdConnector('host', '10.0.0.2')
    found = connector.properties(ATTACHMENT, 'server')
    assert found['cephx'] == 'attachment'
    assert 'initiator' not in found
    with pytest.raises(ConnectorError, match='connector = os-brick'):
        connector.connect({'driver_volume_type': 'iscsi', 'target_iqn': 'iqn.x'})


class Recorder:
    """Either connector, as far as it is asked which."""

    shares_sessions = True

    def __init__(self, name: str) -> None:
        self.name = name

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        return {'initiator': 'iqn.y'}

    def extend(self, connection_info: Any) -> str:
        return self.name


def test_a_host_has_a_connector_for_each_kind_of_volume() -> None:
    both = ConnectorChoice(Recorder('iscsi'), Recorder('rbd'))  # type: ignore[arg-type]
    assert both.shares_sessions
    assert both.properties(ATTACHMENT, 'server') == {'initiator': 'iqn.y', 'cephx': 'attachment'}
    assert [both.extend(info) for info in (INFO, {'driver_volume_type': 'iscsi'}, {})] == ['rbd', 'iscsi', 'iscsi']
