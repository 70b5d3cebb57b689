# SPDX-License-Identifier: Apache-2.0
"""Initramfs images: busybox, a few modules and one script, written without cpio or root."""

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.kernel import Kernel, find_cache, lock_cache

FILES = Path(__file__).resolve().parent / 'files'
_BUSYBOX = Path('/bin/busybox')
_GUEST_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_scsi', 'sd_mod', 'sg']
_HOST_MODULES = ['virtio_pci', 'virtio_net', 'overlay', '9p', '9pnet_virtio']
_FOLDERS = ('bin', 'dev', 'etc', 'lib', 'lib/modules', 'mnt', 'newroot', 'proc', 'sys', 'tmp')


@dataclass
class _Archive:
    """A cpio archive of the "newc" kind (Linux: Documentation/driver-api/early-userspace)."""

    _out: io.BytesIO = field(default_factory=io.BytesIO)
    _names: set[str] = field(default_factory=set)

    def add(self, name: str, mode: int, data: bytes = b'') -> None:
        if name in self._names:
            return
        self._names.add(name)
        numbers = [len(self._names), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        header = '070701' + ''.join(f'{number:08x}' for number in numbers)
        self._put(header.encode() + name.encode() + b'\0')
        self._put(data)

    def add_file(self, name: str, data: bytes) -> None:
        for parent in reversed(Path(name).parents[:-1]):
            self.add(str(parent), 0o040755)
        self.add(name, 0o100755, data)

    def _put(self, data: bytes) -> None:
        self._out.write(data + b'\0' * (-len(data) % 4))

    def finish(self) -> bytes:
        self.add('TRAILER!!!', 0)
        return self._out.getvalue()


def build_guest_image(kernel: Kernel, cache: Path | None = None) -> Path:
    """Build the initramfs of the small guests.

    :param kernel: the kernel that it goes with
    :param cache: cache folder
    :returns: the image
    """
    programs = [Path(name) for name in ('/usr/bin/sg_persist',) if Path(name).exists()]
    return _build('guest', kernel, _GUEST_MODULES, programs, cache)


def build_host_image(kernel: Kernel, cache: Path | None = None) -> Path:
    """Build the initramfs of the compute hosts.

    :param kernel: the full kernel
    :param cache: cache folder
    :returns: the image
    """
    return _build('host', kernel, _HOST_MODULES, [], cache)


def _build(name: str, kernel: Kernel, modules: list[str], programs: list[Path], cache: Path | None) -> Path:
    if not _BUSYBOX.exists():
        raise TestbedError('no /bin/busybox: install busybox-static')
    archive = _Archive()
    for folder in _FOLDERS:
        archive.add(folder, 0o040755)
    archive.add_file('bin/busybox', _BUSYBOX.read_bytes())
    files = kernel.resolve_modules(modules)
    for path in files:
        archive.add_file(f'lib/modules/{path.name}', path.read_bytes())
    archive.add_file('etc/modules', ''.join(f'{path.name}\n' for path in files).encode())
    for program in programs:
        for path in (program, *_find_libraries(program)):
            archive.add_file(str(path).lstrip('/'), path.read_bytes())
    archive.add_file('init', (FILES / f'{name}-init').read_bytes())
    archive.add_file('guest-shell', (FILES / 'guest-shell').read_bytes())
    data = archive.finish()
    cache = find_cache(cache)
    # Named by its contents, uncompressed: emulated processors unpack slowly.
    image = cache / f'initramfs-{name}-{hashlib.sha256(data).hexdigest()[:16]}'
    with lock_cache(cache):
        if not image.exists():
            handle, work = tempfile.mkstemp(prefix='.initramfs-', dir=cache)
            with os.fdopen(handle, 'wb') as out:
                out.write(data)
            shutil.move(work, image)
    return image


def _find_libraries(program: Path) -> list[Path]:
    shown = subprocess.run(['ldd', program], capture_output=True, text=True, check=True)
    words = [word for line in shown.stdout.splitlines() for word in line.split()]
    return [Path(word) for word in words if word.startswith('/')]
