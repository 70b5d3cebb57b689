# SPDX-License-Identifier: Apache-2.0
"""systemd as process 1 of namespaces of its own, over this machine's root file system.

Users, packages and programs of this machine are there, what is written goes when it ends, and no unit runs
but systemd's own. The network is a loopback. The kernel is this machine's.
"""

import shlex
import subprocess
import tempfile
from pathlib import Path

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.initramfs import FILES
from tests.testbed.lifetime import Lifetime
from tests.testbed.polling import wait_until

_UNSHARE = 'exec unshare --pid --fork --kill-child --mount --cgroup --net --uts --ipc'


class Systemd(Lifetime):
    """One systemd.

    :param folder: for its log
    :param lower: the root file system below what it writes
    :param kept: its folder /var/cache/testbed, where it has a root of its own
    """

    target = 'testbed.target'

    def __init__(self, folder: Path, lower: Path = Path('/'), kept: Path | None = None) -> None:
        self.folder = folder
        self._log = folder / 'systemd.log'
        self._lower, self._kept = lower, kept
        self._root = Path(tempfile.mkdtemp(prefix='testbed-systemd-'))
        self._group: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes jobs."""
        tops = [
            path
            for path in (Path('/sys/fs/cgroup/unified'), Path('/sys/fs/cgroup'))
            if (path / 'cgroup.controllers').exists()
        ]
        if not tops:
            raise TestbedError('no cgroup2 is mounted, which systemd needs')
        # Its own group: the one it is started in becomes the root of what it sees.
        self._group = tops[0] / self._root.name
        self._group.mkdir()
        words = shlex.join(map(str, [FILES / 'systemd-main', self._root, self._lower, self._kept or '']))
        script = f'echo $$ >{self._group}/cgroup.procs && {_UNSHARE} bash {words}'
        try:
            self._process = processes.spawn(['bash', '-c', script], self._log)
            wait_until(self._is_ready, 120, 'start of systemd', 0.2)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise TestbedError(f'systemd has ended: {processes.tail(self._log)}')
        return self._find() is not None and self.run(f'systemctl is-active {self.target}')[0] == 0

    def is_up(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None and self._find() is not None

    @property
    def pid(self) -> int:
        """Number of systemd's process here."""
        pid = self._find()
        if pid is None:
            raise TestbedError(f'systemd does not run: {processes.tail(self._log)}')
        return pid

    def _find(self) -> int | None:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
        if children and Path(f'/proc/{children[0]}/comm').read_text().strip() == 'systemd':
            return int(children[0])
        return None

    def stop(self) -> None:
        """End it and all that it runs; repeatable."""
        if self._process is not None:
            processes.stop(self._process, patience=0)
            self._process = None
        if self._group is not None:
            for group in sorted(self._group.rglob('*/'), reverse=True):
                self._remove(group)
            self._remove(self._group)
            self._group = None
        if self._root.exists():
            self._root.rmdir()

    def _remove(self, group: Path) -> None:
        def gone() -> bool:
            try:
                group.rmdir()
            except OSError:
                return not group.exists()
            return True

        wait_until(gone, 30, f'end of {group}', 0.1)

    def wrap(self, argv: list[str]) -> list[str]:
        """Make a command run beside systemd.

        :param argv: program and arguments
        :returns: the same, run there
        """
        spaces = ['--pid', '--mount', '--cgroup', '--net', '--uts', '--ipc']
        return ['nsenter', '-t', str(self._find()), *spaces, *argv]

    def run(self, command: str, timeout: float = 120, data: bytes = b'') -> tuple[int, str]:
        """Run a command beside systemd, as root.

        :param command: for bash
        :param timeout: seconds
        :param data: its standard input
        :returns: exit code and what it printed
        """
        argv = self.wrap(['/bin/bash', '-c', command])
        done = subprocess.run(
            argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
        )
        return done.returncode, done.stdout.decode(errors='replace')

    def check(self, command: str, timeout: float = 120, data: bytes = b'') -> str:
        """Run a command that must succeed.

        :param command: for bash
        :param timeout: seconds
        :param data: its standard input
        :returns: what it printed
        :raises TestbedError: when it fails
        """
        code, said = self.run(command, timeout, data)
        if code:
            raise TestbedError(f'{command}: exit code {code}: {said}')
        return said

    def put_file(self, path: str, data: bytes) -> None:
        """Write a file there.

        :param path: absolute
        :param data: contents
        """
        name = shlex.quote(path)
        self.check(f'mkdir -p $(dirname {name}) && cat >{name}', data=data)
