# SPDX-License-Identifier: Apache-2.0
"""A socket on this machine that leads to a server elsewhere."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.testbed.place import check_socket_path


class PortRelay:
    """Listens until closed; closing cuts every connection, so that no client hangs."""

    def __init__(self, server: int | socket.socket, dial: Callable[[], socket.socket]) -> None:
        """Start listening.

        :param server: a TCP port of the loopback, or a socket that listens
        :param dial: makes a connection to the server, or raises OSError
        """
        self._dial = dial
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(('127.0.0.1', server)) if isinstance(server, int) else server
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut all connections."""
        _cut(self._server)
        self.cut()

    def cut(self) -> None:
        """Cut all connections; the next ones are dialled anew."""
        with self._lock:
            for connection in self._open:
                _cut(connection)

    def _accept(self) -> None:
        with self._server, contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client:
            if client.family == socket.AF_INET:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = self._dial()
            except OSError:
                return
            with server:
                pair = {client, server}
                with self._lock:
                    self._open |= pair
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()
                with self._lock:
                    self._open -= pair


class Relay(PortRelay):
    """The same for a Unix socket."""

    def __init__(self, path: Path, dial: Callable[[], socket.socket]) -> None:
        """Start listening.

        :param path: the socket to make
        :param dial: makes a connection to the server, or raises OSError
        """
        self.path = check_socket_path(path)
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(32)
        super().__init__(server, dial)

    def close(self) -> None:
        """Stop listening and cut all connections."""
        super().close()
        self.path.unlink(missing_ok=True)


def _cut(connection: socket.socket) -> None:
    # Not close: a thread may still be reading, and the number would be given out again.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
