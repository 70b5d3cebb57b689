# SPDX-License-Identifier: Apache-2.0
"""Commands, files and sockets of a compute host, through its agent (agent.py)."""

import contextlib
import json
import shlex
import signal
import socket
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.errors import TestbedError, WaitTimeoutError
from tests.testbed.network import Network
from tests.testbed.polling import wait_until

AGENT_PORT = 2222
SHARE = Path('/testbed')  # the shared folder, as the host sees it


@dataclass(frozen=True)
class Process:
    """A long-lived process in a compute host."""

    host: 'Remote'
    pid: int
    log: Path  # on this machine

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; to a process that is gone, none.

        :param number: SIGKILL unless told otherwise
        """
        self.host.run(f'kill -{int(number)} {self.pid} 2>/dev/null; true')

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self.host.run(f'kill -0 {self.pid}')[0] == 0

    def wait_gone(self, timeout: float = 60) -> None:
        """Wait for its end.

        :param timeout: seconds
        :raises WaitTimeoutError: when it still runs then
        """
        wait_until(lambda: not self.is_alive(), timeout, f'end of process {self.pid}', 0.2)

    def read_log(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(errors='replace')


class Remote:
    """A host with an agent; it serves as the place of guests (see place.Place)."""

    network: Network
    name: str
    address: str
    share: Path  # the shared folder, on this machine

    def __init__(self) -> None:
        """Begin without connections."""
        self._connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def _cut_connections(self) -> None:
        # A host without power says no farewell: whoever waits for it would wait for minutes.
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def is_on(self) -> bool:
        """Tell whether its power is on."""
        raise NotImplementedError

    def _ask(self, request: dict[str, Any], data: bytes, timeout: float) -> socket.socket:
        if not self.is_on():
            raise ConnectionError('switched off')
        connection = self.network.connect(self.address, AGENT_PORT, min(timeout, 30))
        self._connections.add(connection)
        try:
            connection.settimeout(timeout)
            connection.sendall(json.dumps(request).encode() + b'\n' + data)
        except OSError:
            connection.close()
            raise
        return connection

    def run(self, command: str, timeout: float = 120, data: bytes = b'') -> tuple[int, str]:
        """Run a shell command to its end, as root.

        :param command: for bash
        :param timeout: seconds; then the command and its children are killed
        :param data: its standard input
        :returns: exit code, and output with the last newline taken off
        :raises WaitTimeoutError: when it has not ended in time
        :raises TestbedError: when the host does not answer
        """
        output = bytearray()
        request = {'command': command, 'input': len(data), 'timeout': timeout}
        try:
            # Longer than the command's own limit, which the agent watches.
            with self._ask(request, data, timeout + 60) as connection:
                stream = connection.makefile('rb')
                while (kind := stream.read(1)) == b'o':
                    output += stream.read(int(stream.read(8)))
                code = int(stream.read(8)) if kind == b'r' else -1
        except (OSError, ValueError) as error:
            raise TestbedError(f'{self.name} does not answer: {error}') from error
        text = output.decode(errors='replace').rstrip('\n')
        if kind == b't':
            raise WaitTimeoutError(f'{self.name}: {command}: not within {timeout:g} s: {text}')
        if kind != b'r':
            raise TestbedError(f'{self.name} broke off: {command}')
        return code, text

    def check(self, command: str, timeout: float = 120, data: bytes = b'') -> str:
        """Run a shell command that has to succeed.

        :param command: for bash
        :param timeout: seconds
        :param data: its standard input
        :returns: its output
        :raises TestbedError: when it fails
        """
        code, output = self.run(command, timeout, data)
        if code:
            raise TestbedError(f'{self.name}: {command}: exit code {code}: {output[-2000:]}')
        return output

    def spawn(self, command: str, name: str) -> Process:
        """Start a long-lived process; its output is at once readable here.

        :param command: for bash, which is replaced by it: the process id is the command's own;
            variables go as "env NAME=value program"
        :param name: of its log in the share
        :returns: the process
        """
        log = f'{name}.log'
        words = f'exec {command}'
        pid = self.check(f'setsid bash -c {shlex.quote(words)} </dev/null >>{SHARE / log} 2>&1 & echo $!')
        return Process(self, int(pid), self.share / log)

    def put_file(self, path: Path | str, data: bytes, mode: int = 0o644) -> None:
        """Write a file in the host.

        :param path: absolute path there
        :param data: contents
        :param mode: permissions
        """
        name = shlex.quote(str(path))
        self.check(f'mkdir -p $(dirname {name}) && (umask 077; cat >{name}) && chmod {mode:o} {name}', data=data)

    def get_file(self, path: Path | str) -> str:
        """Read a file in the host.

        :param path: absolute path there
        :returns: its text
        :raises TestbedError: when it cannot be read
        """
        return self.check(f'cat {shlex.quote(str(path))}')

    def drop_caches(self) -> None:
        """Make changes to this machine's files visible in the host."""
        self.check('echo 2 >/proc/sys/vm/drop_caches')

    def dial(self, path: Path) -> socket.socket:
        """Connect to a Unix socket in the host.

        :param path: the socket there
        :returns: a connection to it
        :raises OSError: when nobody listens there
        """
        connection = self._ask({'relay': str(path)}, b'', 60)
        try:
            answer = b''
            while len(answer) < 9:
                received = connection.recv(9 - len(answer))
                if not received:
                    raise ConnectionError(f'{self.name} broke off')
                answer += received
            if answer != b'r%08d' % 0:
                raise ConnectionRefusedError(int(answer[1:]), f'{self.name}: {path}')
            connection.settimeout(None)
        except OSError:
            connection.close()
            raise
        return connection

    def make_disk(self, path: Path, size: int) -> None:
        """See Place."""
        self.check(f'mkdir -p {path.parent} && rm -f {path} && truncate -s {size} {path}')

    def read_text(self, path: Path) -> str:
        """See Place."""
        return self.run(f'cat {path} 2>/dev/null')[1]
