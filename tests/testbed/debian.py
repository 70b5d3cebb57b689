# SPDX-License-Identifier: Apache-2.0
"""A Debian 12 as its installer leaves it: systemd runs it, apt and pip reach their mirrors, nothing else is there.

Its root is made once by debootstrap and kept in the cache; so are the packages that apt and pip fetch.
"""

import fcntl
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.kernel import find_cache
from tests.testbed.network import enter
from tests.testbed.polling import wait_until
from tests.testbed.progress import report
from tests.testbed.relay import PortRelay
from tests.testbed.systemd import Systemd

SUITE = 'bookworm'
_KEPT = '/var/cache/testbed'
_BUNDLE = Path('/etc/ssl/certs/ca-certificates.crt')
_APT = f"""\
Dir::Cache::archives "{_KEPT}/archives";
APT::Keep-Downloaded-Packages "true";
"""
_ENVIRONMENT = (
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME=/root',
    'USER=root',
    'LANG=C.UTF-8',
    'TERM=linux',
)
# What dpkg writes lies in a RAM disk.
_DPKG = 'force-unsafe-io\n'


def ensure_root(cache: Path | None = None) -> Path:
    """Provide the root file system, from the cache when it is there.

    :param cache: cache folder
    :returns: its folder, which is not to be written to
    :raises TestbedError: when debootstrap fails
    """
    cache = find_cache(cache)
    root = cache / f'debian-{SUITE}'
    with (cache / '.debian.lock').open('w') as lock:  # an own one: it takes minutes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _bootstrap(root)
    return root


def _bootstrap(root: Path) -> None:
    report(f'making the root file system of Debian ({SUITE})')
    work = Path(tempfile.mkdtemp(prefix='.debian-', dir=root.parent))
    try:
        argv = ['debootstrap', '--include=ca-certificates,dbus,systemd-sysv', SUITE, work / 'tree', _find_mirror()]
        processes.run(argv, timeout=3600)
        (work / 'tree').rename(root)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _find_mirror() -> str:
    shown = processes.run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages'])
    for line in shown.splitlines():
        uri, _, suite = line.partition(' ')
        if suite == SUITE:
            return uri
    raise TestbedError(f'apt has no mirror of {SUITE}')


class Debian(Systemd):
    """One such system; one at a time has the packages kept.

    :param folder: for its log
    :param hosts: name → address, as its administrators have written into /etc/hosts; addresses of TEST-NET are its own
    :param cache: cache folder
    """

    target = 'multi-user.target'

    def __init__(self, folder: Path, hosts: Mapping[str, str], cache: Path | None = None) -> None:
        cache = find_cache(cache)
        super().__init__(folder, ensure_root(cache), cache / 'debian-packages')
        self._hosts = dict(hosts)
        self._lock: TextIO | None = None
        self._uplink: subprocess.Popen[bytes] | None = None
        self._relays: list[PortRelay] = []

    def start(self) -> None:
        """Start it, and wait until it has booted."""
        assert self._kept is not None
        (self._kept / 'archives' / 'partial').mkdir(parents=True, exist_ok=True)
        (self._kept / 'pip').mkdir(exist_ok=True)
        self._lock = (self._kept / '.lock').open('w')
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        super().start()
        try:
            self._connect()
        except BaseException:
            self.stop()
            raise

    def _connect(self) -> None:
        lines = [f'{address} {name}\n' for name, address in self._hosts.items()]
        self.put_file('/etc/hosts', ''.join(['127.0.0.1 localhost\n', *lines]).encode())
        self.check(f'hostnamectl hostname {next(iter(self._hosts))}')
        for address in sorted(set(self._hosts.values())):
            self.check(f'ip address add {address}/32 dev lo')
        argv = ['slirp4netns', '--configure', '--mtu=1400', '--disable-host-loopback', str(self.pid), 'tap0']
        self._uplink = processes.spawn(argv, self.folder / 'slirp4netns.log')
        wait_until(lambda: self.run('ip route | grep -q ^default')[0] == 0, 30, 'the network', 0.1)
        self.put_file('/etc/resolv.conf', b'nameserver 10.0.2.3\n')
        self.put_file('/etc/apt/apt.conf.d/90testbed', _APT.encode())
        self.put_file('/etc/dpkg/dpkg.cfg.d/testbed', _DPKG.encode())
        self.put_file('/etc/ssl/testbed.pem', _BUNDLE.read_bytes())
        self.put_file(
            '/etc/pip.conf', f'[global]\ncert = /etc/ssl/testbed.pem\ncache-dir = {_KEPT}/pip\ntimeout = 180\n'.encode()
        )

    def wrap(self, argv: list[str]) -> list[str]:
        """See Systemd; nothing of this machine's environment comes along."""
        return super().wrap(['env', '-i', *_ENVIRONMENT, *argv])

    def serve(self, port: int) -> None:
        """Let a server of this machine's loopback be one of its loopback.

        :param port: TCP port, here and there
        """
        with enter(Path(f'/proc/{self.pid}/ns/net')):
            server = socket.create_server(('127.0.0.1', port))
        self._relays.append(PortRelay(server, lambda: socket.create_connection(('127.0.0.1', port))))

    def reach(self, path: str | Path) -> Path:
        """Name one of its files for this machine.

        :param path: absolute, there
        """
        return Path(f'/proc/{self.pid}/root') / str(path).lstrip('/')

    def stop(self) -> None:
        """End it and all that it runs; repeatable."""
        for relay in self._relays:
            relay.close()
        self._relays.clear()
        if self._uplink is not None:
            processes.stop(self._uplink)
            self._uplink = None
        super().stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # As the place of guests

    def make_disk(self, path: Path, size: int) -> None:
        """See Place."""
        self.check(f'mkdir -p {path.parent} && truncate -s {size} {path}')

    def dial(self, path: Path) -> socket.socket:
        """See Place."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.reach(path)))
        except OSError:
            connection.close()
            raise
        return connection

    def read_text(self, path: Path) -> str:
        """See Place."""
        return self.run(f'cat {path} 2>/dev/null')[1]
