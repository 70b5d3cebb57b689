# SPDX-License-Identifier: Apache-2.0
import os
import socket
from typing import Any

import pytest

from multiattach.drivers.targets.tgt import sockets


class Forgetful(dict[int, Any]):
    """What another thread, which finds other sockets listening just then, makes of it."""

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.clear()


def test_fences_side_by_side_may_each_find_something_else_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, '_owned', Forgetful())
    with socket.create_server(('127.0.0.1', 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as other, listening.accept()[0] as accepted:
            peers = sockets.list_peers(os.getpid())
            assert os.fstat(accepted.fileno()).st_ino in peers
            assert os.fstat(other.fileno()).st_ino not in peers
