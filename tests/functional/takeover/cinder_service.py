# SPDX-License-Identifier: Apache-2.0
"""Real Cinders: one whose volumes are files that its own tgt driver exports, and one with images in Ceph."""

import pathlib

from tests.benchmarks.cinder import Cinder
from tests.benchmarks.service import PROJECT
from tests.benchmarks.wire import Endpoint, Wire
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.tgtd import Tgtd

__all__ = ['PROJECT', 'CephCinder', 'Endpoint', 'FileCinder', 'Wire']


class RealCinder(Cinder):
    """It runs within ``with``, and may be stopped and started in between."""

    files = pathlib.Path(__file__).parent / 'files'

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, None, api_processes=1, api_threads=4)

    def _launch(self, database_url: str, transport_url: str) -> None:
        self.database_url, self.transport_url = database_url, transport_url
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


class FileCinder(RealCinder):
    """With files and a tgtd, which goes on when it stops."""

    def __init__(self, folder: pathlib.Path, tgtd: Tgtd) -> None:
        super().__init__(folder)
        self._tgtd = tgtd
        self._settings = {'target_port': tgtd.portal.rpartition(':')[2]}

    def _launch(self, database_url: str, transport_url: str) -> None:
        (self.folder / 'targets').mkdir()
        (self.folder / 'tgt.conf').write_text(f'include {self.folder}/targets/*\n')
        # Cinder calls these without the number of a tgtd: they are found in its folder first.
        port = self._tgtd.control_port
        for name, words in (('tgtadm', f'-C {port}'), ('tgt-admin', f'-C {port} -c {self.folder}/tgt.conf')):
            script = self.folder / name
            script.write_text(f'#!/bin/sh\nexec /usr/sbin/{name} {words} "$@"\n')
            script.chmod(0o755)
        super()._launch(database_url, transport_url)


class CephCinder(RealCinder):
    """With images in a pool of Ceph.

    :param pool: which is also the name of its user.
    :param conf: Ceph's configuration file for that user.
    """

    template = 'cinder-rbd.conf'

    def __init__(self, folder: pathlib.Path, pool: str, conf: str, secret_uuid: str) -> None:
        super().__init__(folder)
        self._settings = {'pool': pool, 'ceph_conf': conf, 'secret_uuid': secret_uuid}
        modules = folder / 'python'
        modules.mkdir()
        for name in ('rados', 'rbd'):  # and nothing else of the distribution
            for found in pathlib.Path('/usr/lib/python3/dist-packages').glob(f'{name}.*.so'):
                (modules / found.name).symlink_to(found)
