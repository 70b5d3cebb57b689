# SPDX-License-Identifier: Apache-2.0
"""Commands in a small guest, through its virtio port (the other end is files/guest-init)."""

import re
import socket
import threading
import time
import uuid
from collections.abc import Callable

from tests.testbed.errors import TestbedError, WaitTimeoutError


class Console:
    """One guest's port; safe to share between threads, which then take turns."""

    def __init__(self, name: str, dial: Callable[[], socket.socket]) -> None:
        """Note how to connect; the first command does.

        :param name: the guest's name, for messages
        :param dial: connects to the Unix socket on which QEMU listens, or raises OSError
        """
        self._name = name
        self._dial = dial
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, command: str, data: bytes = b'', timeout: float = 120) -> tuple[int, bytes]:
        """Run a shell command to its end.

        :param command: for busybox sh
        :param data: its standard input
        :param timeout: seconds, including the guest's boot where that still goes on
        :returns: exit code, and standard output and error as one
        :raises WaitTimeoutError: when the answer does not come in time
        :raises TestbedError: when the guest is gone
        """
        end = time.monotonic() + timeout
        code = command.encode()
        token = uuid.uuid4().hex
        with self._lock:
            port = self._open(end)
            try:
                port.settimeout(max(0.1, end - time.monotonic()))
                port.sendall(f'{token} {len(code)} {len(data)}\n'.encode() + code + data)
                return self._receive(port, token, end)
            except TimeoutError as error:
                self._drop()
                raise WaitTimeoutError(f'guest {self._name}: no answer in {timeout:g} s') from error
            except OSError as error:
                self._drop()
                raise TestbedError(f'guest {self._name}: {error}') from error

    def close(self) -> None:
        """Let go of the port."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self, end: float) -> socket.socket:
        while self._socket is None:
            try:
                self._socket = self._dial()
            except OSError as error:
                if time.monotonic() > end:
                    raise WaitTimeoutError(f'guest {self._name}: {error}') from error
                time.sleep(0.05)
        return self._socket

    def _receive(self, port: socket.socket, token: str, end: float) -> tuple[int, bytes]:
        # Whatever precedes our token answers an earlier command that timed out.
        header = re.compile(rb'\n@%s@ (\d+) (\d+)\n' % token.encode())
        buffer = bytearray()
        while True:
            found = header.search(buffer)
            if found and len(buffer) >= found.end() + int(found[2]):
                return int(found[1]), bytes(buffer[found.end() : found.end() + int(found[2])])
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            port.settimeout(left)
            received = port.recv(65536)
            if not received:
                raise OSError('the console was closed')
            buffer += received
