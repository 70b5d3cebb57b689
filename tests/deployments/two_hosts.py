# SPDX-License-Identifier: Apache-2.0
"""The service as operators run it: each program a process of its own, on two compute hosts.

MariaDB, RabbitMQ, Redis, two APIs, two volume workers that serve one backend together, and their tgtd run
in the network namespace of the test bed; a host agent runs in each compute host, beside its libvirtd and
the kernel's initiator.
"""

import concurrent.futures
import contextlib
import itertools
import json
import pathlib
import socket
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pymysql

from multiattach.cmd.clouds import CLOUD, render_clouds_yaml
from multiattach.drivers.targets.tgt.parse import Listing, ShownTarget
from tests.deployments.programs import BIN, HostProgram, Program, make_environment
from tests.testbed import processes
from tests.testbed.cluster import Cluster
from tests.testbed.guest import BLOCK_SIZE, Guest
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE
from tests.testbed.tgtd import Tgtd
from tests.testbed.vm import ComputeHost

API_PORTS = (8776, 8777)
CLUSTER = 'control'
DISK_MB = 10240  # for the volume group, sparse: volumes of 2 GiB, their snapshots and clones
VOLUME_GROUP = 'spare'
VOLUME, COMPUTE = 'volume 3.71', 'compute 2.60'
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """The API answered with an error.

    :param status: HTTP status.
    :param text: body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f'{status}: {text}')
        self.status = status


def list_sessions(host: ComputeHost) -> list[str]:
    """List the targets that the host's kernel is logged in to."""
    return _list_records(host, 'session', 3)


def list_nodes(host: ComputeHost) -> list[str]:
    """List the targets that open-iscsi keeps a record of."""
    return _list_records(host, 'node', 1)


def _list_records(host: ComputeHost, mode: str, column: int) -> list[str]:
    code, text = host.run(f'iscsiadm -m {mode} 2>&1')
    if code == 21:  # ISCSI_ERR_NO_OBJS_FOUND
        return []
    assert code == 0, text
    return [line.split()[column] for line in text.splitlines()]


def list_disks(host: ComputeHost) -> list[str]:
    """List the SCSI disks of a host."""
    return host.check('cd /sys/block && ls -d sd* 2>/dev/null || true').split()


class Deployment:
    """Everything; and short cuts to the API."""

    def __init__(self, folder: pathlib.Path, *, memory: int = 1536) -> None:
        """:param memory: MiB of a compute host."""
        self.folder = folder
        self.cluster = Cluster(folder / 'c', hosts=2, memory=memory, disks=(DISK_MB,), redis=True)
        self.network = self.cluster.network
        self.tgtd = Tgtd(folder / 'tgtd', network=self.network)
        self.config = folder / 'multiattach.conf'
        self.apis = [
            self._make_program('multiattach-api', f'api{port}', f'[api]\nlisten_port = {port}\n') for port in API_PORTS
        ]
        self.workers = [
            self._make_program('multiattach-volume', name, f'[DEFAULT]\nhost = {name}\n') for name in ('left', 'right')
        ]
        self.agents = [HostProgram(host, 'multiattach-host', 'agent.conf', ' is ready') for host in self.cluster.hosts]
        self.lvm_host = self.cluster.hosts[1]
        self.lvm_worker = HostProgram(self.lvm_host, 'multiattach-volume', 'lvm.conf', ' is ready')
        self.url = f'http://{self.network.address}:{API_PORTS[0]}'
        self._urls = itertools.cycle(f'http://{self.network.address}:{port}' for port in API_PORTS)
        self.one: Guest
        self.two: Guest
        self.far: Guest
        self.database_url = ''

    def _make_program(self, program: str, name: str, settings: str) -> Program:
        config = self.folder / f'{name}.conf'
        config.write_text(settings)
        return Program(program, config, ' is ready', common=self.config, wrap=self.network.wrap)

    # -- life ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def run(self) -> Iterator['Deployment']:
        """Bring it up, and down again whatever happens."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.cluster)
            stack.callback(self.report)  # before the hosts' logs go with the hosts
            stack.enter_context(self.tgtd)
            self._configure()
            argv = [str(BIN / 'multiattach-manage'), '--config-file', str(self.config), 'db', 'sync']
            processes.run(self.network.wrap(argv), env=make_environment())
            services = (*self.apis, *self.workers)
            for service in services:
                service.start()
                stack.callback(service.stop)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                hosts = [pool.submit(self._start_host, agent) for agent in self.agents]
                for service in services:
                    service.wait_ready()
                (self.one, self.two), (self.far,) = (job.result() for job in hosts)
            wait_until(lambda: len(self.list_servers()) == len(self.guests), 60, 'the servers')
            yield self
            programs = (*self.agents, self.lvm_worker)
            for program in programs:
                program.request_stop()
            for program in programs:
                program.await_stop()
            assert [service.stop() for service in services] == [0] * len(services)

    def _configure(self) -> None:
        self.database_url = self.cluster.mariadb.create_database('multiattach')
        common = (
            '[DEFAULT]\n'
            f'transport_url = {self.cluster.rabbitmq.url}\n'
            'rpc_response_timeout = 10\n{more}\n'
            '[leases]\nduration = 5\n'
            f'[database]\nconnection = {self.database_url}\n'
            f'[coordination]\nbackend_url = {self.cluster.redis.url}?timeout=5\n'
        )
        self.config.touch(0o600)
        self.config.write_text(
            common.format(more=f'report_interval = 1\nrpc_monitor_timeout = 2\nstate_path = {self.folder}/state')
            + f'[api]\nauth_strategy = noauth\nlisten_host = {self.network.address}\n'
            f'[volume]\ncluster = {CLUSTER}\n'
            f'[tgt]\nportal = {self.tgtd.portal}\ncontrol_port = {self.tgtd.control_port}\n'
        )
        for agent in self.agents:
            text = common.format(more='report_interval = 3') + f'[host_agent]\nmy_ip = {agent.host.address}\n'
            agent.host.put_file(SHARE / 'agent.conf', text.encode(), 0o600)
        text = (
            common.format(more='report_interval = 10')
            + f'[volume]\nenabled_backends = lvm\n[lvm]\ndriver = lvm\nvolume_group = {VOLUME_GROUP}\n'
            f'[tgt]\nprivate = yes\nportal = {self.lvm_host.address}:3260\n'
        )
        self.lvm_host.put_file(SHARE / 'lvm.conf', text.encode(), 0o600)
        (self.folder / 'clouds.yaml').write_text(render_clouds_yaml(self.url))

    def _start_host(self, agent: HostProgram) -> list[Guest]:
        """Start an agent and the guests of its host."""
        agent.start()
        names = ('one', 'two') if agent is self.agents[0] else ('far',)
        connection = agent.host.connect_libvirt()
        guests = [agent.host.define_guest(connection, name) for name in names]
        for guest in guests:
            guest.start()
        for guest in guests:
            guest.wait_ready()
        agent.wait_ready()
        if agent.host is self.lvm_host:
            # Not awaited: the tests that need it come late, and its start takes long.
            agent.host.check(f'vgcreate --yes {VOLUME_GROUP} /dev/vda')
            self.lvm_worker.start()
        return guests

    def cut_power(self, host: ComputeHost) -> None:
        """Take the power from a host; nothing on it is told."""
        host.save_capabilities()  # its next libvirtd is up sooner
        host.power_off()

    def boot(self, host: ComputeHost) -> Any:
        """Give a host its power back: it comes up as if just installed, without programs of the service.

        :returns: a connection to its libvirtd, which has no domain.
        """
        host.start()
        host.wait_ready()
        host.start_libvirtd()
        if host is self.lvm_host:
            self.lvm_worker.start()
        return host.connect_libvirt()

    def wait_listed(self, guest: Guest) -> None:
        """Wait until a guest's agent has told of it."""
        server = guest.domain.UUIDString()
        wait_until(lambda: server in [one['id'] for one in self.list_servers()], 60, f'server {guest.name}', 0.2)

    @property
    def hosts(self) -> list[ComputeHost]:
        return self.cluster.hosts

    @property
    def guests(self) -> list[Guest]:
        return [self.one, self.two, self.far]

    # -- requests ------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, *, version: str = VOLUME) -> Any:
        """Send a request, to the two APIs in turn.

        :param method: HTTP method.
        :param path: below the service's root.
        :param body: for JSON.
        :param version: microversion header.
        :returns: the parsed reply.
        :raises Refused: it is an error.
        """
        request = urllib.request.Request(
            next(self._urls) + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'X-Auth-Token': 'admin', 'Content-Type': 'application/json', 'OpenStack-API-Version': version},
        )
        try:
            with self.network.inside(), _LOCAL.open(request, timeout=60) as reply:
                text = reply.read()
        except urllib.error.HTTPError as exc:
            raise Refused(exc.code, exc.read().decode()) from exc
        return json.loads(text) if text else None

    def openstack(self, *words: str) -> Any:
        """Run the standard client.

        :param words: after ``openstack --os-cloud multiattach``.
        :returns: its output, parsed if it was asked for as JSON.
        """
        env = make_environment(OS_CLIENT_CONFIG_FILE=str(self.folder / 'clouds.yaml'))
        text = processes.run(self.network.wrap([str(BIN / 'openstack'), '--os-cloud', CLOUD, *words]), env=env)
        return json.loads(text) if 'json' in words else text

    def doctor(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run ``multiattach-manage doctor``, which asks all workers and agents over the broker.

        :param words: more arguments.
        :returns: its exit status, and what it tells.
        """
        patient = self.folder / 'doctor.conf'  # the default: emulated hosts take their time
        patient.write_text('[DEFAULT]\nrpc_response_timeout = 60\n')
        argv = self.network.wrap(
            [
                str(BIN / 'multiattach-manage'),
                '--config-file',
                str(self.config),
                '--config-file',
                str(patient),
                'doctor',
                '-f',
                'json',
                *words,
            ]
        )
        done = subprocess.run(argv, env=make_environment(), capture_output=True, timeout=300, check=False)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            said = (done.stdout + done.stderr).decode()[-2000:]
            raise AssertionError(f'exit code {done.returncode}: {said}') from None

    def list_servers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask('GET', '/compute/v2.1/servers', version=COMPUTE)['servers']
        return found

    def make_type(self, name: str, specs: dict[str, str]) -> None:
        self.ask('POST', '/v3/types', {'volume_type': {'name': name, 'extra_specs': specs}})

    def make_volume(self, type_name: str) -> str:
        """Make a volume of 1 GiB and wait until it is there."""
        body = {'volume': {'size': 1, 'volume_type': type_name}}
        ident: str = self.ask('POST', '/v3/volumes', body)['volume']['id']
        self.wait_status(ident, 'available')
        return ident

    def show_volume(self, volume_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask('GET', f'/v3/volumes/{volume_id}')['volume']
        return found

    def wait_status(self, volume_id: str, wanted: str, seconds: float = 180) -> None:
        def check() -> bool:
            status = self.show_volume(volume_id)['status']
            assert not status.startswith('error'), status
            return bool(status == wanted)

        wait_until(check, seconds, f'volume {volume_id} {wanted}', 0.1)

    def delete_volume(self, volume_id: str) -> None:
        self.ask('DELETE', f'/v3/volumes/{volume_id}')
        self.wait_deleted(volume_id)

    def wait_deleted(self, volume_id: str) -> None:
        def is_gone() -> bool:
            try:
                self.show_volume(volume_id)
            except Refused as exc:
                assert exc.status == 404  # noqa: PT017 - the one that is awaited
                return True
            return False

        wait_until(is_gone, 180, f'end of volume {volume_id}', 0.1)

    def request_attach(self, guest: Guest, volume_id: str, version: str = COMPUTE) -> dict[str, Any]:
        """Ask for an attach, as Nova is asked."""
        path = f'/compute/v2.1/servers/{guest.domain.UUIDString()}/os-volume_attachments'
        body = {'volumeAttachment': {'volumeId': volume_id}}
        found: dict[str, Any] = self.ask('POST', path, body, version=version)['volumeAttachment']
        return found

    def state_of(self, guest: Guest, volume_id: str) -> str | None:
        """Return the internal state of an attachment, None if no row is alive."""
        rows = self.query(
            'SELECT state FROM attachments WHERE deleted_at IS NULL AND instance_uuid = %s AND volume_id = %s',
            guest.domain.UUIDString(),
            volume_id,
        )
        assert len(rows) <= 1
        return rows[0][0] if rows else None

    def wait_attached(self, guest: Guest, volume_id: str, seconds: float = 180) -> str:
        """Wait until a guest has a volume.

        :returns: the device in the guest.
        """

        def check() -> bool:
            state = self.state_of(guest, volume_id)
            assert state is not None, 'the attachment is gone'
            assert not state.startswith('error'), state
            return state == 'attached'

        wait_until(check, seconds, f'volume {volume_id} in {guest.name}', 0.1)
        return self.find_device(guest, volume_id)

    def find_device(self, guest: Guest, volume_id: str) -> str:
        """Wait until a guest sees a volume that it has."""
        return guest.wait_for_disk(volume_id)

    def attach(self, guest: Guest, volume_id: str) -> str:
        """Attach a volume.

        :returns: the device in the guest.
        """
        self.request_attach(guest, volume_id)
        return self.wait_attached(guest, volume_id)

    def detach(self, guest: Guest, volume_id: str) -> None:
        """Detach a volume and wait until its row is gone."""
        server = guest.domain.UUIDString()
        self.ask('DELETE', f'/compute/v2.1/servers/{server}/os-volume_attachments/{volume_id}', version=COMPUTE)
        wait_until(lambda: self._is_left(guest, volume_id), 180, f'{guest.name} lets go', 0.1)
        guest.wait_gone(volume_id)

    def _is_left(self, guest: Guest, volume_id: str) -> bool:
        state = self.state_of(guest, volume_id)
        assert state in (None, 'detaching', 'unexporting'), state
        return state is None

    # -- facts ---------------------------------------------------------------------------------

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        with (
            contextlib.closing(
                pymysql.connect(
                    unix_socket=str(self.cluster.mariadb.socket_path),
                    user='root',
                    database='multiattach',
                    autocommit=True,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def read_volume(self, volume_id: str, block: int, count: int) -> bytes:
        """Read blocks of a volume where it is stored, as no initiator can."""
        with (self.folder / 'state' / 'volumes' / f'volume-{volume_id}').open('rb') as file:
            file.seek(block * BLOCK_SIZE)
            return file.read(count * BLOCK_SIZE)

    def find_attachment(self, guest: Guest, volume_id: str) -> str:
        """Return the id of a guest's attachment."""
        ((ident,),) = self.query(
            'SELECT id FROM attachments WHERE deleted_at IS NULL AND instance_uuid = %s AND volume_id = %s',
            guest.domain.UUIDString(),
            volume_id,
        )
        return str(ident)

    @property
    def tgtd_pid(self) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f'/run/tgtd/socket.{self.tgtd.control_port}')
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize('3i'))
        pid: int = struct.unpack('3i', peer)[0]
        return pid

    def list_exports(self) -> dict[str, ShownTarget]:
        """Ask tgtadm.

        :returns: targets with initiators and accounts, by volume id.
        """
        text = self.tgtd.administer('--op', 'show', '--mode', 'target')
        return {target.iqn.partition(':volume-')[2]: target for target in Listing(text)}

    def check_nothing_left(self) -> None:
        """See that no row, session, device, target, file or logical volume is left."""
        assert self.query('SELECT id, status FROM volumes WHERE deleted_at IS NULL') == []
        assert self.query('SELECT id, state FROM attachments WHERE deleted_at IS NULL') == []
        for host in self.hosts:
            for what in (list_sessions, list_nodes, list_disks):
                assert what(host) == [], f'{what.__name__} of {host.name}'
        assert self.tgtd.administer('--op', 'show', '--mode', 'target') == ''
        assert self.tgtd.administer('--op', 'show', '--mode', 'account').split() == []
        assert self.lvm_host.check(f'lvs --noheadings {VOLUME_GROUP}') == ''
        for folder in ('volumes', 'targets'):
            assert list((self.folder / 'state' / folder).glob('*')) == []

    def report(self) -> None:
        """Print the logs' ends: pytest shows them if a test failed."""
        for log in sorted([*self.folder.glob('*.log'), *self.folder.glob('c/*/share/*.log')]):
            print(f'== {log.name} ({log.parent.parent.name})\n{processes.tail(log, 8000)}')
