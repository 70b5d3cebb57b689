# SPDX-License-Identifier: Apache-2.0
import socket
import threading
import time

import pytest

from multiattach.drivers.connectors.portal import await_portal, split_portal
from multiattach.drivers.errors import ConnectorError


@pytest.mark.parametrize(
    ('portal', 'parts'),
    [
        ('10.0.0.1:3260', ('10.0.0.1', 3260)),
        ('10.0.0.1:3261,1', ('10.0.0.1', 3261)),
        ('[fd00::1]:3260', ('fd00::1', 3260)),
        ('[fd00::1]', ('fd00::1', 3260)),
        ('storage.example', ('storage.example', 3260)),
    ],
)
def test_parts(portal: str, parts: tuple[str, int]) -> None:
    assert split_portal(portal) == parts


@pytest.mark.parametrize('portal', ['', ':3260', '10.0.0.1:', '10.0.0.1:iscsi'])
def test_no_portal(portal: str) -> None:
    with pytest.raises(ConnectorError, match='ADDRESS:PORT'):
        split_portal(portal)


def bound() -> socket.socket:
    server = socket.socket()
    server.bind(('127.0.0.1', 0))
    return server


def test_nobody_listens() -> None:
    with bound() as server:  # bound, so that nobody else takes the port
        started = time.monotonic()
        with pytest.raises(ConnectorError, match='Nothing answers'):
            await_portal(f'127.0.0.1:{server.getsockname()[1]}', 0.6)
        assert time.monotonic() - started < 5


def test_target_that_is_just_starting() -> None:
    with bound() as server:
        timer = threading.Timer(0.5, server.listen)
        timer.start()
        await_portal(f'127.0.0.1:{server.getsockname()[1]}', 20)
        timer.join()
