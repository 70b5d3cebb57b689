# SPDX-License-Identifier: Apache-2.0
"""The service with volumes at the kernel's target: a storage machine, one that can have its disk, two compute hosts.

API, database, broker and Redis run in the network namespace of the test bed. The worker runs in the storage machine,
and is one of a cluster: any other one may take its volumes over. Servers of the first host are initiators by QEMU,
those of the second by its kernel, os-brick and ``qemu-pr-helper``.
"""

import concurrent.futures
import contextlib
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any, Self

from tests.deployments import two_hosts
from tests.deployments.programs import BIN, HostProgram, make_environment
from tests.testbed import processes, storage
from tests.testbed.guest import Guest
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE
from tests.testbed.storage import StorageHost
from tests.testbed.vm import ComputeHost

VOLUMES = storage.DATA / 'volumes'
CONNECTORS = ('qemu', 'os-brick')
TYPE = {'multiattach': '<is> True', 'multiattach:reservations': '<is> True'}
_PORTAL = 40  # the address that goes from one storage machine to the other with the disk
SLOW = 300  # s, for what emulated processors do


class Worker(HostProgram):
    """A volume worker of the cluster.

    :param name: its ``[DEFAULT] host``.
    """

    def __init__(self, host: StorageHost, name: str) -> None:
        super().__init__(host, 'multiattach-volume', f'{name}.conf', ' is ready')
        self.name = name


class Deployment(two_hosts.Deployment):
    """Everything.

    :ivar storage: the machine that has the volumes.
    :ivar worker: the worker that serves them.
    """

    def __init__(self, folder: pathlib.Path, *, memory: int = 1536) -> None:
        super().__init__(folder, memory=memory)
        self.apis, self.workers = self.apis[:1], []
        self._urls = itertools.cycle([self.url])
        self.machines = [self._make_machine(name, index) for index, name in enumerate(('storage', 'spare'), 3)]
        self.storage = self.machines[0]
        self.worker = Worker(self.storage, 'left')
        self._settings = ''

    def _make_machine(self, name: str, index: int) -> StorageHost:
        network: Network = self.network
        return StorageHost(network, self.folder / name, index, name=name)

    # -- life ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def run(self) -> Iterator[Self]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.cluster)
            for machine in self.machines:
                stack.callback(machine.stop)
            stack.callback(self.report)  # before the machines' logs go with them
            self._configure()
            argv = [str(BIN / 'multiattach-manage'), '--config-file', str(self.config), 'db', 'sync']
            processes.run(self.network.wrap(argv), env=make_environment())
            (api,) = self.apis
            api.start()
            stack.callback(api.stop)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                hosts = [pool.submit(self._start_host, agent) for agent in self.agents]
                self.boot_storage()
                api.wait_ready()
                (self.one, self.two), (self.far,) = (job.result() for job in hosts)
            wait_until(lambda: len(self.list_servers()) == len(self.guests), SLOW, 'the servers')
            yield self
            programs = (*self.agents, self.worker)
            for program in programs:
                program.request_stop()
            for program in programs:
                program.await_stop()
            assert api.stop() == 0

    def _configure(self) -> None:
        self.database_url = self.cluster.mariadb.create_database('multiattach')
        self._settings = (
            '[DEFAULT]\n'
            f'transport_url = {self.cluster.rabbitmq.url}\n'
            'rpc_response_timeout = 40\nreport_interval = 3\n{more}\n'
            '[leases]\nduration = 10\n'
            f'[database]\nconnection = {self.database_url}\n'
            f'[coordination]\nbackend_url = {self.cluster.redis.url}?timeout=5\n'
        )
        self.config.touch(0o600)
        self.config.write_text(
            self._settings.format(more=f'state_path = {self.folder}/state')
            + f'[api]\nauth_strategy = noauth\nlisten_host = {self.network.address}\n'
        )
        for agent, connector in zip(self.agents, CONNECTORS, strict=True):
            text = f'[host_agent]\nmy_ip = {agent.host.address}\nconnector = {connector}\n'
            agent.host.put_file(SHARE / 'agent.conf', (self._settings.format(more='') + text).encode(), 0o600)
        (self.folder / 'clouds.yaml').write_text(two_hosts.render_clouds_yaml(self.url))

    def _start_host(self, agent: HostProgram) -> list[Guest]:
        agent.start()
        names = ('one', 'two') if agent is self.agents[0] else ('far',)
        guests = [self._start_guest(agent.host, name) for name in names]
        for guest in guests:
            guest.wait_ready(SLOW)
        agent.wait_ready()
        return guests

    def _start_guest(self, host: ComputeHost, name: str) -> Guest:
        guest = host.define_guest(host.connect_libvirt(), name)
        guest.start()
        return guest

    # -- storage -------------------------------------------------------------------------------

    def boot_storage(self) -> None:
        """Give the storage machine its power, and start its worker."""
        self.storage.boot()
        address = f'{self.portal_address}/{self.network.prefix}'
        self.storage.check(f'ip address add {address} dev eth0 && mkdir -p {VOLUMES}')
        self.start_worker()

    @property
    def portal_address(self) -> str:
        return self.network.pick_address(_PORTAL)

    def start_worker(self) -> None:
        more = f'host = {self.worker.name}\nstate_path = {storage.DATA}/state'
        text = self._settings.format(more=more) + (
            '[volume]\ncluster = storage\n'
            f'[file]\ndirectory = {VOLUMES}\ntarget_driver = lio\n[lio]\nportal = {self.portal_address}:3260\n'
        )
        self.storage.put_file(SHARE / f'{self.worker.name}.conf', text.encode(), 0o600)
        self.worker.start()
        self.worker.wait_ready()

    def replace_worker(self, name: str) -> None:
        """Have another worker of the cluster serve the volumes; the one before is dead."""
        self.worker = Worker(self.storage, name)
        self.start_worker()

    def replace_storage(self) -> None:
        """Have the other machine take disk and address, and another worker there the volumes."""
        dead, self.storage = self.machines
        dead.power_off()
        self.storage.take_disk(dead)
        self.worker = Worker(self.storage, 'elsewhere')
        self.boot_storage()

    # -- facts ---------------------------------------------------------------------------------

    def find_device(self, guest: Guest, volume_id: str) -> str:
        """See there; a disk that is passed through has no serial number of libvirt's."""
        found = f'grep -l {volume_id.replace("-", "")[1:]} /sys/block/sd*/device/wwid'

        def look() -> str | None:
            code, text = guest.run(found)
            return f'/dev/{text.split("/")[3]}' if code == 0 else None

        return str(wait_until(look, SLOW, f'volume {volume_id} in {guest.name}'))

    def read_reservations(self, volume_id: str) -> dict[str, Any]:
        path = f'/v3/multiattach/volumes/{volume_id}/reservations'
        found: dict[str, Any] = self.ask('GET', path)['reservations']
        return found

    def read_block(self, volume_id: str, block: int) -> str:
        """Read a block where it is stored, up to its first zero byte."""
        path = VOLUMES / f'volume-{volume_id}'
        return self.storage.check(f"dd if={path} bs=4096 skip={block} count=1 2>/dev/null | tr -d '\\0'")

    def check_nothing_left(self) -> None:
        """See that no row, session, target, file or registration is left."""
        assert self.query('SELECT id, status FROM volumes WHERE deleted_at IS NULL') == []
        assert self.query('SELECT id, state FROM attachments WHERE deleted_at IS NULL') == []
        for host in self.hosts:
            for what in (two_hosts.list_sessions, two_hosts.list_nodes, two_hosts.list_disks):
                assert what(host) == [], f'{what.__name__} of {host.name}'
        assert self.storage.check('ls /sys/kernel/config/target/iscsi | grep -c ^iqn || true') == '0'
        # The file that processes of the machine lock stays.
        left = self.storage.check(f'ls -I multiattach.lock {storage.DATA}/target/pr {VOLUMES}').split()
        assert left == [f'{storage.DATA}/target/pr:', f'{VOLUMES}:']

    def report(self) -> None:
        super().report()
        for log in sorted(self.folder.glob('s*/share/*.log')):
            print(f'== {log.name} ({log.parent.parent.name})\n{processes.tail(log, 8000)}')
