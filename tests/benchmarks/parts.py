# SPDX-License-Identifier: Apache-2.0
"""This service as in production: the API under uWSGI and a volume worker."""

import pathlib
import re
import uuid

import sqlalchemy as sa

from multiattach.db import models
from tests.benchmarks.service import PROJECT, Service
from tests.benchmarks.wire import Endpoint, Wire
from tests.deployments.programs import BIN, TOP, make_environment
from tests.testbed import processes
from tests.testbed.servers import pick_port


class Parts(Service):
    """Processes and servers, started for one benchmark.

    :param folder: for all that they keep.
    :param target: target driver of the worker, ``null`` or ``tgt``.
    :param api_processes: processes of the API.
    :param api_threads: threads of each.
    """

    def __init__(self, folder: pathlib.Path, target: str, api_processes: int = 2, api_threads: int = 32) -> None:
        super().__init__(folder)
        self._target = target
        self._shape = (api_processes, api_threads)

    def _launch(self, database_url: str, transport_url: str) -> None:
        (self.folder / 'state').mkdir()
        self.conf = self.folder / 'multiattach.conf'
        self.conf.touch(0o600)
        self.conf.write_text(
            f'[DEFAULT]\nhost = bench\nstate_path = {self.folder}/state\n'
            f'transport_url = {transport_url}\nlog_file = {self.folder}/multiattach.log\n'
            f'[database]\nconnection = {database_url}\n[api]\nauth_strategy = noauth\n'
            '[quota]\nvolumes = -1\ngigabytes = -1\n'
            f'[file]\ndirectory = {self.folder}/state/volumes\ntarget_driver = {self._target}\n'
            f'[tgt]\nprivate = true\nportal = 127.0.0.1:{pick_port()}\n'
            f'[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\namqp_durable_queues = true\n{self._more_options()}'
        )
        env = make_environment(MULTIATTACH_CONFIG_FILES=str(self.conf))
        processes.run([BIN / 'multiattach-manage', '--config-file', self.conf, 'db', 'sync'], env=env)
        self._prepare()
        self._spawn('worker', [BIN / 'multiattach-volume', '--config-file', self.conf], env)
        options = {'ini': self._write_ini(), 'processes': self._shape[0], 'threads': self._shape[1]}
        self._spawn('api', [BIN / 'uwsgi', *(str(w) for k, v in options.items() for w in (f'--{k}', v))], env)

    def _write_ini(self) -> pathlib.Path:
        """Write uWSGI's configuration with a port of its own: another one would be served besides."""
        text = (TOP / 'etc/multiattach/uwsgi.ini').read_text()
        assert text.count('\nhttp = ') == 1
        made = self.folder / 'uwsgi.ini'
        made.write_text(re.sub('\nhttp = .*', f'\nhttp = 127.0.0.1:{self.port}', text))
        return made

    def _more_options(self) -> str:
        return ''

    def _prepare(self) -> None:
        """Write what worker and API are to find when they start."""

    def _lists_worker(self, wire: Wire) -> bool:
        return any(one['state'] == 'up' for one in wire.call('GET', '/os-services')['services'])

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f'http://127.0.0.1:{self.port}/v3', f'admin:{PROJECT}', 60)

    def seed(self, volumes: int, *, attached: bool, type_id: str) -> None:
        now = models.now()
        service = uuid.uuid4()
        rows, held = [], []
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
                    'host': 'bench@file',
                    'availability_zone': 'nova',
                    'service_uuid': str(service),
                    'status': 'in-use' if attached else 'available',
                    'status_at': now,
                    'created_at': now,
                }
            )
            held.append(
                {
                    'id': str(uuid.uuid4()),
                    'volume_id': ident,
                    'instance_uuid': str(uuid.uuid4()),
                    'state': 'attached',
                    'state_at': now,
                    'attach_mode': 'rw',
                    'attached_host': 'h1',
                    'initiator': 'iqn.1994-05.com.example:h1',
                    'mountpoint': '/dev/vdb',
                    'connector': {'host': 'h1'},
                    'connection_info': {'driver_volume_type': 'iscsi'},
                    'attached_at': now,
                    'created_at': now,
                    'timeline': '',
                }
            )
        with self.engine.begin() as connection:
            for start in range(0, volumes, 1000):
                connection.execute(sa.insert(models.Volume), rows[start : start + 1000])
                if attached:
                    connection.execute(sa.insert(models.Attachment), held[start : start + 1000])

    def sweep(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "DELETE FROM attachments WHERE volume_id IN (SELECT id FROM volumes WHERE display_name LIKE 'v-%')"
                )
            )
            connection.execute(sa.text("DELETE FROM volumes WHERE display_name LIKE 'v-%'"))
