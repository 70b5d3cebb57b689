# SPDX-License-Identifier: Apache-2.0
"""Programs of the service, on compute hosts and in the network namespace of the test bed."""

import itertools
import os
import pathlib
import signal
import subprocess
import sys

from tests.testbed import processes
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE, Process
from tests.testbed.vm import ComputeHost

BIN = pathlib.Path(sys.executable).parent
# The code of this checkout, whatever else is installed.
ENVIRONMENT = {'PYTHONPATH': str(pathlib.Path(__file__).parents[2]), 'PYTHONWARNINGS': 'ignore'}


class HostProgram:
    """A program on a compute host."""

    def __init__(self, host: ComputeHost, program: str, config: str, ready: str) -> None:
        self.host = host
        self._program = program
        self._config = config
        self._ready = ready
        self._starts = 0
        self.process: Process | None = None

    def start(self) -> None:
        """Start it; it has a log of its own each time."""
        self._starts += 1
        name = f'{self._program}-{self._starts}'
        command = f'{BIN / self._program} --config-file {SHARE / self._config}'
        variables = ' '.join(f'{key}={value}' for key, value in ENVIRONMENT.items())
        self.process = self.host.spawn(f'env {variables} {command}', name)

    def wait_ready(self) -> None:
        assert self.process is not None
        process, rounds = self.process, itertools.count(1)

        def check() -> bool:
            log = process.read_log()
            if self._ready in log:
                return True
            # Now and then: the question keeps an emulated processor from its work.
            if next(rounds) % 50 == 0 and not process.is_alive():
                raise AssertionError(f'{self._program} ended: {log[-3000:]}')
            return False

        wait_until(check, 300, f'{self._program} on {self.host.name}', 0.1)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait_gone()

    def request_stop(self) -> None:
        """Ask it to end in order."""
        assert self.process is not None
        self.process.kill(signal.SIGTERM)

    def await_stop(self) -> None:
        """Wait for its end."""
        assert self.process is not None
        self.process.wait_gone()


class Program:
    """A program in the network namespace, one of several."""

    def __init__(self, network: Network, common: pathlib.Path, program: str, name: str, ready: str, text: str) -> None:
        self._network = network
        self._common = common
        self._program = program
        self._name = name
        self._ready = ready
        self._text = text
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> pathlib.Path:
        return self._common.parent / f'{self._program}-{self._name}-{self._starts}.log'

    def start(self) -> None:
        self._starts += 1
        own = self._common.parent / f'{self._name}.conf'
        own.write_text(self._text)
        argv = [str(BIN / self._program), '--config-file', str(self._common), '--config-file', str(own)]
        self._process = processes.spawn(self._network.wrap(argv), self.log, env=os.environ | ENVIRONMENT)

    def wait_ready(self) -> None:
        wait_until(self._is_ready, 120, f'{self._program} {self._name}')

    def _is_ready(self) -> bool:
        assert self._process is not None
        text = processes.tail(self.log, 100_000)
        if self._process.poll() is not None:
            raise AssertionError(f'{self._program} ended: {text[-3000:]}')
        return self._ready in text

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def stop(self) -> int:
        """End it in order.

        :returns: its exit code.
        """
        if self._process is None:
            return 0
        processes.stop(self._process)
        return self._process.returncode
