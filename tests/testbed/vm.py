# SPDX-License-Identifier: Apache-2.0
"""A compute host: QEMU emulates a machine over this machine's own root file system.

Every package and virtual environment of this machine is there without an image, under the
same path. What the host writes is lost when it is switched off; the folder /testbed (here:
``share``) and its extra disks stay. Files changed here after the host has read them show their
old contents until ``drop_caches``. /run and /dev are the host's own: keep cache and project
elsewhere.
"""

import hashlib
import shlex
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.testbed import libvirtd, processes
from tests.testbed.errors import TestbedError, WaitTimeoutError
from tests.testbed.guest import Guest, System
from tests.testbed.initramfs import FILES, build_host_image
from tests.testbed.kernel import fetch_kernel, find_cache
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.relay import Relay
from tests.testbed.remote import AGENT_PORT, SHARE, Remote

_CAPABILITIES = '/var/cache/libvirt/qemu/capabilities'
_LIBVIRT_SOCKET = Path('/run/libvirt/libvirt-sock')
_START_LIBVIRTD = f"""\
set -e
modprobe kvm-amd nested=0 || modprobe kvm-intel || true
mkdir -p /run/libvirt /var/lib/libvirt /var/log/libvirt {_CAPABILITIES}
[ ! -d "$CAPABILITIES" ] || cp -p "$CAPABILITIES"/* {_CAPABILITIES} || true
/usr/sbin/libvirtd -d -p /run/libvirtd.pid
until [ -S {_LIBVIRT_SOCKET} ]; do sleep 0.1; done
"""


def _describe_clock() -> str:
    """Tell a kernel how fast the emulated processor's clock is, which is this one's own.

    It would measure that while it boots; on a busy machine its clock runs several times too fast then.
    """
    found = dict(line.split(':', 1) for line in Path('/proc/cpuinfo').read_text().splitlines() if ':' in line)
    values = {key.strip(): value.strip() for key, value in found.items()}
    # Where it is no virtual machine itself the figure is that of the moment.
    if 'hypervisor' not in values.get('flags', '').split() or 'cpu MHz' not in values:
        return ''
    return f' tsc_early_khz={round(float(values["cpu MHz"]) * 1000)}'


class ComputeHost(Remote):
    """One compute host."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        index: int,
        *,
        name: str | None = None,
        cache: Path | None = None,
        memory: int = 1536,
        cpus: int = 1,
        disks: Sequence[int] = (),
        accelerator: str = 'tcg,thread=multi,tb-size=512',
    ) -> None:
        """Describe it; nothing is started.

        :param network: the network, started before the host
        :param folder: for its share, disks and logs; made, and kept by power_off
        :param index: number in the network, from 1
        :param name: host name; "compute1" and so on when None
        :param cache: cache folder
        :param memory: MiB
        :param cpus: how many
        :param disks: sizes in MiB of the extra disks: /dev/vda and so on, serial "disk0", …
        :param accelerator: QEMU's -accel
        """
        super().__init__()
        self.network = network
        self.folder = folder.resolve()
        self.index = index
        self.name = name or f'compute{index}'
        self.address = network.pick_address(index)
        self.initiator = f'iqn.1993-08.org.debian:01:{self.name}'
        self.share = self.folder / 'share'
        self._cache = find_cache(cache)
        self._memory = memory
        self._cpus = cpus
        self._disks = list(disks)
        self._accelerator = accelerator
        self._qemu: subprocess.Popen[bytes] | None = None
        self._relay: Relay | None = None

    # Power

    @property
    def tap(self) -> str:
        """Its cable on the bridge."""
        return f'tap{self.index}'

    @property
    def pid(self) -> int:
        """Its QEMU's process, while its power is on."""
        assert self._qemu is not None
        return self._qemu.pid

    def is_on(self) -> bool:
        """Tell whether its power is on."""
        return self._qemu is not None and self._qemu.poll() is None

    def start(self) -> None:
        """Power on; one that is on is left alone."""
        if self.is_on():
            return
        self.share.mkdir(parents=True, exist_ok=True)
        kernel = fetch_kernel('full', self._cache)
        settings = {
            'NAME': self.name,
            'ADDRESS': self.address,
            'PREFIX': str(self.network.prefix),
            'PYTHON': sys.executable,
            'AGENT': str(FILES.parent / 'agent.py'),
            'PORT': str(AGENT_PORT),
            'MODULES': str(kernel.modules),
            'MACHINE_ID': hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest(),
            'INITIATOR': self.initiator,
        }
        lines = (f'{key}={shlex.quote(value)}\n' for key, value in settings.items())
        (self.share / 'boot.env').write_text(''.join(lines))
        self.network.add_tap(self.tap)
        image = build_host_image(kernel, self._cache)
        self._qemu = processes.spawn(
            self.network.wrap(self._build_argv(kernel.vmlinux, image)), self.folder / 'qemu.log'
        )

    def _build_argv(self, vmlinux: Path, image: Path) -> list[str]:
        append = (
            'console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off nokaslr tsc=reliable'
            f' random.trust_cpu=on testbed.main={FILES / "host-main"}{_describe_clock()}'
        )
        root = 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'
        argv = ['qemu-system-x86_64', '-name', self.name, '-machine', 'pc', '-cpu', 'max']
        argv += ['-accel', self._accelerator, '-smp', str(self._cpus), '-m', str(self._memory)]
        argv += ['-uuid', str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name)), '-no-reboot']
        argv += ['-display', 'none', '-nodefaults', '-no-user-config', '-monitor', 'none']
        argv += ['-serial', f'file:{self.folder / "console.log"}']
        argv += ['-kernel', str(vmlinux), '-initrd', str(image), '-append', append]
        argv += ['-fsdev', root, '-device', 'virtio-9p-pci,fsdev=root,mount_tag=root']
        argv += ['-fsdev', f'local,id=share,path={self.share},security_model=none']
        argv += ['-device', 'virtio-9p-pci,fsdev=share,mount_tag=share']
        argv += ['-netdev', f'tap,id=net,ifname={self.tap},script=no,downscript=no']
        mac = f'52:54:00:99:00:{self.index:02x}'
        argv += ['-device', f'virtio-net-pci,netdev=net,romfile=,mac={mac}']
        argv += ['-device', 'virtio-rng-pci']
        for number, size in enumerate(self._disks):
            path = self.folder / f'disk{number}'
            if not path.exists():
                with path.open('wb') as disk:
                    disk.truncate(size << 20)
            argv += ['-drive', f'file={path},format=raw,if=none,id=disk{number},cache=writeback']
            argv += ['-device', f'virtio-blk-pci,drive=disk{number},serial=disk{number}']
        return argv

    def wait_ready(self, timeout: float = 600) -> None:
        """Wait until it runs commands and iscsid is up.

        :param timeout: seconds
        :raises TestbedError: when QEMU has ended
        :raises WaitTimeoutError: when it does not boot in time
        """
        try:
            wait_until(self._is_ready, timeout, f'boot of {self.name}', 0.2)
        except WaitTimeoutError as error:
            raise WaitTimeoutError(f'{error}; console: {self.read_log()[-2000:]}') from error

    def _is_ready(self) -> bool:
        if not self.is_on():
            said = processes.tail(self.folder / 'qemu.log') + self.read_log()[-2000:]
            raise TestbedError(f'{self.name} is off: {said}')
        try:
            return self.run('test -e /run/testbed-ready', timeout=30)[0] == 0
        except TestbedError:
            return False

    def power_off(self) -> None:
        """Cut the power; one that is off is fine. The share and the disks stay."""
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        if self._qemu is not None:
            processes.stop(self._qemu, patience=0)
            self._qemu = None
        self._cut_connections()

    def stop(self) -> None:
        """Cut the power and remove all that it wrote; repeatable."""
        self.power_off()
        shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self) -> None:
        """Stop the host's clock and processors, as a hang would."""
        assert self._qemu is not None
        self._qemu.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._qemu is not None
        self._qemu.send_signal(signal.SIGCONT)

    def set_link(self, *, up: bool) -> None:
        """Pull or plug its network cable; commands need it, too.

        :param up: True to plug
        """
        self.network.set_link(self.tap, up=up)

    def read_log(self) -> str:
        """Return what its kernel and services have printed."""
        log = self.folder / 'console.log'
        return log.read_text(errors='replace') if log.exists() else ''

    # libvirt

    @property
    def libvirt_uri(self) -> str:
        """The URI of its libvirtd for clients on this machine, inside the network or not."""
        return f'qemu+unix:///system?socket={self.folder / "libvirt-sock"}'

    def start_libvirtd(self, timeout: float = 300) -> None:
        """Start libvirtd in the host, at qemu:///system there; one that runs is fine.

        :param timeout: seconds
        """
        if self._relay is None:
            staging = self.share / 'libvirt'
            libvirtd.write_configuration(staging, _LIBVIRT_SOCKET.parent, Path('/run/libvirtd.log'))
            self.check(f'cp {SHARE}/libvirt/*.conf /etc/libvirt/')
            saved = shlex.quote(str(self._cache / 'libvirt-host'))
            self.check(f'CAPABILITIES={saved}\n{_START_LIBVIRTD}', timeout)
            self._relay = Relay(self.folder / 'libvirt-sock', lambda: self.dial(_LIBVIRT_SOCKET))

    def connect_libvirt(self) -> Any:
        """Open a connection to its libvirtd; power_off cuts it.

        :returns: a libvirt.virConnect
        """
        return libvirtd.connect(self.libvirt_uri)

    def save_capabilities(self) -> None:
        """Keep what libvirtd found out about QEMU for the next host: it takes long."""
        self.run(f'mkdir -p {SHARE}/capabilities; cp -p {_CAPABILITIES}/* {SHARE}/capabilities/')
        target = self._cache / 'libvirt-host'
        target.mkdir(exist_ok=True)
        for found in (self.share / 'capabilities').glob('*.xml'):
            work = target / f'.{uuid.uuid4()}'
            shutil.copy2(found, work)
            work.replace(target / found.name)

    def define_guest(
        self,
        connection: Any,
        name: str,
        *,
        kind: str = 'kvm',
        server_id: str | None = None,
        system: System | None = None,
    ) -> Guest:
        """Define a small guest on this host.

        :param connection: of connect_libvirt
        :param name: domain name
        :param kind: domain type; KVM, on the emulated processor, is far the faster
        :param server_id: domain UUID; a random one when None
        :param system: what it has instead of busybox
        :returns: the guest
        """
        return Guest.define(
            connection,
            name,
            Path('/run/guests') / name,
            cache=self._cache,
            kind=kind,
            memory=system.memory if system else 128,
            server_id=server_id,
            place=self,
            system=system,
        )
