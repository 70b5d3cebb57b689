# SPDX-License-Identifier: Apache-2.0
"""Cinder 29 with a volume driver that does nothing: ``python -m tests.benchmarks.cinder FOLDER``.

Installs it from the package index into FOLDER, starts MariaDB, RabbitMQ, two API processes under uWSGI, a
scheduler and a volume service, and says how they are measured. They run until SIGINT or SIGTERM.
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from tests.benchmarks.service import PROJECT, Service
from tests.benchmarks.wire import Endpoint, Wire
from tests.testbed import processes
from tests.testbed.environments import ensure_venv

FILES = pathlib.Path(__file__).parent / 'files'
# Deleting an attachment is for services (bug 2004555); Nova proves with a service token that it is one.
HEADERS = {'X-Service-Roles': 'service'}
_HOST = 'bench@null#null'


class Cinder(Service):
    """Processes and servers, started for one benchmark.

    :param folder: for all that they keep.
    :param venvs: folder where its virtual environment is, or is made; the usual one when None.
    """

    #: of its configuration and its driver
    files = FILES
    template = 'cinder.conf'

    def __init__(
        self, folder: pathlib.Path, venvs: pathlib.Path | None, api_processes: int = 2, api_threads: int = 8
    ) -> None:
        super().__init__(folder)
        self._venvs = venvs
        self._shape = (api_processes, api_threads)
        # What its configuration says besides.
        self._settings: dict[str, object] = {}
        self.start_programs: Callable[[], None] = lambda: None

    def _launch(self, database_url: str, transport_url: str) -> None:
        programs = ensure_venv(self._venvs, 'cinder', FILES / 'requirements.txt')
        (self.folder / 'state').mkdir()
        conf = self.folder / 'cinder.conf'
        conf.touch(0o600)
        conf.write_text(
            (self.files / self.template)
            .read_text()
            .format(
                programs=programs,
                **self._settings,
                etc=programs.parent / 'etc/cinder',
                folder=self.folder,
                transport_url=transport_url,
                # As its installation guide has it: its volume service and scheduler run on eventlet.
                database_url=sa.make_url(database_url).set(drivername='mysql+pymysql').render_as_string(False),
            )
        )
        env = {
            'PATH': f'{self.folder}:{programs}:{os.environ["PATH"]}',
            'HOME': str(self.folder),
            'LC_ALL': 'C.UTF-8',
            'PYTHONPATH': f'{self.files}:{self.folder}/python',
            'PYTHONWARNINGS': 'ignore',
            'no_proxy': '*',
        }
        processes.run(self.wrap([programs / 'cinder-manage', '--config-file', conf, 'db', 'sync']), env=env)
        self.start_programs = functools.partial(self._start_programs, programs, conf, env)
        self.start_programs()

    def _start_programs(self, programs: pathlib.Path, conf: pathlib.Path, env: Mapping[str, str]) -> None:
        self._start_worker(programs, conf, env)
        self._spawn('scheduler', [programs / 'cinder-scheduler', '--config-file', conf], env)
        options = {
            'ini': FILES / 'cinder.ini',
            'http': f'{self.address}:{self.port}',
            'processes': self._shape[0],
            'threads': self._shape[1],
            'pyargv': f'--config-file {conf}',
        }
        self._spawn('api', [programs / 'uwsgi', *(str(w) for k, v in options.items() for w in (f'--{k}', v))], env)

    def _start_worker(self, programs: pathlib.Path, conf: pathlib.Path, env: Mapping[str, str]) -> None:
        self._spawn('worker', [programs / 'cinder-volume', '--config-file', conf], env)

    def _lists_worker(self, wire: Wire) -> bool:
        up = {one['binary'] for one in wire.call('GET', '/os-services')['services'] if one['state'] == 'up'}
        # Until the scheduler has heard what the backend can do, every volume ends in error.
        return up >= {'cinder-volume', 'cinder-scheduler'} and bool(
            wire.call('GET', '/scheduler-stats/get_pools')['pools']
        )

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f'http://{self.address}:{self.port}/v3/{PROJECT}', f'admin:{PROJECT}', 60, HEADERS)

    def seed(self, volumes: int, *, attached: bool, type_id: str) -> None:
        now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        tables = self._reflect()
        with self.engine.begin() as connection:
            service = connection.scalar(
                sa.select(tables['services'].c.uuid).where(tables['services'].c.binary == 'cinder-volume')
            )
            rows = []
            for _ in range(volumes):
                ident = str(uuid.uuid4())
                rows.append(
                    {
                        'id': ident,
                        'project_id': PROJECT,
                        'user_id': 'admin',
                        'display_name': f'v-{ident[:8]}',
                        'size': 1,
                        'volume_type_id': type_id,
                        'multiattach': True,
                        'bootable': False,
                        'deleted': False,
                        'use_quota': True,
                        'host': _HOST,
                        'availability_zone': 'nova',
                        'service_uuid': service,
                        'status': 'in-use' if attached else 'available',
                        'attach_status': 'attached' if attached else 'detached',
                        'created_at': now,
                        'scheduled_at': now,
                        'launched_at': now,
                        'updated_at': now,
                    }
                )
            connection.execute(sa.insert(tables['volumes']), rows)
            if attached:
                connection.execute(sa.insert(tables['volume_attachment']), [_attachment(row['id']) for row in rows])

    def seed_sharers(self, volume_id: str, count: int) -> bool:
        tables = self._reflect()
        with self.engine.begin() as connection:
            held = tables['volume_attachment'].c
            connection.execute(sa.delete(tables['volume_attachment']).where(held.volume_id == volume_id))
            if count:
                connection.execute(
                    sa.insert(tables['volume_attachment']), [_attachment(volume_id) for _ in range(count)]
                )
            connection.execute(
                sa.update(tables['volumes'])
                .where(tables['volumes'].c.id == volume_id)
                .values(status='in-use' if count else 'available', attach_status='attached' if count else 'detached')
            )
        return True

    def sweep(self) -> None:
        seeded = "SELECT id FROM volumes WHERE display_name LIKE 'v-%'"
        with self.engine.begin() as connection:
            connection.execute(sa.text(f'DELETE FROM volume_attachment WHERE volume_id IN ({seeded})'))
            connection.execute(sa.text("DELETE FROM volumes WHERE display_name LIKE 'v-%'"))

    def _reflect(self) -> dict[str, sa.Table]:
        names = ('services', 'volumes', 'volume_attachment')
        metadata = sa.MetaData()
        metadata.reflect(self.engine, only=names, resolve_fks=False)
        return {name: metadata.tables[name] for name in names}


def _attachment(volume_id: str) -> dict[str, object]:
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    connector = {'host': 'h1', 'initiator': 'iqn.1994-05.com.example:h1', 'ip': '127.0.0.1', 'mountpoint': '/dev/vdb'}
    info = {'driver_volume_type': 'iscsi', 'target_portal': '127.0.0.1:3260', 'target_lun': 1, 'volume_id': volume_id}
    return {
        'id': str(uuid.uuid4()),
        'volume_id': volume_id,
        'instance_uuid': str(uuid.uuid4()),
        'attach_status': 'attached',
        'attach_mode': 'rw',
        'attached_host': 'h1',
        'mountpoint': '/dev/vdb',
        'connector': json.dumps(connector),
        'connection_info': json.dumps(info),
        'attach_time': now,
        'created_at': now,
        'updated_at': now,
        'deleted': False,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.cinder',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=pathlib.Path, help='where its virtual environment is, or is made')
    parser.add_argument('--processes', type=int, default=2, help='of the API (default: 2)')
    parser.add_argument('--threads', type=int, default=8, help='of each (default: 8)')
    options = parser.parse_args()
    print('starting MariaDB, RabbitMQ and Cinder ...', flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix='ma-cinder-') as name:
        folder = pathlib.Path(name)
        with Cinder(folder, options.folder, options.processes, options.threads) as cinder:
            account = cinder.account
            headers = ' '.join(f"--header '{name}: {value}'" for name, value in HEADERS.items())
            print(
                f'python -m tests.benchmarks --url http://127.0.0.1:{cinder.port}/v3/{PROJECT} '
                f'--token admin:{PROJECT} {headers} \\\n'
                f'  --pids {" ".join(map(str, account.own))} --server-pids {" ".join(map(str, account.servers))} \\\n'
                '  --only memory cycles one-volume show',
                flush=True,
            )
            signal.pause()
    return 0


if __name__ == '__main__':
    sys.exit(main())
