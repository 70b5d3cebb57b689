# SPDX-License-Identifier: Apache-2.0
"""A cluster of two gateways over one pool of Ceph: RabbitMQ, Redis, an API, two volume workers, each with its tgtd."""

import contextlib
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.addresses import strip_kind
from multiattach.drivers.ceph.instances import SEEN
from multiattach.drivers.ceph.pool import MONITORS
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from tests.deployments.programs import BIN, Program, make_environment
from tests.testbed import processes
from tests.testbed.ceph import Ceph
from tests.testbed.coordination import Redis
from tests.testbed.polling import wait_until
from tests.testbed.servers import RabbitMQ, pick_port

CLUSTER, BACKEND, POOL = 'storage', 'storage@fast', 'gateways'
NAMES = ('left', 'right')
TIMEOUT = 3  # s, gateway_timeout


class Gateway(Program):
    """A volume worker with a tgtd of its own, both as a cephx user of their own.

    :param portal: where hosts find it.
    :param control_port: of its tgtd.
    """

    def __init__(self, config: pathlib.Path, control_port: int) -> None:
        super().__init__('multiattach-volume', config, ' is ready')
        self.name = config.stem
        self.portal = f'127.0.0.1:{pick_port()}'
        self.control_port = control_port

    @property
    def tgtd(self) -> int:
        """Process id of its tgtd."""
        return TgtDaemon(self.control_port).pid

    def list_targets(self) -> dict[str, list[str]]:
        """Return who may log in to what its tgtd exports, by volume id."""
        shown = TgtDaemon(self.control_port).show_targets()
        return {one.iqn.partition(':volume-')[2]: sorted(one.initiators) for one in shown}


class Deployment:
    """Everything, and its facts.

    :param folder: for all that is written.
    """

    def __init__(self, folder: pathlib.Path, ceph: Ceph) -> None:
        self.folder = folder
        self.ceph = ceph
        self.broker, self.redis = RabbitMQ(folder / 'rabbitmq'), Redis(folder / 'redis')
        self.ports = (pick_port(),)
        self.api = Program('multiattach-api', folder / 'api.conf', 'multiattach-api is ready')
        first = pick_port() % 30000 + 1000
        self.gateways = [Gateway(folder / f'{name}.conf', first + number) for number, name in enumerate(NAMES)]

    @property
    def left(self) -> Gateway:
        return self.gateways[0]

    @property
    def right(self) -> Gateway:
        return self.gateways[1]

    @contextlib.contextmanager
    def run(self) -> Iterator['Deployment']:
        """Bring it up, and down again whatever happens."""
        self.ceph.make_pool(POOL)
        with contextlib.ExitStack() as stack:
            stack.callback(self.ceph.remove_pool, POOL)
            for server in (self.broker, self.redis):
                stack.enter_context(server)
            self._configure()
            processes.run(
                [BIN / 'multiattach-manage', '--config-file', self.api.config, 'db', 'sync'], env=make_environment()
            )
            for program in (self.api, *self.gateways):
                program.start()
                stack.callback(program.stop)
            for program in (self.api, *self.gateways):
                program.wait_ready()
            yield self
            assert [program.stop() for program in (self.api, *self.gateways)] == [0] * 3

    def _configure(self) -> None:
        common = (
            '[DEFAULT]\nhost = {name}\nreport_interval = 1\nservice_down_time = 6\n'
            f'state_path = {self.folder}/{{name}}\ntransport_url = {self.broker.url}\n'
            'rpc_response_timeout = 30\nrpc_monitor_timeout = 2\n[leases]\nduration = 4\n'
            f'[database]\nconnection = sqlite:///{self.folder}/rows.sqlite\n'
            f'[coordination]\nbackend_url = {self.redis.url}?timeout=5\n'
            '[quota]\nvolumes = -1\ngigabytes = -1\n[reconcile]\ninterval = 2\n'
        )
        self._write(
            self.api, common.format(name='api') + f'[api]\nauth_strategy = noauth\nlisten_port = {self.ports[0]}\n'
        )
        for gateway in self.gateways:
            user = f'gateway-{gateway.name}'
            conf = self.ceph.make_user(user, f'profile rbd pool={POOL}')
            self.ceph.ask(
                'auth caps', entity=f'client.{user}', caps=['mon', MONITORS, 'osd', f'profile rbd pool={POOL}']
            )
            self._write(
                gateway,
                common.format(name=gateway.name)
                + f'[volume]\ncluster = {CLUSTER}\nenabled_backends = fast\ngateway_timeout = {TIMEOUT}\n'
                f'[fast]\ndriver = rbd\nrbd_pool = {POOL}\nrbd_user = {user}\nrbd_ceph_conf = {conf}\n'
                f'[tgt]\nprivate = yes\nportal = {gateway.portal}\ncontrol_port = {gateway.control_port}\n',
            )

    def _write(self, program: Program, text: str) -> None:
        program.config.touch(0o600)
        program.config.write_text(text)

    # -- facts ---------------------------------------------------------------------------------

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        with contextlib.closing(sqlite3.connect(self.folder / 'rows.sqlite', timeout=10)) as connection:
            return list(connection.execute(sql, values))

    def execute(self, sql: str, *values: Any) -> None:
        """Change the database itself."""
        with contextlib.closing(sqlite3.connect(self.folder / 'rows.sqlite', timeout=10)) as connection, connection:
            connection.execute(sql, values)

    def states(self) -> dict[str, str]:
        """Return the state of each gateway by the name of its worker."""
        return {name.partition('@')[0]: state for name, state in self.query('SELECT name, state FROM gateways')}

    def wait_state(self, gateway: Gateway, state: str, seconds: float = 60) -> None:
        wait_until(lambda: self.states()[gateway.name] == state, seconds, f'{gateway.name} {state}', 0.1)

    def exports(self, volume_id: str) -> dict[str, str]:
        """Return the state of a volume's export by gateway."""
        found = self.query('SELECT gateway, state FROM gateway_exports WHERE volume_id = ?', volume_id)
        return {name.partition('@')[0]: state for name, state in found}

    def wait_exported(self, volume_id: str, seconds: float = 60) -> None:
        """Wait until both gateways export a volume."""
        wait_until(
            lambda: self.exports(volume_id) == dict.fromkeys(NAMES, 'exported'),
            seconds,
            lambda: f'{volume_id} at both gateways: {self.exports(volume_id)} {self.states()}',
            0.1,
        )

    def read(self, volume_id: str, start: int, length: int) -> bytes:
        """Read a volume as Ceph's administrator."""
        with self.ceph.open_image(POOL, f'volume-{volume_id}') as image:
            return bytes(image.read(start, length))

    def list_watchers(self, volume_id: str) -> set[str]:
        """List the instances that have a volume open."""
        with self.ceph.open_image(POOL, f'volume-{volume_id}') as image:
            return {strip_kind(one['addr']) for one in image.watchers_list()}

    def list_blocked(self) -> set[str]:
        return {strip_kind(one) for one in self.ceph.ask('osd dump')['blocklist']}

    def list_noted(self) -> set[str]:
        """List the instances that gateways have written down."""
        rados, _ = library.load()
        with self.ceph.open_pool(POOL) as io, rados.ReadOpCtx() as operation:
            found, _ = io.get_omap_vals(operation, '', '', 1000)
            try:
                io.operate_read_op(operation, SEEN)
            except rados.ObjectNotFound:
                return set()
            return {key.partition(' ')[2] for key, _ in found}

    def report(self) -> None:
        """Print the logs' ends: pytest shows them if a test failed."""
        for program in (*self.gateways, self.api):
            print(f'== {program.log.name}\n{processes.tail(program.log, 8000)}')
