# SPDX-License-Identifier: Apache-2.0
"""What devstack's stack.sh has brought up when it calls a plugin: Keystone, a database and a broker."""

import concurrent.futures
import os
import pathlib
import shlex
import subprocess
import sys
from typing import Any

import yaml

from tests.deployments.programs import BIN, TOP
from tests.devstack import user
from tests.testbed import processes
from tests.testbed.identity import Account
from tests.testbed.keystone import Keystone
from tests.testbed.libvirtd import Libvirtd
from tests.testbed.servers import MariaDB, RabbitMQ, pick_port

RUN = pathlib.Path(__file__).with_name('run')
SERVICE_PASSWORD = 'service-secret'


class Machine:
    """A folder with what devstack's local.conf and its libraries say, and the plugin run in it.

    :param folder: for everything.
    :param settings: further variables, as a user's local.conf has them.
    """

    def __init__(self, folder: pathlib.Path, **settings: str) -> None:
        self.folder = folder
        self.port, self.portal = pick_port(), pick_port()
        self.processes = folder / 'processes'
        self.processes.mkdir(parents=True)
        self.calls = folder / 'calls'
        self.conf = folder / 'etc/multiattach.conf'
        self.nova_conf, self.tempest_conf = folder / 'nova.conf', folder / 'tempest.conf'
        dest = folder / 'dest'
        dest.mkdir()
        (dest / 'multiattach').symlink_to(TOP)
        for path in (folder, self.processes):
            user.give(path)
        self.settings = {
            # of devstack itself
            'DEST': str(dest),
            'DATA_DIR': str(folder / 'data'),
            'STACK_USER': user.NAME,
            'HOST_IP': '127.0.0.1',
            'SERVICE_HOST': '127.0.0.1',
            'SERVICE_PROTOCOL': 'http',
            'REGION_NAME': 'RegionOne',
            'SERVICE_PASSWORD': SERVICE_PASSWORD,
            'SERVICE_DOMAIN_NAME': 'Default',
            'SERVICE_PROJECT_NAME': 'service',
            'SERVICE_TIMEOUT': '60',
            'API_WORKERS': '2',
            'WORKER_TIMEOUT': '80',
            'ENABLE_DEBUG_LOG_LEVEL': 'True',
            'SYSLOG': 'False',
            'VOLUME_GROUP_NAME': 'stack-volumes',
            'VOLUME_BACKING_FILE_SIZE': '30G',
            'NOVA_CONF': str(self.nova_conf),
            'TEMPEST_CONFIG': str(self.tempest_conf),
            'ENABLED_SERVICES': 'key,mysql,rabbit,tempest',
            'DISABLED_SERVICES': '',
            # of the functions here
            'PYTHON_BIN': str(BIN),
            'UWSGI_PORT': str(self.port),
            'PROCESSES': str(self.processes),
            'CALLS': str(self.calls),
            'KEYSTONE_SERVICE_URI': 'http://127.0.0.1:9/identity',
            'DATABASE_URL': 'mysql+pymysql://nobody@127.0.0.1:9/DATABASE',
            'TRANSPORT_URL': 'rabbit://nobody@127.0.0.1:9/',
            # of a user
            'MULTIATTACH_SERVICE_HOST': f'127.0.0.1:{self.port}',
            'MULTIATTACH_CONF_DIR': str(self.conf.parent),
            'MULTIATTACH_ISCSID_CONF': str(folder / 'iscsid.conf'),
            'MULTIATTACH_TGT_PRIVATE': 'True',
            'MULTIATTACH_TGT_PORTAL': f'127.0.0.1:{self.portal}',
            **settings,
        }
        self.env = {
            'PATH': f'{BIN}:{os.environ["PATH"]}',
            'HOME': str(folder),
            'LC_ALL': 'C.UTF-8',
            'no_proxy': '*',
            'PYTHONPATH': str(TOP),
            'PYTHONWARNINGS': 'ignore',
            'OS_CLIENT_CONFIG_FILE': str(folder / 'clouds.yaml'),
        }

    def run(self, mode: str, *phases: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the plugin as devstack's script of that name does, and as devstack's user.

        :param mode: ``stack``, ``unstack`` or ``clean``.
        :param phases: of ``stack``; none for all.
        :param settings: variables of this run only.
        :returns: what it said and its exit code.
        """
        conf = self.folder / 'local.conf'
        conf.touch(0o600)
        conf.write_text(''.join(f'{key}={shlex.quote(value)}\n' for key, value in (self.settings | settings).items()))
        user.give(conf)
        log = self.folder / f'{mode}.log'
        with log.open('w') as out:  # no pipe: what it starts would keep that open
            argv = user.wrap([RUN, conf, mode, *phases], self.folder, (TOP, pathlib.Path(sys.prefix)))
            done = subprocess.run(
                argv,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                timeout=600,
                check=False,
            )
        return subprocess.CompletedProcess(done.args, done.returncode, log.read_text())

    def find_programs(self) -> dict[str, int]:
        """Which programs run, by their pid files."""
        found = {path.stem: int(path.read_text()) for path in self.processes.glob('*.pid')}
        return {name: pid for name, pid in found.items() if processes.is_alive(pid)}

    def find_leftovers(self) -> list[str]:
        """Command lines of all processes that have to do with this folder's service."""
        marks = (str(self.conf.parent).encode(), f'portal=127.0.0.1:{self.portal}'.encode())
        found = []
        for entry in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            if any(mark in line for mark in marks):
                found.append(line.replace(b'\0', b' ').decode(errors='replace'))
        return found

    def stop(self) -> None:
        """End what a failed test left; what the programs said is shown with a failure."""
        for log in self.processes.glob('*.log'):
            print(f'{log.name}:\n{processes.tail(log)}')
        for pid in self.find_programs().values():
            processes.stop_pid(pid)


class Devstack(Machine):
    """A machine on which Keystone, MariaDB, RabbitMQ and libvirtd serve."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, MULTIATTACH_HOST_CONNECTOR='qemu', MULTIATTACH_HOST_PROJECT='project')
        self.keystone = Keystone(folder / 'keystone')
        self.database = MariaDB(folder / 'mariadb')
        self.broker = RabbitMQ(folder / 'rabbitmq')
        self.libvirtd = Libvirtd(folder / 'libvirt')

    def start(self) -> None:
        """Start the servers; devstack's accounts are there, the plugin's own is not."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            starts = [
                pool.submit(server.start) for server in (self.keystone, self.database, self.broker, self.libvirtd)
            ]
        for start in starts:
            start.result()
        own = self.keystone.accounts['multiattach']
        self.keystone.identity.ask('DELETE', f'/users/{own.user_id}')
        self.settings |= {
            'KEYSTONE_SERVICE_URI': self.keystone.url,
            'TRANSPORT_URL': self.broker.url,
            'DATABASE_SOCKET': str(self.database.socket_path),
            'DATABASE_URL': self.database.build_url('DATABASE'),
            'MULTIATTACH_LIBVIRT_URI': self.libvirtd.uri,
        }
        self._write_clouds()

    def _write_clouds(self) -> None:
        root, member = (self.keystone.accounts[name] for name in ('root', 'member'))
        clouds = {
            'devstack-admin': self._describe(root, project_name=root.project, project_domain_id='default'),
            'devstack-system-admin': self._describe(root, system_scope='all'),
            'member': self._describe(member, project_name=member.project, project_domain_id='default'),
        }
        path = pathlib.Path(self.env['OS_CLIENT_CONFIG_FILE'])
        path.touch(0o600)
        path.write_text(yaml.safe_dump({'clouds': clouds}))
        user.give(path)

    def _describe(self, account: Account, **scope: str) -> dict[str, Any]:
        return {
            'region_name': 'RegionOne',
            'auth': {
                'auth_url': self.keystone.url,
                'username': account.name,
                'password': account.password,
                'user_domain_id': 'default',
                **scope,
            },
        }

    def openstack(self, cloud: str, *words: str) -> str:
        """Run the standard client.

        :param cloud: ``member`` or ``devstack-admin``.
        :param words: of the command.
        :returns: what it prints.
        """
        return processes.run([BIN / 'openstack', '--os-cloud', cloud, *words], env=self.env)

    def define_server(self, name: str, ident: str) -> None:
        """Make a server that is switched off.

        :param name: its name.
        :param ident: its UUID.
        """
        connection = self.libvirtd.connect()
        try:
            connection.defineXML(
                f'<domain type="qemu"><name>{name}</name><uuid>{ident}</uuid><memory unit="MiB">64</memory>'
                '<vcpu>1</vcpu><os><type arch="x86_64">hvm</type></os></domain>'
            )
        finally:
            connection.close()

    def remove_servers(self) -> None:
        """Remove all servers."""
        connection = self.libvirtd.connect()
        try:
            for domain in connection.listAllDomains():
                domain.undefine()
        finally:
            connection.close()

    def stop(self) -> None:
        """See Machine; and stop the servers."""
        super().stop()
        for server in (self.libvirtd, self.broker, self.database, self.keystone):
            server.stop()
