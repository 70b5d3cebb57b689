# SPDX-License-Identifier: Apache-2.0
"""A private Ceph: a monitor, or several, one manager, one OSD on a sparse file.

It listens on the loopback, or in a network of the test bed, and never anywhere else.
"""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.lifetime import Lifetime
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

_ADDRESS = '127.0.0.1'
_PORTS = 3300, 6789  # of monitors
_SIZE = 10 << 30  # bytes that the OSD has; the file is sparse
# Without the first three no pool of one OSD works. No daemon waits for more to come together.
_SETTINGS = f"""\
osd pool default size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon warn on pool no redundancy = false
mon data avail crit = 1
paxos propose interval = 0.1
auth allow insecure global id reclaim = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
ms bind ipv6 = false
mon tick interval = 1
mgr stats period = 1
mgr initial modules =
osd objectstore = bluestore
bluestore block size = {_SIZE}
bluestore fsck on mount = false
osd memory target = 939524096
setuser match path =
"""
_MONITORS = 'abcde'
_MANAGER = 'mgr.x'
_OSD = 'osd.0'


def _load(name: str) -> Any:
    """Import a module of Ceph, which is among the system's own; virtual environments do not see these."""
    if name not in sys.modules:
        spec = PathFinder.find_spec(name, [*sys.path, '/usr/lib/python3/dist-packages'])
        if spec is None or spec.loader is None:
            raise TestbedError(f'module {name} is missing: install python3-{name}')
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class Ceph(Lifetime):
    """A cluster. Its programs and clients know it by :attr:`conf` only, so nothing in /etc/ceph is read.

    :param folder: for data, logs and sockets; made, and removed by stop
    :param network: where it listens; None for the loopback. There it has the usual ports and both protocols: kernels
        may know the older one only.
    :param monitors: how many; several are for the loopback only.
    """

    def __init__(self, folder: Path, network: Network | None = None, monitors: int = 1) -> None:
        self.folder = folder.resolve()
        self._network = network
        #: addresses of the monitors, by name
        self.portals: dict[str, str] = {}
        self._monitors = _MONITORS[:monitors]
        self.conf = self.folder / 'ceph.conf'
        self._keyring = self.folder / 'keyring'
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._connection: Any = None

    def start(self, timeout: float = 120) -> None:
        """Make the cluster and wait until a pool can be made.

        :param timeout: seconds for each daemon
        :raises TestbedError: a daemon ends at once, or does not serve in time
        """
        try:
            self._make_files()
            self._start_monitor(timeout)
            self._start_others(timeout)
        except BaseException:
            self.stop()
            raise

    @classmethod
    def join(cls, conf: Path, folder: Path, timeout: float = 120) -> 'Ceph':
        """Be the administrator of a cluster that another machine of the test bed has started.

        :param conf: its configuration file, as seen here
        :param folder: for users' files; made
        """
        made = cls(folder)
        made.folder.mkdir(parents=True, exist_ok=True)
        made.conf = conf
        made._monitors = ''
        wait_until(made._connect, timeout, 'the cluster', 0.5)
        return made

    def leave(self) -> None:
        """Be so no longer; the cluster stays."""
        if self._connection is not None:
            self._connection.shutdown()
            self._connection = None

    def _make_files(self) -> None:
        for name in ('mgr', 'osd', 'run', 'log', *(f'mon/{one}' for one in self._monitors)):
            (self.folder / name).mkdir(parents=True)
        address, fsid = self._network.address if self._network else _ADDRESS, uuid.uuid4()
        both = f'[v2:{address}:{_PORTS[0]}/0,v1:{address}:{_PORTS[1]}/0]'
        self.portals = {one: both if self._network else f'[v2:{address}:{pick_port()}/0]' for one in self._monitors}
        self.conf.write_text(
            f'[global]\nfsid = {fsid}\nmon host = {",".join(self.portals.values())}\n'
            f'mon initial members = {",".join(self._monitors)}\nkeyring = {self._keyring}\n'
            f'log file = {self.folder}/log/$name.log\nadmin socket = {self.folder}/run/$name.$pid.asok\n'
            f'run dir = {self.folder}/run\npublic addr = {address}\ncluster addr = {address}\n{_SETTINGS}'
            f'[mon]\nmon data = {self.folder}/mon/$id\n[mgr]\nmgr data = {self.folder}/mgr\n'
            f'[osd]\nosd data = {self.folder}/osd\n'
            # What a test adds for clients goes here.
            '[client]\nadmin socket =\nlog file =\n'
        )
        everything = [word for part in ('mon', 'osd', 'mgr') for word in ('--cap', part, 'allow *')]
        processes.run(['ceph-authtool', '--create-keyring', self._keyring, '--gen-key', '-n', 'mon.', *everything[:3]])
        processes.run(['ceph-authtool', self._keyring, '--gen-key', '-n', 'client.admin', *everything])
        self._keyring.chmod(0o600)
        monmap = self.folder / 'monmap'
        added = [word for one, portal in self.portals.items() for word in ('--addv', one, portal)]
        processes.run(['monmaptool', '--create', '--clobber', '--fsid', str(fsid), *added, monmap])
        for one in self._monitors:
            self._run('ceph-mon', '--mkfs', '-i', one, '--monmap', monmap, '--keyring', self._keyring)

    def _run(self, program: str, *words: str | Path) -> str:
        return processes.run(self._wrap([program, '-c', self.conf, *words]), timeout=120)

    def _wrap(self, argv: list[str | Path]) -> list[str]:
        words = [str(word) for word in argv]
        return self._network.wrap(words) if self._network else words

    def _start_monitor(self, timeout: float) -> None:
        for one in self._monitors:
            self.start_daemon(f'mon.{one}')
        wait_until(self._connect, timeout, lambda: f'monitor: {processes.tail(self.folder / "mon.a.log")}', 0.1)

    def _connect(self) -> bool:
        for one in self._monitors:
            self._check(f'mon.{one}')
        rados = _load('rados')
        made = rados.Rados(rados_id='admin', conffile=str(self.conf))
        for name in ('client_mount_timeout', 'rados_mon_op_timeout', 'rados_osd_op_timeout'):
            made.conf_set(name, '20')
        try:
            with self._network.inside() if self._network else nullcontext():
                made.connect()
        except rados.Error:
            return False
        self._connection = made
        return True

    def _start_others(self, timeout: float) -> None:
        self._add_key(_MANAGER, 'mon', 'allow profile mgr', 'osd', 'allow *')
        self.start_daemon(_MANAGER)
        osd = str(uuid.uuid4())
        assert self.ask('osd new', uuid=osd)['osdid'] == 0
        self._add_key(_OSD, 'mon', 'allow profile osd', 'osd', 'allow *', 'mgr', 'allow profile osd')
        self._run('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd)
        self.start_daemon(_OSD)
        wait_until(self._is_up, timeout, lambda: f'{_OSD}: {processes.tail(self.folder / "osd.0.log")}', 0.1)

    def _add_key(self, entity: str, *caps: str) -> None:
        key = self.ask('auth get-or-create', entity=entity, caps=list(caps))[0]['key']
        with self._keyring.open('a') as file:
            file.write(f'[{entity}]\n\tkey = {key}\n')

    def _is_up(self) -> bool:
        for name in self._daemons:
            self._check(name)
        return bool(self.ask('osd stat')['num_up_osds'])

    def _check(self, name: str) -> None:
        if self._daemons[name].poll() is not None:
            raise TestbedError(f'{name} ended: {processes.tail(self.folder / f"{name}.log")}')

    def start_daemon(self, name: str) -> None:
        """Start a daemon, for example ``osd.0``."""
        kind, _, ident = name.partition('.')
        argv = [f'ceph-{kind}', '-f', '-c', self.conf, '-i', ident]
        self._daemons[name] = processes.spawn(self._wrap(argv), self.folder / f'{name}.log')

    @property
    def daemons(self) -> list[subprocess.Popen[bytes]]:
        """Its processes."""
        return list(self._daemons.values())

    def kill_daemon(self, name: str) -> None:
        """End a daemon as a crash does; :meth:`start_daemon` starts it again."""
        processes.stop(self._daemons[name], patience=0)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a daemon for the length of the block, as a host that hangs does."""
        self._daemons[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._daemons[name].send_signal(signal.SIGCONT)

    def ask(self, command: str, data: bytes = b'', **words: Any) -> Any:
        """Have the monitor do something.

        :param command: such as ``osd stat``
        :param data: what the command line reads from a file
        :returns: its answer, None for none
        :raises TestbedError: it refuses
        """
        request = json.dumps({'prefix': command, 'format': 'json', **words})
        code, answer, text = self._connection.mon_command(request, data)
        if code:
            raise TestbedError(f'{command}: {code}: {text}')
        return json.loads(answer) if answer else None

    def make_pool(self, name: str) -> None:
        """Make a pool for images."""
        self.ask('osd pool create', pool=name, pg_num=8)
        with self.open_pool(name) as io:
            _load('rbd').RBD().pool_init(io, True)

    def remove_pool(self, name: str) -> None:
        """Remove a pool with all that is in it."""
        self.ask('osd pool delete', pool=name, pool2=name, yes_i_really_really_mean_it=True)

    @contextmanager
    def open_pool(self, name: str) -> Iterator[Any]:
        """Open a pool as its administrator."""
        io = self._connection.open_ioctx(name)
        try:
            yield io
        finally:
            io.close()

    @contextmanager
    def open_image(self, pool: str, name: str) -> Iterator[Any]:
        """Open an image to read, as its administrator."""
        with self.open_pool(pool) as io, _load('rbd').Image(io, name, read_only=True) as image:
            yield image

    def make_user(self, name: str, capability: str, *more: str) -> Path:
        """Make a user of images.

        :param capability: at the OSDs, such as ``profile rbd pool=volumes``
        :param more: as for :meth:`write_conf`
        :returns: a configuration file, whose keyring has this user's key
        """
        entity, caps = f'client.{name}', ['mon', 'profile rbd', 'osd', capability]
        self.ask('auth add', entity=entity, caps=caps)
        return self.write_conf(name, self.ask('auth get', entity=entity)[0]['key'], *more)

    def write_conf(self, name: str, key: str, *more: str) -> Path:
        """Write a configuration file for a user.

        :param key: its key
        :param more: lines for clients
        """
        keyring, conf = self.folder / f'client.{name}.keyring', self.folder / f'client.{name}.conf'
        keyring.touch(0o600)
        keyring.write_text(f'[client.{name}]\nkey = {key}\n')
        lines = '\n'.join((f'keyring = {keyring}', *more))
        conf.write_text(self.conf.read_text().rstrip('\n') + f'\n{lines}\n')
        return conf

    def stop(self) -> None:
        """End it and remove its data; repeatable."""
        self.leave()
        for daemon in list(self._daemons.values())[::-1]:
            daemon.send_signal(signal.SIGCONT) if daemon.poll() is None else None
            processes.stop(daemon, patience=0)
        self._daemons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
