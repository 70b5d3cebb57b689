# SPDX-License-Identifier: Apache-2.0
"""A lean HTTP/1.1 client for load: one kept connection, JSON in and out, little CPU of its own."""

import json
import socket
import urllib.parse
from collections.abc import Mapping
from typing import Any


class RequestError(Exception):
    """The server answered with another status than the expected one."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f'{status}: {text[:300]}')
        self.status = status


class Endpoint:
    """Where the service is and who calls.

    :param url: endpoint as the catalogue has it, with the project if the service wants one.
    :param token: token for X-Auth-Token.
    :param microversion: second number of the microversion.
    :param headers: more of them, for each request.
    """

    def __init__(self, url: str, token: str, microversion: int, headers: Mapping[str, str] | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != 'http':
            raise SystemExit('--url must be an http:// URL: TLS would be measured, too.')
        self.address = (parts.hostname or '127.0.0.1', parts.port or 80)
        self.prefix = parts.path.rstrip('/')
        self.head = (
            f'Host: {parts.netloc}\r\nX-Auth-Token: {token}\r\nAccept: application/json\r\n'
            f'OpenStack-API-Version: volume 3.{microversion}\r\n'
        ) + ''.join(f'{name}: {value}\r\n' for name, value in (headers or {}).items())


class Wire:
    """One connection; not for several threads.

    :param endpoint: where to.
    :param timeout: seconds to wait for an answer.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = 120) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._rest = b''

    def call(self, method: str, path: str, body: Any = None, *, expect: tuple[int, ...] = (200, 202, 204)) -> Any:
        """Send a request.

        :param method: HTTP method.
        :param path: path below the endpoint.
        :param body: JSON value, None for no body.
        :param expect: statuses that are right.
        :returns: JSON value of the reply, None if it is empty.
        :raises RequestError: another status came.
        """
        data = b'' if body is None else json.dumps(body).encode()
        kind = 'Content-Type: application/json\r\n' if data else ''
        head = (
            f'{method} {self._endpoint.prefix}{path} HTTP/1.1\r\n{self._endpoint.head}{kind}'
            f'Content-Length: {len(data)}\r\n\r\n'
        )
        try:
            self._open().sendall(head.encode() + data)
            status, answer = self._read()
        except OSError:
            self.close()
            raise
        if status not in expect:
            raise RequestError(status, answer.decode(errors='replace'))
        return json.loads(answer) if answer else None

    def _open(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._endpoint.address, self._timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._rest = b''
        return self._socket

    def _receive(self) -> bytes:
        chunk = self._open().recv(262144)
        if not chunk:
            raise ConnectionResetError('the server closed the connection')
        return chunk

    def _read(self) -> tuple[int, bytes]:
        data = self._rest
        while (end := data.find(b'\r\n\r\n')) < 0:
            data += self._receive()
        head, data = data[:end].lower(), data[end + 4 :]
        status = int(head[9:12])
        fields = dict(line.split(b': ', 1) for line in head.split(b'\r\n')[1:] if b': ' in line)
        if fields.get(b'transfer-encoding') == b'chunked':
            body, data = self._read_chunks(data)
        else:
            length = 0 if status == 204 else int(fields.get(b'content-length', b'0'))
            while len(data) < length:
                data += self._receive()
            body, data = data[:length], data[length:]
        self._rest = data
        if fields.get(b'connection') == b'close':
            self.close()
        return status, body

    def _read_chunks(self, data: bytes) -> tuple[bytes, bytes]:
        body = b''
        while True:
            while (end := data.find(b'\r\n')) < 0:
                data += self._receive()
            size = int(data[:end].split(b';')[0], 16)
            while len(data) < end + 4 + size:
                data += self._receive()
            body += data[end + 2 : end + 2 + size]
            data = data[end + 4 + size :]
            if not size:
                return body, data

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
