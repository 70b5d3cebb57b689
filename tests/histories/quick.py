# SPDX-License-Identifier: Apache-2.0
"""One process with everything: SQLite, messages inside it, a real tgtd, a host agent if that is asked for."""

import contextlib
import os
import pathlib
import random
import signal
import time
from collections.abc import Collection, Iterator

from tests.deployments.standalone import Standalone
from tests.functional.disturbances.disk import SETTINGS
from tests.histories.field import Field, Keeper
from tests.histories.vanished import Host, VanishedLibvirt
from tests.testbed import processes
from tests.testbed.polling import look_until

_SETTINGS = (
    '[DEFAULT]\nreport_interval = 0.5\nrpc_response_timeout = 10\n'
    '{target}[host_agent]\n{agent}'
    '[reconcile]\ninterval = 2\ngraces = domain_gone:1\n'
    '[quota]\nvolumes = -1\ngigabytes = -1\n'
)


class _Program(Standalone):
    """As a keeper wants it."""

    def poll(self) -> int | None:
        assert self.child is not None
        return self.child.poll()

    def restart(self) -> None:
        # Its tgtd dies with it, a moment later; the portal is the same.
        look_until(lambda: not self.tgtd_pids(), bool, 10, 0.02)
        assert self.child is not None
        assert self.child.stdout is not None
        self.child.stdout.close()
        self.start()


class Quick(Field):
    """multiattach-standalone.

    :param folder: for all that is written.
    """

    snapshot = True

    def __init__(self, folder: pathlib.Path) -> None:
        self._program = _Program(folder / 'state')
        self._keeper = Keeper([self._program])
        state = self._program.state
        super().__init__([self._program.port], folder, state / 'volumes', state / 'targets')
        self.trials['libvirt'] = lambda chance: VanishedLibvirt(self, chance)
        self.faults = {
            'service': self._kill,
            'tgtd': self._kill_tgtd,
            'slow-tgtd': self._freeze_tgtd,
            'pause': self._freeze,
            'clock': self.step_clock,
            'full-disk': self.fill_disk,
        }

    def prepare(self, names: Collection[str]) -> None:
        super().prepare(names)
        if 'libvirt' in names:
            self.host = Host()

    @contextlib.contextmanager
    def run(self) -> Iterator['Quick']:
        """Bring it up, and down again."""
        with (
            self.disk.mounted() if self.disk is not None else contextlib.nullcontext(),
            self.host.run() if self.host is not None else contextlib.nullcontext(),
        ):
            agent = f'{self.host.settings}project_id = {self.project}\n' if self.host is not None else 'enabled = no\n'
            (self._program.state / 'multiattach.conf').write_text(
                _SETTINGS.format(target=self.target_settings, agent=agent) + SETTINGS
            )
            yield from self._run()

    def _run(self) -> Iterator['Quick']:
        if self.clock is not None:
            self._program.environment = self.clock.environment
        self._program.start()
        try:
            with self._keeper.run():
                self.make_types()
                yield self
            if self._program.poll() is None:
                assert self._program.stop() == 0
        finally:
            self.close()
            if self._program.poll() is None:
                self._program.kill()

    @property
    def target_settings(self) -> str:
        """Its target in the configuration."""
        return f'[tgt]\nportal = 127.0.0.1:{self._program.portal}\n'

    @property
    def url(self) -> str:
        return f'sqlite:///{self._program.state}/multiattach.sqlite'

    def administer(self, *words: str) -> str:
        pids = self._program.tgtd_pids()
        try:
            command = pathlib.Path(f'/proc/{pids[0]}/cmdline').read_bytes().split(b'\0')  # IndexError: none
        except OSError as exc:
            raise LookupError('tgtd ended just now') from exc
        if b'-C' not in command:
            raise LookupError('tgtd is ending')
        port = command[command.index(b'-C') + 1].decode()
        return processes.run(['tgtadm', '-C', port, '--lld', 'iscsi', *words], timeout=20)

    def report(self) -> str:
        log = self._program.state / 'multiattach.log'
        return f'== {log}\n{processes.tail(log, 12000)}'

    def is_whole(self) -> bool:
        return self._keeper.is_whole()

    @property
    def deaths(self) -> int:
        """How often something was started again."""
        return self._keeper.deaths

    # -- faults --------------------------------------------------------------------------------

    def _kill(self, _chance: random.Random) -> None:
        if self._program.child is not None:
            self._program.child.kill()

    def _freeze(self, chance: random.Random) -> None:
        if self._program.child is not None:
            self._program.child.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.1, 1.0))
            self._program.child.send_signal(signal.SIGCONT)

    def _kill_tgtd(self, _chance: random.Random) -> None:
        for pid in self._program.tgtd_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _freeze_tgtd(self, chance: random.Random) -> None:
        pids = self._program.tgtd_pids()
        for number, seconds in ((signal.SIGSTOP, chance.uniform(0.1, 1.5)), (signal.SIGCONT, 0.0)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(seconds)
