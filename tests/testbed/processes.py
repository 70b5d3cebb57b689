# SPDX-License-Identifier: Apache-2.0
"""Running commands to their end, and daemons until they are stopped."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.testbed.errors import TestbedError, WaitTimeoutError
from tests.testbed.polling import wait_until


def run(
    argv: Sequence[str | Path], *, timeout: float = 600, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a command that has to succeed.

    :param argv: program and arguments
    :param timeout: seconds
    :param cwd: working folder
    :param env: the whole environment; the caller's own when None
    :returns: its standard output
    :raises TestbedError: when it fails, with the end of what it said
    """
    done = subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        cwd=cwd,
        env=env,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors='replace')[-2000:]
        raise TestbedError(f'{" ".join(map(str, argv))}: exit code {done.returncode}: {said}')
    return done.stdout.decode(errors='replace')


def spawn(
    argv: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own.

    :param argv: program and arguments
    :param log: file for its standard output and error
    :param env: the whole environment; the caller's own when None
    :param cwd: working folder
    :returns: the process
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('ab') as out:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=env,
            cwd=cwd,
        )


def stop(process: subprocess.Popen[bytes], *, patience: float = 30) -> None:
    """End a process that we started; one that has ended already is fine.

    :param process: the process
    :param patience: seconds between SIGTERM and SIGKILL; 0 kills at once
    """
    if process.poll() is None and patience > 0:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        process.kill()
    process.wait(60)


def stop_group(process: subprocess.Popen[bytes], *, patience: float = 30) -> None:
    """End a process that spawn started, and what it has started in its session.

    :param process: the process
    :param patience: seconds between SIGTERM and SIGKILL; 0 kills at once
    """
    if patience > 0:
        stop(process, patience=patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not.

    :param pid: process id
    :returns: True while it runs
    """
    try:
        stat = Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(')')[2].split()[0] not in 'ZX'


def stop_pid(pid: int, *, patience: float = 10) -> None:
    """End a process that is no child of ours: SIGTERM, then SIGKILL.

    :param pid: process id
    :param patience: seconds between the two
    """
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 60.0)):
        try:
            os.kill(pid, number)
            wait_until(lambda: not is_alive(pid), seconds, f'end of process {pid}')
        except ProcessLookupError:
            return
        except WaitTimeoutError:
            continue
        return
    raise TestbedError(f'process {pid} does not end')


def tail(log: Path, size: int = 2000) -> str:
    """Return the end of a log.

    :param log: the file; it may be missing
    :param size: bytes
    :returns: the text
    """
    try:
        return log.read_bytes()[-size:].decode(errors='replace')
    except FileNotFoundError:
        return ''
