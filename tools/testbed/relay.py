# SPDX-License-Identifier: Apache-2.0
"""A Unix socket on this machine that leads to a server elsewhere."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from testbed.place import check_socket_path


class Relay:
    """Listens until closed; closing cuts every connection, so that no client hangs."""

    def __init__(self, path: Path, dial: Callable[[], socket.socket]) -> None:
        """Start listening.

        :param path: the socket to make
        :param dial: makes a connection to the server, or raises OSError
        """
        self.path = check_socket_path(path)
        self._dial = dial
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(32)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut all connections."""
        _cut(self._server)
        with self._lock:
            for connection in self._open:
                _cut(connection)
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with self._server, contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client:
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
