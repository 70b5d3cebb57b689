# SPDX-License-Identifier: Apache-2.0
"""A private tgtd."""

import random
import re
import subprocess
from pathlib import Path

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.lifetime import Lifetime
from tests.testbed.network import Network
from tests.testbed.polling import wait_until


class Tgtd(Lifetime):
    """The daemon, told apart from others by its control port."""

    def __init__(
        self,
        folder: Path,
        *,
        control_port: int | None = None,
        address: str = '127.0.0.1',
        port: int = 3260,
        network: Network | None = None,
        threads: int = 4,
    ) -> None:
        """Choose where it listens.

        :param folder: for its log; made
        :param control_port: tgtadm's -C; None for one that nobody uses
        :param address: of its portal; the network's own where there is one
        :param port: of its portal
        :param network: the network to run in; None for the machine's own
        :param threads: I/O threads per LUN
        """
        self.folder = folder.resolve()
        self.control_port = _pick_control_port() if control_port is None else control_port
        self.portal = f'{network.address if network else address}:{port}'
        self._network = network
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 60) -> None:
        """Start it and wait for its portal; one that runs is left alone.

        :param timeout: seconds
        :raises TestbedError: when it ends at once, or its portal is not bound
        """
        if self._process is not None and self._process.poll() is None:
            return
        Path('/run/tgtd').mkdir(exist_ok=True)
        argv = ['tgtd', '-f', '-C', str(self.control_port), '-t', str(self._threads)]
        argv += ['--iscsi', f'portal={self.portal}']
        if self._network is not None:
            argv = self._network.wrap(argv)
        self._process = processes.spawn(argv, self.folder / 'tgtd.log')
        try:
            # One whose portal cannot be bound stays up and says nothing.
            wait_until(self._has_portal, timeout, f'portal {self.portal} of tgtd')
        except BaseException:
            self.stop()
            raise

    def _has_portal(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise TestbedError(f'tgtd ended at once: {processes.tail(self.folder / "tgtd.log")}')
        try:
            shown = self.administer('--mode', 'portal', '--op', 'show')
        except TestbedError:
            return False
        return f'Portal: {self.portal},' in shown

    def administer(self, *words: str) -> str:
        """Run tgtadm. No password may be passed: other users can read arguments.

        :param words: arguments after --lld iscsi
        :returns: its output
        :raises TestbedError: when it fails
        """
        port = str(self.control_port)
        return processes.run(['tgtadm', '-C', port, '--lld', 'iscsi', *words], timeout=60)

    def list_logins(self, tid: int) -> list[str]:
        """Ask who is logged in.

        :param tid: number of the target
        :returns: names of initiators, sorted; each session counts
        """
        shown = self.administer('--op', 'show', '--mode', 'conn', '--tid', str(tid))
        return sorted(re.findall(r'^ *Initiator: (\S+)$', shown, re.MULTILINE))

    def export(self, tid: int, target: str, image: Path, initiators: list[str]) -> None:
        """Export a file as LUN 1 of a new target, without CHAP.

        :param tid: target id
        :param target: IQN
        :param image: the file
        :param initiators: IQNs that may log in
        """
        number = str(tid)
        new = ('--op', 'new', '--mode')
        self.administer(*new, 'target', '--tid', number, '-T', target)
        unit = ('--tid', number, '--lun', '1', '--bstype', 'rdwr', '-b', str(image))
        self.administer(*new, 'logicalunit', *unit)
        for initiator in initiators:
            words = ('--mode', 'target', '--tid', number, '--initiator-name', initiator)
            self.administer('--op', 'bind', *words)

    def kill(self) -> None:
        """End it at once, as a crash would; start brings up an empty one."""
        if self._process is not None:
            processes.stop(self._process, patience=0)  # it ignores SIGTERM
            self._process = None
        for name in (f'socket.{self.control_port}', f'socket.{self.control_port}.lock'):
            (Path('/run/tgtd') / name).unlink(missing_ok=True)

    def stop(self) -> None:
        """End it; repeatable."""
        self.kill()


def _pick_control_port() -> int:
    while True:
        number = random.randrange(1000, 32000)
        if not (Path('/run/tgtd') / f'socket.{number}').exists():
            return number
