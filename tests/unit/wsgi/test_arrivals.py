# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from multiattach import turns
from multiattach.wsgi import arrivals


def test_data_that_waits_for_its_reader_tells_for_how_long() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        client.sendall(b'GET / HTTP/1.1\r\n\r\n')
        time.sleep(0.5)
        connection, _ = listener.accept()  # it waited in the queue of those who are not accepted
        with connection:
            assert 0.4 < arrivals.read_wait(connection) < 5
            client.sendall(b'more')
            assert arrivals.read_wait(connection) < 0.4


def test_other_sockets_tell_nothing() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert arrivals.read_wait(left) == 0


def test_the_application_is_told() -> None:
    seen: list[float] = []

    def application(environ: dict[str, Any], _start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(time.monotonic() - environ[turns.ARRIVED])
        return []

    noted = arrivals.note(application)
    noted({}, lambda *_args: None)
    with socket.create_server(('127.0.0.1', 0)) as listener, contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        client.sendall(b'x')
        time.sleep(0.5)
        connection = stack.enter_context(listener.accept()[0])
        noted({'gunicorn.socket': connection}, lambda *_args: None)
    assert seen[0] < 0.4 < seen[1]
