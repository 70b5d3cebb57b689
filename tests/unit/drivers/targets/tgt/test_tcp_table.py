# SPDX-License-Identifier: Apache-2.0
import errno
import os
import socket
import struct
import types
from typing import Any

import pytest

from multiattach.drivers.targets.tgt import tcp_table
from multiattach.drivers.targets.tgt.sessions import poll


@pytest.mark.parametrize('asks', [True, False])
def test_a_connection_that_has_ended_is_none(asks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts those of an address would take its others for logins that are held open half-way."""
    monkeypatch.setattr(tcp_table, '_is_in_our_namespace', lambda _pid: asks)
    with socket.create_server(('127.0.0.1', 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(('127.0.0.1', port)):
            accepted, _ = listening.accept()
            assert len(tcp_table.list_connected(os.getpid(), [port])) == 1
            accepted.close()  # whose side closes first remembers it
        assert poll(lambda: tcp_table.list_connected(os.getpid(), [port]), lambda found: not found, 5) == []


def answer(kind: int, code: int) -> Any:
    """An end of the kernel's list (nlmsghdr, and the code that follows)."""
    return types.SimpleNamespace(recv=lambda _size: struct.pack('=IHHIIi', 20, kind, 0, 0, 0, code))


@pytest.mark.parametrize('family', [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize('kind', [tcp_table._DONE, tcp_table._ERROR])
def test_a_list_that_was_broken_off_is_none(family: int, kind: int) -> None:
    """A fence would not see who is logged in half-way."""
    with pytest.raises(tcp_table._NoDiagError):
        list(tcp_table._receive(answer(kind, -errno.ENOMEM), family))


def test_a_kernel_without_ipv6_has_none_of_it() -> None:
    assert list(tcp_table._receive(answer(tcp_table._ERROR, -errno.ENOENT), socket.AF_INET6)) == []
    assert list(tcp_table._receive(answer(tcp_table._DONE, 0), socket.AF_INET)) == []
