# SPDX-License-Identifier: Apache-2.0
"""Connections that tgtd does not show are found in the kernel, and ended; sessions are left alone."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt import sockets, tcp_table
from multiattach.drivers.targets.tgt.logins import Logins
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget

from .conftest import Volume
from .initiator import BLOCK, IoFailed, Session

STRANGER = '127.0.0.9'


def connect(portal: str, source: str = STRANGER) -> socket.socket:
    """A connection that says nothing: to tgtd a login that has not begun, to the kernel as any other."""
    host, _, port = portal.rpartition(':')
    return socket.create_connection((host, int(port)), source_address=(source, 0))


def is_ended(held: socket.socket) -> bool:
    held.settimeout(5)
    try:
        return held.recv(1) == b''
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.fixture
def session(target: TgtTarget, volume: Volume) -> Iterator[Session]:
    grant = volume.grant(1)
    with volume.login(volume.grant_all(target, [grant]), grant) as found:
        yield found


@pytest.fixture
def logins(tgtd: PrivateTgtd) -> Logins:
    return Logins(tgtd.daemon, 5)


@pytest.mark.every_store
def test_sessions_are_not_ended(logins: Logins, session: Session) -> None:
    assert logins.end_unfinished() == []
    assert session.read(0) == bytes(BLOCK)


@pytest.mark.every_store
def test_what_is_no_session_is_ended_and_only_that(logins: Logins, session: Session, tgtd: PrivateTgtd) -> None:
    with connect(tgtd.portal) as held, connect(tgtd.portal) as second:
        assert logins.end_unfinished() == [STRANGER, STRANGER]
        assert is_ended(held)
        assert is_ended(second)
    assert session.read(0) == bytes(BLOCK)
    assert logins.end_unfinished() == []


def test_sessions_that_were_seen_before_are_told_from_a_held_login_of_the_same_address(
    logins: Logins, session: Session, tgtd: PrivateTgtd
) -> None:
    logins.end_unfinished()
    with connect(tgtd.portal, '127.0.0.1') as held:
        assert logins.end_unfinished() == ['127.0.0.1']
        assert is_ended(held)
    assert session.read(0) == bytes(BLOCK)


def test_what_cannot_be_told_apart_is_ended_together(logins: Logins, session: Session, tgtd: PrivateTgtd) -> None:
    with connect(tgtd.portal, '127.0.0.1') as held:
        assert logins.end_unfinished() == ['127.0.0.1'] * 2
        assert is_ended(held)
    with pytest.raises(IoFailed):
        session.read(0)


def test_logins_that_come_and_go_all_the_time_hold_nobody_up(
    logins: Logins, target: TgtTarget, make_volume: Callable[[], Volume], session: Session, tgtd: PrivateTgtd
) -> None:
    """An honest host logs in and out at another volume, from the address that everybody has here."""
    logins.end_unfinished()
    other = make_volume()
    grant = other.grant(2)
    info = other.grant_all(target, [grant])
    ends = threading.Event()

    def churn() -> None:
        while not ends.is_set():
            try:
                with other.login(info, grant) as found:
                    found.read(0)
            except Exception:
                continue

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            logins.end_unfinished()
    finally:
        ends.set()
        thread.join()
    assert session.read(0) == bytes(BLOCK)


def test_another_tgtd_has_other_connections(
    logins: Logins, target: TgtTarget, tgtd: PrivateTgtd, volume: Volume
) -> None:
    grant = volume.grant(1)
    for _ in range(2):
        with volume.login(volume.grant_all(target, [grant]), grant) as session:
            assert logins.end_unfinished() == []
            assert session.read(0) == bytes(BLOCK)
        tgtd._kill()
        tgtd.start()


CHILD = """
import socket, sys
server = socket.create_server(('{host}', 0), family=socket.{family})
print(server.getsockname()[1], flush=True)
held, _ = server.accept()
print('accepted', flush=True)
print(held.recv(1), flush=True)
"""


@pytest.mark.parametrize(
    ('family', 'host', 'address'), [('AF_INET', '127.0.0.1', '127.0.0.1'), ('AF_INET6', '::1', '::1')]
)
def test_connections_of_another_process_are_read_and_ended(family: str, host: str, address: str) -> None:
    program = CHILD.format(host=host, family=family)
    with subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with socket.create_connection((host, port)) as held:
            assert child.stdout.readline() == 'accepted\n'
            [peer] = sockets.list_peers(child.pid).values()
            assert peer.address == address
            # What is not a connection of its own, or not any more, is left alone.
            sockets.shut_down(child.pid, peer._replace(inode=peer.inode + 1))
            held.sendall(b'x')
            assert child.stdout.readline() == "b'x'\n"
        child.wait(10)
        sockets.shut_down(child.pid, peer)  # it is gone: success
        with pytest.raises(TargetError, match='cannot be read'):
            sockets.list_peers(child.pid)


def test_of_two_that_listen_at_one_port_each_has_its_own() -> None:
    """As two tgtd at addresses of their own have; what a process has connected itself is none it has accepted."""
    program = CHILD.format(host='127.0.0.1', family='AF_INET')
    with subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with socket.create_server(('127.0.0.2', port)) as server, socket.create_connection(('127.0.0.1', port)) as held:
            assert child.stdout.readline() == 'accepted\n'
            with socket.create_connection(('127.0.0.2', port)) as mine, server.accept()[0] as accepted:
                here, there = sockets.list_peers(os.getpid()), sockets.list_peers(child.pid)
                inodes = [os.fstat(one.fileno()).st_ino for one in (held, mine, accepted)]
                assert [one in here for one in inodes] == [False, False, True]
                assert len(there) == 1
                assert not there.keys() & set(inodes)


TALKS_TO_ITSELF = """
import fcntl, socket, struct, sys
with socket.socket() as any_:
    fcntl.ioctl(any_, 0x8914, struct.pack('16sH14x', b'lo', 1))  # SIOCSIFFLAGS: up
server = socket.create_server(('127.0.0.1', 0))
mine = socket.create_connection(server.getsockname())
held, _ = server.accept()
print('accepted', flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize('wrapped', [[], ['unshare', '--net']], ids=['sock_diag', '/proc'])
def test_connections_are_read_in_either_way(wrapped: list[str]) -> None:
    """By sock_diag, which answers for the asker's own network namespace, and from /proc for another one."""
    argv = [*wrapped, sys.executable, '-c', TALKS_TO_ITSELF]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == 'accepted\n'
        assert [peer.address for peer in sockets.list_peers(child.pid).values()] == ['127.0.0.1']
        assert {one.inode for one in tcp_table.list_listening(os.getpid())}.isdisjoint(
            one.inode for one in tcp_table.list_listening(child.pid)
        ) == bool(wrapped)


@pytest.mark.parametrize(
    ('text', 'plain'),
    [
        ('192.0.2.1', '192.0.2.1'),
        ('::ffff:192.0.2.1', '192.0.2.1'),
        ('fe80::1%eth0', 'fe80::1'),
        ('2001:0db8:0:0::1', '2001:db8::1'),
        ('', ''),
        ('host', 'host'),
    ],
)
def test_one_address_has_one_spelling(text: str, plain: str) -> None:
    assert tcp_table.plain_address(text) == plain
