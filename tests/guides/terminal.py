# SPDX-License-Identifier: Apache-2.0
"""A root shell at a terminal, into which a guide is typed line by line, each when the one before has ended."""

import os
import pathlib
import re
import secrets
import select
import subprocess
import time

from tests.testbed import processes
from tests.testbed.debian import Debian
from tests.testbed.errors import TestbedError, WaitTimeoutError

_COLOURS = re.compile(r'\x1b\[[0-9;?]*[a-zA-Z]')


class Terminal:
    """One login; what is exported in it stays.

    :param machine: that it is on
    :param folder: working folder there
    :param log: for all that is typed and shown
    """

    def __init__(self, machine: Debian, folder: str, log: pathlib.Path) -> None:
        self._mark = secrets.token_hex(8)
        self._prompt = re.compile(rf'{self._mark}(?:=(\d+)|\+)=')
        self.log = log
        argv = machine.wrap(['script', '-q', '-e', '-f', '-c', 'bash --noediting --norc -i', '/dev/null'])
        self._shell = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._send(f"PS1='{self._mark}=$?='; PS2='{self._mark}'+=; stty -echo; cd {folder}")
        # The prompt above is echoed with the line, before echo is off.
        time.sleep(1)
        self._send('true')
        self._read_all()

    def _send(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode() + b'\n')
        self._shell.stdin.flush()

    def _note(self, text: str) -> None:
        with self.log.open('a') as log:
            log.write(text)

    def _read_some(self, seconds: float) -> str:
        assert self._shell.stdout is not None
        ready, _, _ = select.select([self._shell.stdout], [], [], seconds)
        if not ready:
            return ''
        data = os.read(self._shell.stdout.fileno(), 65536)
        if not data:
            raise TestbedError(f'the shell has ended: {processes.tail(self.log)}')
        return data.decode(errors='replace')

    def _read_all(self) -> None:
        while self._read_some(2):
            pass

    def type(self, text: str, timeout: float = 1200) -> str:
        """Type lines; the first command that fails ends it.

        :param text: as it stands in a guide
        :param timeout: seconds for each line
        :returns: what was shown
        :raises TestbedError: when a command fails, or wants more than was typed
        """
        shown, status = '', '0'
        for line in text.splitlines():
            self._note(f'# {line}\n')
            said, status = self._type_line(line, timeout)
            shown += said
            if status not in ('0', None):
                raise TestbedError(f'{line}: exit code {status}: {shown[-3000:]}')
        if status is None:
            raise TestbedError(f'the shell waits for more: {text}')
        return shown

    def _type_line(self, line: str, timeout: float) -> tuple[str, str | None]:
        self._send(line)
        said, end = '', time.monotonic() + timeout
        while not (found := self._prompt.search(said)):
            if (left := end - time.monotonic()) < 0:
                raise WaitTimeoutError(f'{line}: no prompt within {timeout:g} s: {said[-3000:]}')
            said += self._read_some(min(left, 5)).replace('\r', '')
        said = _COLOURS.sub('', said[: found.start()])
        self._note(said)
        return said, found[1]

    def start(self, line: str) -> None:
        """Type a command that runs until it is interrupted.

        :param line: the command
        """
        self._note(f'# {line}\n')
        self._send(line)

    def interrupt(self, timeout: float = 120) -> str:
        """Type Ctrl-C, and wait for the prompt.

        :param timeout: seconds
        :returns: what was shown since the last prompt
        """
        return self._type_line('\x03', timeout)[0]

    def close(self) -> None:
        """Log out."""
        processes.stop(self._shell, patience=2)
