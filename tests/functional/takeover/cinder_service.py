# SPDX-License-Identifier: Apache-2.0
"""A real Cinder whose volumes are files, exported by its own tgt driver on a tgtd that it did not start."""

import pathlib

from tests.benchmarks.cinder import Cinder
from tests.benchmarks.service import PROJECT
from tests.benchmarks.wire import Endpoint, Wire
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.tgtd import Tgtd

__all__ = ['PROJECT', 'Endpoint', 'FileCinder', 'Wire']


class FileCinder(Cinder):
    """It runs within ``with``, and may be stopped and started in between.

    :param tgtd: the target daemon, which goes on when it stops.
    """

    files = pathlib.Path(__file__).parent / 'files'

    def __init__(self, folder: pathlib.Path, tgtd: Tgtd) -> None:
        super().__init__(folder, None, api_processes=1, api_threads=4)
        self._tgtd = tgtd
        self._settings = {'target_port': tgtd.portal.rpartition(':')[2]}

    def _launch(self, database_url: str, transport_url: str) -> None:
        self.database_url, self.transport_url = database_url, transport_url
        (self.folder / 'targets').mkdir()
        (self.folder / 'tgt.conf').write_text(f'include {self.folder}/targets/*\n')
        # Cinder calls these without the number of a tgtd: they are found in its folder first.
        port = self._tgtd.control_port
        for name, words in (('tgtadm', f'-C {port}'), ('tgt-admin', f'-C {port} -c {self.folder}/tgt.conf')):
            script = self.folder / name
            script.write_text(f'#!/bin/sh\nexec /usr/sbin/{name} {words} "$@"\n')
            script.chmod(0o755)
        super()._launch(database_url, transport_url)

    def make_database(self, name: str) -> str:
        """Make another database on its server."""
        url: str = self._servers[0].create_database(name)
        return url

    def halt(self) -> None:
        """Stop its API, its scheduler and its volume service; the servers stay."""
        for daemon in self._daemons.values():
            processes.stop_group(daemon)
        self._daemons.clear()

    def resume(self) -> None:
        self.start_programs()
        wait_until(self._is_up, self._patience, 'Cinder again', 0.2)
