# SPDX-License-Identifier: Apache-2.0
import os
import socket

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
