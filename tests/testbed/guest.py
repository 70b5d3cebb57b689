# SPDX-License-Identifier: Apache-2.0
"""Real guests in persistent libvirt domains: a Debian kernel and busybox, or all programs of the host."""

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import libvirt

from tests.testbed.console import Console
from tests.testbed.errors import TestbedError, WaitTimeoutError
from tests.testbed.initramfs import FILES, build_guest_image, build_host_image
from tests.testbed.kernel import Kernel, fetch_kernel
from tests.testbed.place import Here, Place, check_socket_path
from tests.testbed.polling import wait_until

BLOCK_SIZE = 4096  # bytes; the unit of write_block and read_block
SERIAL_LENGTH = 20  # a virtio disk shows no more of <serial> (virtio 1.2, 5.2.6.1)

# The PCI bus of machine "pc" leaves room for some 25 disks. "vda" is taken, so that the first
# volume becomes vdb, as with Nova.
_DOMAIN = """\
<domain type='{kind}'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{kernel}</kernel><initrd>{image}</initrd>
<cmdline>console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on{words}</cmdline></os>
<features><acpi/></features>{cpu}
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/vda'/>
<target dev='vda' bus='virtio'/></disk>
<serial type='file'><source path='{folder}/console.log'/><target port='0'/></serial>
<channel type='unix'><source mode='bind' path='{folder}/shell'/>
<target type='virtio' name='testbed.shell'/></channel>
<controller type='usb' model='none'/><controller type='scsi' model='virtio-scsi'/>
{more}<memballoon model='none'/></devices></domain>"""
_ROOT = """\
<filesystem type='mount' accessmode='passthrough' multidevs='remap'><source dir='/'/><target dir='root'/><readonly/>
</filesystem>"""
_WIRE = """\
<interface type='udp'><mac address='{mac}'/><source address='{there}' port='{port}'>
<local address='{here}' port='{port}'/></source><model type='virtio'/></interface>"""
_WIRE_PORT = 7000
# Nested KVM on an emulated processor: a plain model, unchecked, boots everywhere.
_KVM_CPU = "<cpu mode='custom' match='exact' check='none'><model fallback='allow'>qemu64</model></cpu>"
# Prints the name of the disk whose name or serial number is $wanted.
_FIND_DISK = """\
for disk in /sys/block/vd* /sys/block/sd*; do
    [ -e $disk ] || continue
    name=${disk##*/}
    serial=$(cat $disk/serial 2>/dev/null || tail -c +5 $disk/device/vpd_pg80 2>/dev/null)
    if [ "$name" = "$wanted" ] || [ "$serial" = "$wanted" ]; then echo $name; fi
done"""


@dataclass(frozen=True)
class System:
    """A guest of the host's own system: all its programs, none of its services, and Debian's full kernel.

    What it writes is lost when it is switched off.

    :param address: of its eth0, with the prefix: "192.0.2.11/24"; "" for a guest without a network
    :param here: address of its host
    :param there: address of the host of the guest at the other end of the wire
    :param layer: packages that it has besides (see layer.py)
    :param memory: MiB
    """

    address: str = ''
    here: str = ''
    there: str = ''
    layer: Path | None = None
    memory: int = 256

    def describe(self, name: str, kernel: Kernel) -> dict[str, str]:
        """Tell what it adds to a domain.

        :param name: the guest's name, and host name
        :param kernel: the full one
        :returns: parts of the domain's XML
        """
        main = FILES / 'guest-main'
        words = f' net.ifnames=0 testbed.main={main} testbed.name={name} testbed.modules={kernel.modules}'
        wire = ''
        if self.layer:
            words += f' testbed.layer={self.layer}'
        if self.address:
            words += f' testbed.address={self.address}'
            mac = '52:54:00:' + ':'.join(f'{byte:02x}' for byte in hashlib.sha256(name.encode()).digest()[:3])
            wire = _WIRE.format(mac=mac, here=self.here, there=self.there, port=_WIRE_PORT)
        return {'words': escape(words), 'more': _ROOT + wire}


@dataclass
class Guest:
    """One guest of a libvirtd."""

    connection: Any  # libvirt.virConnect
    name: str
    folder: Path  # as its host sees it
    place: Place
    console: Console

    @classmethod
    def define(
        cls,
        connection: Any,
        name: str,
        folder: Path,
        *,
        cache: Path | None = None,
        kind: str = 'qemu',
        memory: int = 128,
        server_id: str | None = None,
        place: Place | None = None,
        system: System | None = None,
    ) -> 'Guest':
        """Define a guest persistently; it is started by start.

        :param connection: a libvirt.virConnect
        :param name: domain name
        :param folder: folder for its disk, log and socket; made
        :param cache: cache folder of kernel and initramfs
        :param kind: domain type, "qemu" (emulation) or "kvm"
        :param memory: MiB; 96 is enough for busybox
        :param server_id: domain UUID; a random one when None
        :param place: the machine of the libvirtd; this one when None
        :param system: what it has instead of busybox
        :returns: the guest
        """
        kernel = fetch_kernel('full' if system else 'cloud', cache)
        image = build_host_image(kernel, cache) if system else build_guest_image(kernel, cache)
        check_socket_path(folder.absolute() / 'shell')
        guest = cls.find(connection, name, folder, place)
        guest.place.make_disk(guest.folder / 'vda', 8 << 20)
        connection.defineXML(
            _DOMAIN.format(
                kind=kind,
                name=escape(name),
                uuid=server_id or uuid.uuid4(),
                memory=memory,
                kernel=escape(str(kernel.vmlinux)),
                image=escape(str(image)),
                folder=escape(str(guest.folder)),
                cpu=_KVM_CPU if kind == 'kvm' else '',
                **(system.describe(name, kernel) if system else {'words': '', 'more': ''}),
            )
        )
        return guest

    @classmethod
    def find(cls, connection: Any, name: str, folder: Path, place: Place | None = None) -> 'Guest':
        """Get hold of a guest that has been defined.

        :param connection: a libvirt.virConnect
        :param name: domain name
        :param folder: its folder
        :param place: the machine of the libvirtd; this one when None
        :returns: the guest
        """
        place = place or Here()
        folder = folder.absolute()
        console = Console(name, lambda: place.dial(folder / 'shell'))
        return cls(connection, name, folder, place, console)

    @property
    def domain(self) -> Any:
        """The libvirt.virDomain."""
        return self.connection.lookupByName(self.name)

    def start(self) -> None:
        """Power on; one that runs is left alone."""
        domain = self.domain
        if not domain.isActive():
            self.console.close()
            domain.create()

    def wait_ready(self, timeout: float = 300) -> None:
        """Wait until it runs commands.

        :param timeout: seconds
        :raises WaitTimeoutError: when it does not boot in time, with the end of its console
        """
        try:
            self.run('true', timeout=timeout)
        except WaitTimeoutError as error:
            raise WaitTimeoutError(f'{error}; console: {self.read_log()[-1000:]}') from error

    def read_log(self) -> str:
        """Return what the guest's kernel has printed."""
        return self.place.read_text(self.folder / 'console.log')

    def run(self, command: str, data: bytes = b'', timeout: float = 120) -> tuple[int, str]:
        """Run a shell command in the guest.

        :param command: for busybox sh
        :param data: its standard input
        :param timeout: seconds
        :returns: exit code, and output with the last newline taken off
        :raises WaitTimeoutError: when there is no answer in time
        """
        code, output = self.console.run(command, data, timeout)
        return code, output.decode(errors='replace').rstrip('\n')

    def find_disk(self, wanted: str) -> str | None:
        """Find a disk.

        :param wanted: serial number (any length: a volume id) or name ("vdb")
        :returns: its name in the guest, or None
        """
        _, output = self.run(f"wanted='{wanted[:SERIAL_LENGTH]}'\n{_FIND_DISK}")
        return output.split('\n')[0] or None

    def wait_for_disk(self, wanted: str, timeout: float = 60) -> str:
        """Wait until the guest sees a disk; hot-plug reaches it after libvirt has returned.

        :param wanted: serial number (any length: a volume id) or name ("vdb")
        :param timeout: seconds
        :returns: the device in the guest, such as "/dev/vdb"
        :raises WaitTimeoutError: when it does not appear in time
        """
        return f'/dev/{wait_until(lambda: self.find_disk(wanted), timeout, f"{self.name}: disk {wanted}")}'

    def wait_gone(self, wanted: str, timeout: float = 60) -> None:
        """Wait until the guest no longer sees a disk.

        :param wanted: serial number (any length: a volume id) or name ("vdb")
        :param timeout: seconds
        :raises WaitTimeoutError: when it is still there
        """
        wait_until(lambda: not self.find_disk(wanted), timeout, f'{self.name}: disk {wanted} gone')

    def write_block(self, device: str, offset_block: int, data: bytes, timeout: float = 120) -> None:
        """Write past the guest's cache (O_DIRECT).

        :param device: in the guest, such as "/dev/vdb"
        :param offset_block: where, in blocks of 4096 bytes
        :param data: any length; filled up with zero bytes to a whole number of blocks
        :param timeout: seconds
        :raises TestbedError: when the guest reports an error
        """
        data += b'\0' * (-len(data) % BLOCK_SIZE)
        # dd's O_DIRECT needs whole blocks: read from a file, not from a pipe.
        code, output = self.run(
            f'cat >/tmp/block && dd if=/tmp/block of={device} bs={BLOCK_SIZE}'
            f' seek={offset_block} oflag=direct conv=notrunc 2>&1',
            data,
            timeout,
        )
        if code:
            raise TestbedError(f'{self.name}: write to {device} failed: {output}')

    def read_block(self, device: str, offset_block: int, count: int = 1, timeout: float = 120) -> bytes:
        """Read past the guest's cache (O_DIRECT).

        :param device: in the guest, such as "/dev/vdb"
        :param offset_block: where, in blocks of 4096 bytes
        :param count: how many blocks
        :param timeout: seconds
        :returns: the bytes
        :raises TestbedError: when the guest reports an error
        """
        code, output = self.console.run(
            f'dd if={device} bs={BLOCK_SIZE} skip={offset_block} count={count} iflag=direct'
            ' 2>/tmp/error || { cat /tmp/error; false; }',
            timeout=timeout,
        )
        if code or len(output) != count * BLOCK_SIZE:
            raise TestbedError(f'{self.name}: read from {device} failed: {output[-500:]!r}')
        return output

    def set_link(self, *, up: bool) -> None:
        """Pull or plug its network cable.

        :param up: True to plug
        """
        found = ElementTree.fromstring(self.domain.XMLDesc()).find('./devices/interface')
        assert found is not None
        link = found.find('link')
        if link is None:
            link = ElementTree.SubElement(found, 'link')
        link.set('state', 'up' if up else 'down')
        self.domain.updateDeviceFlags(ElementTree.tostring(found, 'unicode'), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def destroy(self) -> None:
        """Cut the power and forget the guest; one that is gone is fine."""
        self.console.close()
        try:
            domain = self.domain
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return
            raise
        if domain.isActive():
            domain.destroy()
        domain.undefine()
