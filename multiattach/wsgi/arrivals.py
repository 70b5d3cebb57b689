# SPDX-License-Identifier: Apache-2.0
"""When a request had arrived: where many come at once, it waits in the kernel until a thread of the server takes it."""

import contextlib
import importlib
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

from multiattach import turns
from multiattach.api.faults import WsgiApp

_LAST_DATA = 52  # in linux/tcp.h: struct tcp_info.tcpi_last_data_recv, ms since the last segment with data


def read_wait(connection: socket.socket) -> float:
    """Tell for how long the last data of a connection has been here.

    :returns: seconds; 0 for one that is not of TCP.
    """
    with contextlib.suppress(OSError):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA + 4)
        if len(info) == _LAST_DATA + 4:
            (waited,) = struct.unpack_from('=I', info, _LAST_DATA)
            return float(waited) / 1000
    return 0.0


def note(application: WsgiApp) -> WsgiApp:
    """Have an application know when each request had arrived, under servers whose connections can be seen."""
    find = _make_finder()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[turns.ARRIVED] = time.monotonic() - find(environ)
        return application(environ, start_response)

    return serve


def _make_finder() -> Callable[[dict[str, Any]], float]:
    try:
        uwsgi = importlib.import_module('uwsgi')  # uWSGI itself puts it there
    except ImportError:
        return _find_in_gunicorn

    def find(_environ: dict[str, Any]) -> float:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=uwsgi.connection_fd())
        try:
            return read_wait(connection)
        finally:
            connection.detach()  # it stays uWSGI's

    return find


def _find_in_gunicorn(environ: dict[str, Any]) -> float:
    connection = environ.get('gunicorn.socket')
    return 0.0 if connection is None else read_wait(connection)
