# SPDX-License-Identifier: Apache-2.0
"""os-brick itself, as far as it goes without a SCSI host; the rest is shown on real hosts."""

import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from oslo_concurrency import processutils

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors import bounded, brick, chap, identity
from multiattach.drivers.connectors.brick import BrickConnector, by_path_link
from multiattach.drivers.errors import ConnectorError, ConnectorTimeout, WrongDevice
from tests.testbed.polling import wait_until

VOLUME = 'f3a1b2c3-d4e5-4f60-8718-293a4b5c6d7e'
SECRET = 'chap-secret-1234'


class Brick:
    """Stands where os-brick's connector does; what it answers is what the test says."""

    def __init__(self, path: str = '/dev/sdb', error: Exception | None = None) -> None:
        self.path, self.error = path, error
        self.calls: list[tuple[str, Any]] = []

    def connect_volume(self, properties: dict[str, Any]) -> dict[str, str]:
        self.calls.append(('connect', properties))
        if self.error is not None:
            raise self.error
        return {'type': 'block', 'scsi_wwn': '3' + 'x', 'path': self.path}

    def disconnect_volume(self, properties: dict[str, Any], device: Any, *, force: bool, ignore_errors: bool) -> None:
        assert force == ignore_errors
        self.calls.append(('disconnect by force' if force else 'disconnect', device))
        if self.error is not None:
            raise self.error


@pytest.fixture
def info() -> Any:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        yield {
            'driver_volume_type': 'iscsi',
            'volume_id': VOLUME,
            'target_discovered': False,
            'target_iqn': f'iqn.2010-10.org.openstack:volume-{VOLUME}',
            'target_lun': 1,
            'target_portal': f'127.0.0.1:{server.getsockname()[1]}',
            'auth_method': 'CHAP',
            'auth_username': 'user',
            'auth_password': SECRET,
            'encrypted': False,
            'access_mode': 'rw',
            'qos_specs': None,
        }


@pytest.fixture
def connector(tmp_path: pathlib.Path) -> BrickConnector:
    return BrickConnector(
        'host1', '127.0.0.1', lock_path=str(tmp_path / 'locks'), portal_timeout=0.3, step_timeout=30, udev_timeout=0.2
    )


def use(connector: BrickConnector, fake: Brick) -> Brick:
    connector._connector = fake
    return fake


def test_import_of_os_brick_waits_until_it_is_needed() -> None:
    code = (
        'import sys, multiattach.drivers.connectors.brick as b;'
        'b.BrickConnector("h", "::1", lock_path="/nonexistent");'
        'sys.exit("os_brick" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_properties_are_the_hosts_own_and_stay(connector: BrickConnector) -> None:
    found = connector.properties('attachment', 'server')
    assert (found['host'], found['ip'], found['multipath']) == ('host1', '127.0.0.1', False)
    assert {'platform', 'os_type', 'initiator'} <= set(found)
    line = pathlib.Path('/etc/iscsi/initiatorname.iscsi').read_text()
    assert f'InitiatorName={found["initiator"]}' in line
    assert connector.properties('another', 'server') == found
    assert connector.shares_sessions


def test_host_without_an_initiator_name(connector: BrickConnector, monkeypatch: pytest.MonkeyPatch) -> None:
    from os_brick.initiator import connector as os_brick_connector

    monkeypatch.setattr(os_brick_connector, 'get_connector_properties', lambda *a, **k: {'host': 'h'})
    for _ in range(2):
        with pytest.raises(ConnectorError, match='install open-iscsi'):
            connector.describe()


def test_nothing_to_disconnect(connector: BrickConnector, info: dict[str, Any]) -> None:
    connector.disconnect(info, None)
    connector.disconnect(info, DeviceInfo('block', '/dev/disk/by-path/gone'))
    assert (pathlib.Path(connector._lock_path) / 'os-brick-connect_volume').exists()


def test_login_that_fails(connector: BrickConnector, info: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Nobody answers the login; how soon that is known depends on the machine's iscsid."""
    caplog.set_level('DEBUG')
    with pytest.raises((ConnectorError, ConnectorTimeout), match='connect the volume') as caught:
        connector.connect(info)
    assert SECRET not in str(caught.value) + caplog.text


@pytest.mark.parametrize('line', ['node.session.auth.chap_algs = MD5', 'node.session.auth.chap_algs = SHA3-256,SHA256'])
def test_a_digest_that_tgtd_does_not_know_is_told(
    connector: BrickConnector,
    info: dict[str, Any],
    tmp_path: pathlib.Path,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    conf = tmp_path / 'iscsid.conf'
    conf.write_text(f'{line}\n')
    monkeypatch.setattr(chap, 'ISCSID_CONF', str(conf))
    is_wrong = 'SHA' in line
    connector.describe()
    assert ('Set "node.session.auth.chap_algs = MD5" there' in caplog.text) == is_wrong
    use(connector, Brick(error=processutils.ProcessExecutionError(exit_code=24, stderr='iscsiadm: failed')))
    with pytest.raises(ConnectorError) as caught:
        connector.connect(info)
    assert 'status 24: iscsiadm: failed' in str(caught.value)
    assert ('tgtd can check none but MD5' in str(caught.value)) == is_wrong
    with pytest.raises(ConnectorError) as caught:
        connector.connect(info | {'auth_method': None})
    assert 'MD5' not in str(caught.value)


def test_nobody_listens_is_found_out_at_once(connector: BrickConnector, info: dict[str, Any]) -> None:
    fake = use(connector, Brick())
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        with pytest.raises(ConnectorError, match='Nothing answers'):
            connector.connect(info | {'target_portal': f'127.0.0.1:{server.getsockname()[1]}'})
    assert fake.calls == []


def test_link_of_udev_is_preferred(
    connector: BrickConnector, info: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brick, 'BY_PATH', str(tmp_path))
    device = tmp_path / 'sdb'
    device.touch()
    use(connector, Brick(str(device)))
    link = pathlib.Path(by_path_link(info))
    assert link.name == f'ip-{info["target_portal"]}-iscsi-{info["target_iqn"]}-lun-1'
    # None, then one that points elsewhere: the node itself is used.
    assert connector.connect(info) == DeviceInfo('block', str(device))
    link.symlink_to(tmp_path / 'sdc')
    assert connector.connect(info) == DeviceInfo('block', str(device))
    link.unlink()
    timer = threading.Timer(0.1, lambda: link.symlink_to(device))
    timer.start()
    assert connector.connect(info) == DeviceInfo('block', str(link))
    timer.join()


def test_os_brick_is_told_every_portal(
    connector: BrickConnector, info: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    fake = use(connector, Brick())
    connector.connect(info)
    ((_, told),) = fake.calls
    assert (told['target_portals'], told['target_iqns'], told['target_luns']) == (
        [info['target_portal']],
        [info['target_iqn']],
        [1],
    )
    assert {key: told[key] for key in info} == info
    connector._connector = None
    connector.disconnect(info, None)  # os-brick's own: it searches nowhere else
    assert 'Exception encountered' not in caplog.text


def test_link_of_an_ipv6_portal_has_no_brackets() -> None:
    found = by_path_link({'target_portal': '[fd00::1]:3260', 'target_iqn': 'iqn.x', 'target_lun': 1})
    assert found == '/dev/disk/by-path/ip-fd00::1:3260-iscsi-iqn.x-lun-1'


def test_disconnect_names_the_node(connector: BrickConnector, info: dict[str, Any], tmp_path: pathlib.Path) -> None:
    fake = use(connector, Brick())
    (tmp_path / 'sdb').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'sdb')
    connector.disconnect(info, DeviceInfo('block', str(tmp_path / 'link')))
    connector.disconnect(info, None)
    connector.disconnect(info, None, lost=True)
    assert fake.calls == [
        ('disconnect', {'path': str(tmp_path / 'sdb')}),
        ('disconnect', None),
        ('disconnect by force', None),
    ]


def test_command_line_with_the_secret_is_not_told(
    connector: BrickConnector, info: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('DEBUG')
    command = f'iscsiadm --op update -n node.session.auth.password -v {SECRET}'
    use(
        connector,
        Brick(
            error=processutils.ProcessExecutionError(
                exit_code=7, cmd=command, stderr=f'iscsiadm: cannot write {SECRET}'
            )
        ),
    )
    with pytest.raises(ConnectorError) as caught:
        connector.connect(info)
    assert str(caught.value) == (
        'The host could not connect the volume: a command ended with status 7: iscsiadm: cannot write ***'
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET not in caplog.text


def test_device_that_is_not_the_volume(connector: BrickConnector, info: dict[str, Any]) -> None:
    with pytest.raises(WrongDevice):
        connector.verify(DeviceInfo('block', '/dev/null'), info)


def test_device_is_named_as_its_target_is(
    connector: BrickConnector, info: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a volume that Cinder migrated both are named after another id."""
    asked = []
    monkeypatch.setattr(identity, 'check_device', lambda path, ident: asked.append(ident))
    connector.verify(DeviceInfo('block', '/dev/null'), info)
    connector.verify(DeviceInfo('block', '/dev/null'), info | {'name_id': 'n'})
    assert asked == [info['volume_id'], 'n']


def test_step_that_hangs_is_left_alone(tmp_path: pathlib.Path, info: dict[str, Any]) -> None:
    connector = BrickConnector('h', '::1', lock_path=str(tmp_path), step_timeout=0.2, udev_timeout=0)
    release = threading.Event()
    fake = use(connector, Brick())
    fake.connect_volume = lambda properties: release.wait(20)  # type: ignore[assignment,method-assign,return-value]
    started = time.monotonic()
    with pytest.raises(ConnectorTimeout, match='connect the volume within'):
        connector.connect(info)
    assert time.monotonic() - started < 10
    started = time.monotonic()
    with pytest.raises(ConnectorTimeout, match='to connect the volume 0 s ago, and that has not ended'):
        connector.disconnect(info, None)  # a login that ends later would undo it
    assert time.monotonic() - started < 0.15
    connector.disconnect(info | {'volume_id': 'another'}, None)
    release.set()
    wait_until(lambda: not connector._calls._late, 20, 'the end of the call', 0.005)
    connector.disconnect(info, None)
    assert fake.calls == [('disconnect', None)] * 2


def test_a_host_that_hangs_when_it_is_asked_what_it_is(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = BrickConnector('h', '::1', lock_path=str(tmp_path), step_timeout=0.2)
    use(connector, Brick())
    release = threading.Event()
    monkeypatch.setattr(connector, '_ask_properties', lambda _brick: release.wait(20) and {'host': 'h'})
    for reason in ('tell what it is within', 'that has not ended'):
        with pytest.raises(ConnectorTimeout, match=reason):
            connector.describe()
    release.set()


def test_bounded_call_gives_back_what_it_gets() -> None:
    calls = bounded.BoundedCalls()
    assert calls.run('one', os.getpid, 20, 'ask') == os.getpid()
    with pytest.raises(ZeroDivisionError):
        calls.run('one', lambda: 1 // 0, 20, 'divide')
    assert calls.run('one', os.getpid, 20, 'ask') == os.getpid()
