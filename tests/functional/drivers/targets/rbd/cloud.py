# SPDX-License-Identifier: Apache-2.0
"""A control plane whose volumes are images that hosts open themselves, and such hosts."""

import contextlib
import itertools
import os
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.conf import plugins
from multiattach.drivers.backends.rbd import RbdBackend
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.pool import MONITORS
from multiattach.drivers.errors import StorageUnavailable
from multiattach.drivers.targets.rbd.service import RbdTarget
from tests.deployments import embedded
from tests.deployments.noauth import HEADERS
from tests.testbed import constraints
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until

SECRET_UUID = '457eb676-33da-42ec-9a8c-9293d545c337'
WRITER = pathlib.Path(__file__).with_name('writer.py')
_NUMBERS = itertools.count()


def make_connector(host: str, **more: Any) -> dict[str, Any]:
    """A host's connector as this service's own agents send it, without an iSCSI initiator."""
    return {'host': host, 'ip': '127.0.0.1', 'cephx': 'attachment', **more}


class Writer:
    """A host's client that writes without end.

    :param conf: Ceph's configuration file.
    """

    def __init__(
        self, conf: pathlib.Path, folder: pathlib.Path, info: dict[str, Any], offset: int, keyring: str = ''
    ) -> None:
        self._log = folder / f'writer{next(_NUMBERS)}'
        key = folder / f'{self._log.name}.keyring'
        key.write_text(info.get('keyring', keyring))
        pool, _, image = info['name'].partition('/')
        with self._log.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, WRITER, conf, info['auth_username'], key, pool, image, str(offset)], stdout=log
            )
        self.go_on()

    def read(self) -> list[tuple[int, float]]:
        lines = self._log.read_text().rpartition('\n')[0].splitlines()  # the last one may not be whole
        return [(int(one.split()[0]), float(one.split()[1])) for one in lines if not one.startswith('error')]

    @property
    def error(self) -> str:
        lines = self._log.read_text().splitlines()
        return lines[-1] if lines and lines[-1].startswith('error') else ''

    def go_on(self) -> None:
        """Wait until it has written more, which it does without an error."""
        before = len(self.read())
        wait_until(lambda: len(self.read()) > before + 5 or self.error, 60, 'the writer', 0.01)
        assert not self.error, self.error

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(30)


class Cloud:
    """A control plane in this process whose backend is a pool of the real Ceph."""

    def __init__(self, ceph: Ceph, folder: pathlib.Path, deployed: embedded.Deployment, pool: str) -> None:
        self.ceph, self.folder, self.deployed, self.pool = ceph, folder, deployed, pool
        self.app = webtest.TestApp(deploy.make_application(deployed.engine, ApiSettings()))
        self.rados, self.rbd = library.load()
        self.writers: list[Writer] = []

    def attach(self, volume_id: str, connector: dict[str, Any], mode: str | None = None, status: int = 200) -> Any:
        body = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': connector}
        if mode:
            body['mode'] = mode
        reply = self.app.post_json('/v3/attachments', {'attachment': body}, headers=HEADERS, status=status)
        return reply.json['attachment'] if status == 200 else reply.json

    def detach(self, ident: str) -> None:
        self.app.delete(f'/v3/attachments/{ident}', headers=HEADERS)

    def ask(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        options = {'headers': HEADERS, 'status': status}
        return getattr(self.app, method)(path, *(() if body is None else (body,)), **options).json

    def write(
        self, info: dict[str, Any], offset: int = 0, keyring: str = '', conf: pathlib.Path | None = None
    ) -> Writer:
        self.writers.append(Writer(conf or self.ceph.conf, self.folder, info, offset, keyring))
        return self.writers[-1]

    @contextlib.contextmanager
    def connect(self, info: dict[str, Any], keyring: str = '', conf: pathlib.Path | None = None) -> Iterator[Any]:
        """Be a host's client; gives an I/O context."""
        key = self.folder / f'key{next(_NUMBERS)}'
        key.write_text(info.get('keyring', keyring))
        connection = self.rados.Rados(rados_id=info['auth_username'], conffile=str(conf or self.ceph.conf))
        connection.conf_set('keyring', str(key))
        connection.conf_set('client_mount_timeout', '20')
        connection.connect()
        try:
            with connection.open_ioctx(info['name'].partition('/')[0]) as io:
                yield io
        finally:
            connection.shutdown()

    def list_users(self) -> dict[str, dict[str, str]]:
        """List the users of attachments in this pool: their capabilities by name."""
        return {
            one['entity'].removeprefix('client.'): one['caps']
            for one in self.ceph.ask('auth ls')['auth_dump']
            if one['entity'].startswith('client.multiattach-') and f'pool={self.pool} ' in one['caps']['osd']
        }


def make_options(ceph: Ceph, name: str, **more: Any) -> Any:
    ceph.make_pool(name)
    conf = ceph.make_user(name, f'profile rbd pool={name}')
    ceph.ask('auth caps', entity=f'client.{name}', caps=['mon', MONITORS, 'osd', f'profile rbd pool={name}'])
    values = {opt.dest: opt.default for opt in RbdTarget.OPTS}
    values |= {'driver': 'rbd', 'rbd_pool': name, 'rbd_user': name, 'rbd_ceph_conf': str(conf)}
    return type('Options', (), values | {'rados_connect_timeout': 30, 'rbd_secret_uuid': SECRET_UUID} | more)()


def write_environment(folder: pathlib.Path) -> dict[str, str]:
    """Have programs see the drivers of this tree: what is installed may be of one without them."""
    constraints.write_metadata(folder / 'metadata')
    return {'PYTHONPATH': os.pathsep.join([str(folder / 'metadata'), os.environ.get('PYTHONPATH', '')])}


def has_figures(backend: RbdBackend) -> bool:
    try:
        backend.capacity()
    except StorageUnavailable:  # of a new pool the manager has none for some seconds
        return False
    return True


@contextlib.contextmanager
def deploy_on(
    ceph: Ceph, tmp_path: pathlib.Path, *, rados_connect_timeout: int = 30, **options: Any
) -> Iterator[Cloud]:
    """Bring a control plane up with a pool and a user of its own, and down again."""
    name = f'n{next(_NUMBERS)}'
    given = make_options(ceph, name, rados_connect_timeout=rados_connect_timeout)
    around = plugins.Surroundings('fast', 'host', tmp_path / 'state')
    with contextlib.ExitStack() as stack:
        stack.callback(ceph.remove_pool, name)
        backend, target = RbdBackend.from_options(given, around), RbdTarget.from_options(given, around)
        target.check()
        wait_until(lambda: has_figures(backend), 30, 'figures of the pool')
        folder = tmp_path / name
        folder.mkdir()
        deployed = stack.enter_context(embedded.deploy(folder, target, backend=backend, **options))
        deployed.make_type()
        cloud = Cloud(ceph, folder, deployed, name)
        stack.callback(lambda: [one.stop() for one in cloud.writers])
        yield cloud
