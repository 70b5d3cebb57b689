# SPDX-License-Identifier: Apache-2.0
"""What a compute host, a domain and a guest say themselves."""

import contextlib
import uuid
from collections.abc import Iterator
from xml.etree import ElementTree

import libvirt

from multiattach.domain.connection import wwn
from tests.testbed.guest import BLOCK_SIZE, Guest
from tests.testbed.polling import wait_until
from tests.testbed.vm import ComputeHost


def read_disk_name(host: ComputeHost, device: str) -> str:
    """Return the name that a SCSI disk gives itself (VPD page 0x83), by its node or a link to it."""
    return host.check(f'cat /sys/block/$(basename $(readlink -f {device}))/device/wwid')


def find_disk(guest: Guest, volume_id: str, *, live: bool) -> ElementTree.Element | None:
    """Find a volume's disk in the running or in the persistent definition of a domain."""
    text = guest.domain.XMLDesc(0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE)
    for disk in ElementTree.fromstring(text).iterfind('./devices/disk'):
        if disk.findtext('serial') == volume_id:
            return disk
    return None


def check_disk(host: ComputeHost, guest: Guest, volume_id: str) -> str:
    """Check a shared volume's disk against requirement row 14, live and persistent.

    :returns: the host's device.
    """
    sources = set()
    for live in (True, False):
        disk = find_disk(guest, volume_id, live=live)
        assert disk is not None
        assert (disk.get('type'), disk.get('device')) == ('block', 'disk')
        driver, source, target = (disk.find(tag) for tag in ('driver', 'source', 'target'))
        assert driver is not None
        assert source is not None
        assert target is not None
        wanted = {'name': 'qemu', 'type': 'raw', 'cache': 'none', 'io': 'native'}
        assert wanted.items() <= driver.attrib.items()
        assert disk.find('shareable') is not None
        assert disk.find('readonly') is None
        assert target.get('bus') == 'virtio'
        sources.add(source.get('dev'))
    (device,) = sources
    assert device is not None
    assert read_disk_name(host, device) == f'naa.{wwn(volume_id)}'
    return device


def share(writer: Guest, its: str, reader: Guest, other: str, block: int) -> None:
    """Let one guest read, past all caches, what another wrote."""
    data = f'{writer.name}: {uuid.uuid4()}'.encode().ljust(BLOCK_SIZE, b'.')
    assert reader.read_block(other, block) != data
    writer.write_block(its, block, data)
    assert reader.read_block(other, block) == data


class Writer:
    """A loop in a guest that writes stamped blocks to a device and counts.

    The block of write N says ``STAMP N``; it lies at ``block`` + N modulo :data:`SPAN`.
    """

    SPAN = 64

    def __init__(self, guest: Guest, device: str, block: int, stamp: str = '') -> None:
        self._guest = guest
        self._device = device
        self._command = (
            'rm -f /tmp/stop /tmp/bad; echo 0 0 >/tmp/done\n'
            '( number=0; longest=0; read now rest </proc/uptime; last=${now%.*}${now#*.}\n'
            'while [ ! -e /tmp/stop ]; do\n'
            f"echo '{stamp}' $number | dd of=/tmp/data bs=4096 conv=sync 2>/dev/null\n"
            f'dd if=/tmp/data of={device} bs=4096 seek=$(({block} + number % {self.SPAN})) oflag=direct '
            'conv=notrunc 2>/tmp/said || cat /tmp/said >>/tmp/bad\n'
            'read now rest </proc/uptime; now=${now%.*}${now#*.}\n'
            '[ $((now - last)) -gt $longest ] && longest=$((now - last)); last=$now\n'
            'number=$((number + 1)); echo $number $longest >/tmp/next; mv /tmp/next /tmp/done\n'
            'done; : >/tmp/ended ) </dev/null >/dev/null 2>&1 &'
        )

    def count(self) -> int:
        """Return how many writes were answered."""
        return int(self._guest.run('cat /tmp/done')[1].split()[0])

    def longest_pause(self) -> float:
        """Return the longest time between two answers, seconds of the guest's clock."""
        return int(self._guest.run('cat /tmp/done')[1].split()[1]) / 100

    def wait_progress(self, seconds: float = 60, writes: int = 5) -> None:
        """Wait for some more writes."""
        before = self.count()
        wait_until(lambda: self.count() >= before + writes, seconds, f'{self._guest.name} goes on writing', 0.1)

    def read_errors(self) -> str:
        """Return what writes that failed have said."""
        code, text = self._guest.run('cat /tmp/bad')
        return text if code == 0 else ''

    def start(self) -> None:
        """Begin to write; without :meth:`running` nobody ends it."""
        self._guest.run('rm -f /tmp/ended')
        assert self._guest.run(self._command)[0] == 0

    @contextlib.contextmanager
    def running(self, *, fails: bool = False) -> Iterator['Writer']:
        """Write during a block, and see that no write failed, or that some did.

        :param fails: it is to be cut off.
        """
        self.start()
        try:
            self.wait_progress()
            yield self
        finally:
            self._guest.run(': >/tmp/stop')
            wait_until(lambda: self._guest.run('test -e /tmp/ended')[0] == 0, 150, 'the last write')
            # Once the disk is gone dd makes a file of that name, and the next disk gets no node.
            self._guest.run(f'test -b {self._device} || rm -f {self._device}')
        assert bool(self.read_errors()) == fails, self.read_errors()


def read_stamps(blocks: bytes) -> list[tuple[str, int]]:
    """Read what a :class:`Writer` has stamped.

    :param blocks: whole blocks.
    :returns: stamp and number of each block that has one, in order of the blocks.
    """
    found = []
    for start in range(0, len(blocks), BLOCK_SIZE):
        words = blocks[start : start + BLOCK_SIZE].rstrip(b'\0').decode().split()
        if words:
            found.append((' '.join(words[:-1]), int(words[-1])))
    return found
