# SPDX-License-Identifier: Apache-2.0
"""A private libvirtd: own configuration, state and socket, nothing of the machine's own."""

import shlex
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import libvirt

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.kernel import find_cache
from tests.testbed.lifetime import Lifetime
from tests.testbed.place import check_socket_path
from tests.testbed.polling import wait_until

_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
# where libvirtd keeps things → folder of ours that is mounted over it
_MOUNTS = {'/etc/libvirt': 'etc', '/run/libvirt': 'run', '/var/lib/libvirt': 'lib', '/var/log/libvirt': 'log'}


def write_configuration(folder: Path, sockets: Path, log: Path) -> None:
    """Write qemu.conf and libvirtd.conf for a libvirtd without systemd, D-Bus and cgroups.

    :param folder: libvirt's configuration folder
    :param sockets: folder for its sockets
    :param log: log file
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'qemu.conf').write_text(_QEMU_CONF)
    (folder / 'libvirtd.conf').write_text(
        f'unix_sock_dir = "{sockets}"\n'
        'unix_sock_rw_perms = "0700"\n'
        'auth_unix_ro = "none"\n'
        'auth_unix_rw = "none"\n'
        f'host_uuid = "{uuid.uuid4()}"\n'
        f'log_outputs = "3:file:{log}"\n'
    )


def connect(uri: str) -> Any:
    """Open a connection to a libvirtd.

    :param uri: connection URI
    :returns: a libvirt.virConnect, to be closed by the caller
    """
    # Errors come as exceptions; the default handler prints them once more.
    libvirt.registerErrorHandler(lambda context, error: None, None)
    return libvirt.open(uri)


class Libvirtd(Lifetime):
    """The daemon, from start to stop; as a context manager, for the length of a block."""

    def __init__(self, folder: Path, *, cache: Path | None = None, netns: str | None = None) -> None:
        """Choose where it lives.

        :param folder: folder for all that it writes; made, and removed by stop
        :param cache: cache folder; it keeps what QEMU can do, 4-8 s to find out
        :param netns: name of the network namespace to run in; None for the caller's own
        """
        self.folder = folder.resolve()
        self._cache = find_cache(cache) / 'libvirt'
        self._netns = netns
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The socket for clients."""
        return self.folder / 'run' / 'libvirt-sock'

    @property
    def uri(self) -> str:
        """The connection URI for clients."""
        return f'qemu+unix:///system?socket={self.socket}'

    @property
    def log(self) -> Path:
        """What libvirtd itself complains about."""
        return self.folder / 'libvirtd.log'

    def start(self, timeout: float = 120) -> None:
        """Start it and wait for its socket.

        :param timeout: seconds
        :raises TestbedError: when it ends at once or offers no socket in time
        """
        if self._process is not None:
            return
        check_socket_path(self.folder / 'run' / 'libvirt-admin-sock')
        mounts = {target: self.folder / name for target, name in _MOUNTS.items()}
        mounts['/var/cache/libvirt'] = self._cache
        write_configuration(self.folder / 'etc', self.folder / 'run', self.log)
        script = 'mount --make-rprivate /\n'
        for target, folder in mounts.items():
            # A mount point has to exist outside; an empty folder is all that stays there.
            Path(target).mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            script += f'mount --bind {shlex.quote(str(folder))} {target}\n'
        script += f'exec /usr/sbin/libvirtd -p {shlex.quote(str(self.folder / "pid"))}\n'
        argv = ['unshare', '--mount', 'sh', '-e', '-c', script]
        if self._netns is not None:
            argv = ['ip', 'netns', 'exec', self._netns, *argv]
        self._process = processes.spawn(argv, self.folder / 'out')
        try:
            wait_until(self._is_up, timeout, 'socket of the private libvirtd')
        except BaseException:
            self.stop()
            raise

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            said = processes.tail(self.folder / 'out') + processes.tail(self.log)
            raise TestbedError(f'libvirtd ended at once: {said}')
        return self.socket.exists()

    def connect(self) -> Any:
        """Open a connection.

        :returns: a libvirt.virConnect, to be closed by the caller
        """
        return connect(self.uri)

    def stop(self) -> None:
        """End its guests, the daemon, and all traces of it; repeatable."""
        if self._process is not None:
            # In order: a daemon that still runs would report the guests as crashed.
            processes.stop(self._process)
            self._process = None
        for pidfile in (self.folder / 'run' / 'qemu').glob('*.pid'):
            pid = int(pidfile.read_text())
            if _is_qemu(pid):
                processes.stop_pid(pid)
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_qemu(pid: int) -> bool:
    try:
        return b'qemu' in Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
