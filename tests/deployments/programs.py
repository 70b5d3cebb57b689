# SPDX-License-Identifier: Apache-2.0
"""Programs of this checkout as processes: on this machine, in a network namespace, or on a compute host."""

import itertools
import os
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE, Process
from tests.testbed.vm import ComputeHost

TOP = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(sys.executable).parent
# The code of this checkout, whatever else is installed.
ENVIRONMENT = {'PYTHONPATH': str(TOP), 'PYTHONWARNINGS': 'ignore', 'no_proxy': '*'}


def make_environment(**more: str) -> dict[str, str]:
    """This process's own; what a test has put into ``PYTHONPATH`` precedes this checkout."""
    before = os.environ.get('PYTHONPATH', '')
    path = os.pathsep.join([before, str(TOP)] if before else [str(TOP)])
    return {**os.environ, **ENVIRONMENT, 'PYTHONPATH': path, **more}


class Program:
    """A program that may be killed and started again; its log grows on.

    :param name: of the executable.
    :param config: its own configuration file; its log lies beside it.
    :param ready: what it says when it is.
    :param common: a configuration file that is read before its own.
    :param wrap: makes a command of another network namespace of its command.
    """

    def __init__(
        self,
        name: str,
        config: pathlib.Path,
        ready: str,
        *,
        common: pathlib.Path | None = None,
        wrap: Callable[[list[str]], list[str]] = list,
    ) -> None:
        self.config = config
        self.log = config.with_suffix('.log')
        files = [config] if common is None else [common, config]
        self._argv = [str(BIN / name), *(word for file in files for word in ('--config-file', str(file)))]
        self._wrap = wrap
        self._ready = ready
        self._seen = 0
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        self.process = processes.spawn(self._wrap(self._argv), self.log, env=make_environment(**self.variables()))

    def variables(self) -> dict[str, str]:
        """Return what its environment has besides what all have."""
        return self.environment

    def wait_ready(self) -> None:
        wait_until(self._is_ready, 120, lambda: f'{self.config.stem}: {processes.tail(self.log)}')

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, processes.tail(self.log)
        return self._ready in self.log.read_bytes()[self._seen :].decode(errors='replace')

    @property
    def is_dead(self) -> bool:
        """It was started, and has ended since."""
        return self.process is not None and self.process.poll() is not None

    def poll(self) -> int | None:
        """Return its exit code, None as long as it runs."""
        assert self.process is not None
        return self.process.poll()

    def send(self, number: int) -> None:
        """Send a signal; one that was never started gets none."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def restart(self) -> None:
        """Start it after a crash and wait until it is ready."""
        self.start()
        self.wait_ready()

    def stop(self) -> int:
        """End it in order.

        :returns: its exit code.
        """
        if self.process is None:
            return 0
        processes.stop(self.process)
        return self.process.returncode


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
        variables = ' '.join(shlex.quote(f'{key}={value}') for key, value in ENVIRONMENT.items())
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
