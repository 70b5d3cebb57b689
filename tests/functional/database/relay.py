# SPDX-License-Identifier: Apache-2.0
"""A TCP connection to a database server that breaks in the middle of a COMMIT, or of what commits itself."""

import contextlib
import enum
import socket
import threading
import time
from collections.abc import Iterator

# As MariaDB's clients send it, and PostgreSQL's; so short a message comes in one piece.
_COMMITS = (b'\x03COMMIT', b'Q\0\0\0\x0bCOMMIT\0')
# What a worker writes at the end of a step: all in one piece, too, and quoted by each driver in its way.
_ALONE = (b'"event":"exported"', b'\\"event\\":\\"exported\\"', b'UPDATE volumes, attachments')


class Fate(enum.Enum):
    """What becomes of a COMMIT; the client sees the same each time: a lost connection."""

    ANSWER_LOST = 'the server carries it out'
    NOT_SENT = 'the server never sees it'
    LATE = 'the server carries it out when the client has gone already'


class Relay:
    """Leads to a server; breaks connections when it is told to.

    :param address: of the server.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._server = socket.create_server(('127.0.0.1', 0))
        self._fates: list[Fate] = []
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self.broken: list[Fate] = []
        self.delay = 1.0
        self.refuses = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        number: int = self._server.getsockname()[1]
        return number

    def plan(self, *fates: Fate) -> None:
        """Break the next COMMITs so."""
        self._fates.extend(fates)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Have the server gone for the length of a block."""
        self.refuses = True
        with self._lock:
            for connection in self._clients:
                _cut(connection)
            self._clients.clear()
        yield
        self.refuses = False

    def close(self) -> None:
        """Accept nobody any more."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                if self.refuses:
                    client.close()
                    continue
                server = socket.create_connection(self._address)
                with self._lock:
                    self._clients.add(client)
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._return, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._fates and (data.endswith(_COMMITS) or any(text in data for text in _ALONE)):
                    self._break(self._fates.pop(0), data, client, server)
                    return
                server.sendall(data)
        _cut(server)

    def _break(self, fate: Fate, data: bytes, client: socket.socket, server: socket.socket) -> None:
        _cut(client)
        self.broken.append(fate)
        if fate is Fate.LATE:
            time.sleep(self.delay)
        if fate is not Fate.NOT_SENT:
            server.sendall(data)
            time.sleep(0.2)  # what the server has read it carries out
        _cut(server)

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _cut(client)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
