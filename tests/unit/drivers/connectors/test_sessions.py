# SPDX-License-Identifier: Apache-2.0
import pathlib
import uuid

from multiattach.drivers.connectors import sessions
from multiattach.drivers.connectors.base import HostSession


def add(sys: pathlib.Path, number: int, iqn: str, address: str = '192.0.2.1') -> None:
    session = sys / f'class/iscsi_session/session{number}'
    connection = sys / f'class/iscsi_connection/connection{number}:0'
    session.mkdir(parents=True)
    connection.mkdir(parents=True)
    (session / 'targetname').write_text(f'{iqn}\n')
    (session / 'tpgt').write_text('1\n')
    (connection / 'persistent_address').write_text(f'{address}\n')
    (connection / 'persistent_port').write_text('3260\n')


def test_sessions_of_volumes_are_found(tmp_path: pathlib.Path) -> None:
    four, six = str(uuid.uuid4()), str(uuid.uuid4())
    add(tmp_path, 1, f'iqn.2010-10.org.openstack:volume-{four}')
    add(tmp_path, 2, f'iqn.2010-10.org.openstack:volume-{six}', '2001:db8::1')
    add(tmp_path, 3, 'iqn.2010-10.org.example:something')
    add(tmp_path, 4, 'iqn.2010-10.org.openstack:volume-nothing')
    ends = tmp_path / 'class/iscsi_session/session5'
    ends.mkdir()
    assert sessions.read(tmp_path) == [
        HostSession(four, f'iqn.2010-10.org.openstack:volume-{four}', '192.0.2.1:3260'),
        HostSession(six, f'iqn.2010-10.org.openstack:volume-{six}', '[2001:db8::1]:3260'),
    ]


def test_a_kernel_without_iscsi_has_none(tmp_path: pathlib.Path) -> None:
    assert sessions.read(tmp_path) == []


def test_all_sessions_as_iscsiadm_shows_them(tmp_path: pathlib.Path) -> None:
    host = tmp_path / 'devices/platform/host7'
    add(host, 1, 'iqn.2010-10.org.example:something', '2001:db8::1')
    (host / 'scsi_host/host7').mkdir(parents=True)
    (host / 'scsi_host/host7/proc_name').write_text('iscsi_tcp\n')
    (tmp_path / 'class/iscsi_session').mkdir(parents=True)
    (tmp_path / 'class/iscsi_session/session1').symlink_to(host / 'class/iscsi_session/session1')
    (tmp_path / 'class/iscsi_connection').symlink_to(host / 'class/iscsi_connection')
    assert sessions.read_all(tmp_path) == [
        sessions.KernelSession('1', 'iqn.2010-10.org.example:something', '[2001:db8::1]:3260', '1', 'tcp')
    ]
