# SPDX-License-Identifier: Apache-2.0
"""Changes that the kernel does not end: a pipe that nobody reads stands for an attribute whose writer it keeps."""

import os
import threading
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetBusy, TargetError, TargetUnavailable
from multiattach.drivers.targets.lio import configfs as module
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.session_text import read_sessions


@pytest.fixture
def configfs(tmp_path: Path) -> Configfs:
    return Configfs(tmp_path, timeout=0.2)


def test_what_hangs_is_left_behind_until_it_comes_back(configfs: Configfs, tmp_path: Path) -> None:
    stuck, other = tmp_path / 'stuck', tmp_path / 'other'
    for folder in (stuck, other):
        configfs.make(folder)
    os.mkfifo(stuck / 'enable')
    with pytest.raises(TargetUnavailable, match='set stuck/enable: the kernel has not ended it'):
        configfs.write(stuck / 'enable', 'secret')
    assert configfs.is_stuck(stuck)
    assert not configfs.is_stuck(other)
    with pytest.raises(TargetUnavailable, match='earlier') as refused:
        configfs.make(stuck / 'acls')
    assert not refused.value.delivered
    configfs.make(other / 'acls')
    reader = os.open(stuck / 'enable', os.O_RDONLY)
    try:
        threading.Event().wait(0.2)
        assert not configfs.is_stuck(stuck)
        configfs.make(stuck / 'acls')
        assert os.read(reader, 100) == b'secret'
    finally:
        os.close(reader)


def test_something_is_done_while_the_kernel_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, '_PATIENCE', 0.05)
    configfs = Configfs(tmp_path)
    os.mkfifo(tmp_path / 'enable')
    readers: list[int] = []

    def hurry() -> None:
        readers.append(os.open(tmp_path / 'enable', os.O_RDONLY))

    configfs._run('set', tmp_path / 'enable', lambda: os.close(os.open(tmp_path / 'enable', os.O_WRONLY)), hurry)
    os.close(readers[0])


def test_a_change_is_not_lost_sight_of_when_nothing_can_be_done_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its folder would not be taken for stuck, and who reads there would hang, too."""
    monkeypatch.setattr(module, '_PATIENCE', 0.05)
    configfs = Configfs(tmp_path, timeout=0.2)
    os.mkfifo(tmp_path / 'enable')

    def hurry() -> None:
        raise PermissionError(1, 'Operation not permitted')

    with pytest.raises(TargetUnavailable, match='the kernel has not ended it'):
        configfs._run('set', tmp_path / 'enable', lambda: os.close(os.open(tmp_path / 'enable', os.O_WRONLY)), hurry)
    assert configfs.is_stuck(tmp_path)
    os.close(os.open(tmp_path / 'enable', os.O_RDONLY))


def test_what_is_there_or_gone_is_success(configfs: Configfs, tmp_path: Path) -> None:
    assert configfs.make(tmp_path / 'a')
    assert not configfs.make(tmp_path / 'a')
    configfs.make(tmp_path / 'a' / 'b')
    with pytest.raises(TargetBusy, match='cannot remove a: Directory not empty'):
        configfs.remove(tmp_path / 'a')
    for name in ('a/b', 'a', 'a'):
        configfs.remove(tmp_path / name)
    assert configfs.read(tmp_path / 'nothing') == ''
    assert configfs.list_names(tmp_path / 'nothing') == []


def test_sessions_are_read_from_what_linux_6_1_shows() -> None:
    text = """\
InitiatorName: iqn.2010-10.org.openstack.test:host-1
InitiatorAlias:
LIO Session ID: 4   ISID: 0x80 4e e7 35 00 00  TSIH: 4  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 192.0.2.7 TCP  StatSN: 0x00000003
"""
    assert read_sessions(text) == ['192.0.2.7']
    assert read_sessions(text.replace('192.0.2.7', '[2001:db8::7]')) == ['2001:db8::7']
    assert read_sessions('No active iSCSI Session for Initiator Endpoint: iqn.x:y\n') == []


def test_what_the_kernel_does_not_have_is_a_refusal(configfs: Configfs, tmp_path: Path) -> None:
    """Whoever sees to other targets goes on."""
    for change in (
        lambda: configfs.write(tmp_path / 'no_such_attribute', '1'),
        lambda: configfs.make(tmp_path / 'gone' / 'folder'),
        lambda: configfs.link(tmp_path / 'gone' / 'link', tmp_path),
    ):
        with pytest.raises(TargetError, match='No such file'):
            change()
