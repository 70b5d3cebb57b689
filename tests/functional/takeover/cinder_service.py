# SPDX-License-Identifier: Apache-2.0
"""Real Cinders: with files that its own tgt driver exports, with images in Ceph, with logical volumes of a host."""

import contextlib
import pathlib
import shlex
import signal

from tests.benchmarks.cinder import Cinder
from tests.benchmarks.service import PROJECT
from tests.benchmarks.wire import Endpoint, Wire
from tests.testbed import processes
from tests.testbed.errors import WaitTimeoutError
from tests.testbed.polling import wait_until
from tests.testbed.remote import Process
from tests.testbed.storage import VOLUME_GROUP, StorageHost
from tests.testbed.tgtd import Tgtd

__all__ = ['PROJECT', 'CephCinder', 'Endpoint', 'FileCinder', 'LvmCinder', 'Wire']


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

    def name_storage(self, volume_id: str, name_id: str) -> None:
        """Name the storage of a volume that nobody uses after another id, as a migration of a volume in use leaves it.

        Nova, which such a migration needs, is not there.
        """
        self._rename(f'volume-{volume_id}', f'volume-{name_id}')
        with self.network.inside() if self.network else contextlib.nullcontext(), self.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE volumes SET _name_id = '{name_id}' WHERE id = '{volume_id}'")

    def _rename(self, name: str, new: str) -> None:
        raise NotImplementedError

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

    def _rename(self, name: str, new: str) -> None:
        volumes = self.folder / 'state' / 'volumes'
        (volumes / name).rename(volumes / new)


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


class LvmCinder(RealCinder):
    """With logical volumes of a storage host, where its volume service runs; the rest of it runs in the network here.

    :param host: with a volume group, and a tgtd at its standard port unless the helper is ``lioadm``.
    :param helper: what makes its targets, as its configuration names it.
    """

    template = 'cinder-lvm.conf'
    _patience = 420.0  # an emulated processor
    #: its folder on the host
    there = pathlib.Path('/srv/cinder')

    def __init__(self, folder: pathlib.Path, host: StorageHost, helper: str) -> None:
        super().__init__(folder)
        self.network = host.network
        self.host = host
        self.helper = helper
        self._settings = {'host_address': host.address, 'volume_group': VOLUME_GROUP, 'helper': helper}
        self._worker: Process | None = None
        self._starts = 0

    def _start_worker(self, programs, conf, env) -> None:
        there = self.there
        self.host.check(f'mkdir -p {there}/state {there}/targets')
        # tgt-admin reads what to export from where it always does.
        self.host.put_file('/etc/tgt/conf.d/cinder.conf', f'include {there}/targets/*\n'.encode())
        text = conf.read_text().replace(str(self.folder), str(there))
        self.host.put_file(there / 'cinder.conf', text.encode(), 0o600)
        told = {**env, 'PATH': f'{programs}:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/root'}
        words = ' '.join(shlex.quote(f'{key}={value}') for key, value in told.items())
        self._starts += 1
        self._worker = self.host.spawn(
            f'env {words} {programs}/cinder-volume --config-file {there}/cinder.conf', f'cinder-volume-{self._starts}'
        )

    def _is_up(self) -> bool:
        assert self._worker is not None
        if not self._worker.is_alive():
            raise SystemExit(f'cinder-volume does not run: {self._worker.read_log()[-3000:]}')
        with self.network.inside():
            return super()._is_up()

    def halt(self) -> None:
        super().halt()
        if self._worker is not None:
            self._worker.kill(signal.SIGTERM)
            with contextlib.suppress(WaitTimeoutError):
                self._worker.wait_gone(60)
            self.host.run(f'kill -9 -- -{self._worker.pid} 2>/dev/null')  # what it has started, too
            self._worker = None

    def _rename(self, name: str, new: str) -> None:
        self.host.check(f'lvrename {VOLUME_GROUP} {name} {new}')
