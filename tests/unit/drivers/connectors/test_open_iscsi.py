# SPDX-License-Identifier: Apache-2.0
"""Which commands os-brick runs for a login; the initiator itself is shown on real hosts (tests/e2e)."""

import pathlib
from typing import Any

import pytest
from oslo_concurrency import processutils

from multiattach.drivers.connectors import open_iscsi, sessions
from multiattach.drivers.connectors.open_iscsi import OpenIscsi

IQN, PORTAL = 'iqn.2010-10.org.openstack:volume-x', '192.0.2.1:3260'
INFO = {
    'target_iqn': IQN,
    'target_portal': PORTAL,
    'target_lun': 1,
    'auth_method': 'CHAP',
    'auth_username': 'joe',
    'auth_password': 'secret',
}
UPDATE = (
    *('--op', 'update', '-n', 'node.session.scan', '-v', 'manual', '-n', 'node.session.auth.authmethod', '-v', 'CHAP'),
    *('-n', 'node.session.auth.username', '-v', 'joe', '-n', 'node.session.auth.password', '-v', 'secret'),
    *('-n', 'node.startup', '-v', 'automatic'),
)


class Host:
    """Stands where iscsiadm does: what it was told, and a session after a login."""

    def __init__(self, *, refuses: str = '') -> None:
        self.commands: list[tuple[str, ...]] = []
        self.refuses = refuses
        self.there: list[sessions.KernelSession] = []

    def execute(self, *argv: str, **_options: Any) -> tuple[str, str]:
        assert argv[:7] == ('iscsiadm', '-m', 'node', '-T', IQN, '-p', PORTAL)
        self.commands.append(argv[7:])
        if self.refuses and self.refuses in argv:
            raise processutils.ProcessExecutionError(exit_code=24)
        if argv[7:] == ('--login',):
            self.there.append(sessions.KernelSession('3', IQN, PORTAL, '1', 'tcp'))
        return '', 'no records found' if not argv[7:] else ''


@pytest.fixture(autouse=True)
def no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this host's own records left out."""
    monkeypatch.setattr(open_iscsi, '_RECORDS', ())


def connect(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sessions, 'read_all', lambda: host.there)
    brick = OpenIscsi('', execute=host.execute)
    found = brick._connect_to_iscsi_portal_unsafe(INFO)
    assert not brick._due  # the secret is kept no longer than needed
    return found


def test_a_login_takes_four_commands_where_a_record_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    assert connect(host, monkeypatch) == ('3', True)
    assert host.commands == [(), ('--interface', 'default', '--op', 'new'), UPDATE, ('--login',)]


def test_a_new_record_takes_three(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(open_iscsi, '_RECORDS', (tmp_path, tmp_path / 'nothing'))
    host = Host()
    assert connect(host, monkeypatch) == ('3', True)
    assert host.commands == [('--interface', 'default', '--op', 'new'), UPDATE, ('--login',)]
    (tmp_path / IQN).mkdir()
    host.there.clear()
    connect(host, monkeypatch)
    assert host.commands[3] == ()


def test_where_there_is_a_session_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    host.there.append(sessions.KernelSession('2', IQN, PORTAL, '1', 'tcp'))
    assert connect(host, monkeypatch) == ('2', True)
    assert host.commands == [(), ('--interface', 'default', '--op', 'new')]


@pytest.mark.parametrize('refuses', ['--login', 'update'])
def test_a_login_that_fails(refuses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(refuses=refuses)
    assert connect(host, monkeypatch) == (None, None)
    assert host.there == []
