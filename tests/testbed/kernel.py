# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels, unpacked into a cache: the machine's own may have no modules at all."""

import fcntl
import lzma
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.processes import run
from tests.testbed.progress import report

#: flavour → the Debian package that depends on the newest kernel of that flavour
FLAVOURS = {
    'cloud': 'linux-image-cloud-amd64',  # small: guests
    'full': 'linux-image-amd64',  # 9p, KVM, device-mapper, iSCSI: compute hosts
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    root: Path
    release: str

    @property
    def vmlinux(self) -> Path:
        """The uncompressed kernel; QEMU boots it by PVH, twice as fast as a bzImage."""
        return self.root / 'boot' / 'vmlinux'

    @property
    def modules(self) -> Path:
        """The folder to be mounted on /lib/modules."""
        return self.root / 'lib' / 'modules'

    def resolve_modules(self, names: list[str]) -> list[Path]:
        """Find module files, each after those that it needs.

        :param names: module names
        :returns: files in the order of loading; built-in modules have none
        :raises TestbedError: when the kernel has no such module
        """
        files: list[Path] = []
        for name in names:
            shown = run(['modprobe', '-d', self.root, '-S', self.release, '--show-depends', name])
            for line in shown.splitlines():
                kind, _, rest = line.partition(' ')
                path = Path(rest.split(' ')[0]) if kind == 'insmod' else None
                if path is not None and path not in files:
                    files.append(path)
        return files


def find_cache(cache: Path | None = None) -> Path:
    """Find and make the folder for big artefacts.

    :param cache: the folder; $XDG_CACHE_HOME/multiattach-testbed when None
    :returns: the absolute path of the folder
    """
    if cache is None:
        base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
        cache = Path(base) / 'multiattach-testbed'
    cache.mkdir(parents=True, exist_ok=True)
    return cache.resolve()


@contextmanager
def lock_cache(cache: Path) -> Iterator[None]:
    """Hold the cache's lock, so that two test beds build an artefact once.

    :param cache: the cache folder
    """
    with (cache / '.lock').open('w') as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def fetch_kernel(flavour: str, cache: Path | None = None) -> Kernel:
    """Provide a kernel, from the cache when it is there.

    :param flavour: a key of FLAVOURS
    :param cache: cache folder
    :returns: the kernel
    :raises TestbedError: when it cannot be downloaded or unpacked
    """
    cache = find_cache(cache)
    root = cache / f'kernel-{flavour}'
    with lock_cache(cache):
        if not root.exists():
            _unpack(FLAVOURS[flavour], root)
    (release,) = (path.name for path in (root / 'lib' / 'modules').iterdir())
    return Kernel(root, release)


def _find_package(name: str) -> str | None:
    shown = subprocess.run(['apt-cache', 'depends', name], capture_output=True, text=True, check=False)
    for line in shown.stdout.splitlines():
        relation, _, target = line.strip().partition(': ')
        if relation == 'Depends' and target.startswith('linux-image-'):
            return target
    return None


def _unpack(package: str, root: Path) -> None:
    name = _find_package(package)
    if name is None:
        report('apt-get update')
        run(['apt-get', '-q', 'update'])
        name = _find_package(package)
    if name is None:
        raise TestbedError(f'apt knows no kernel by the name {package}')
    # All in a folder beside, renamed at the end: the cache holds whole kernels only.
    work = Path(tempfile.mkdtemp(prefix='.kernel-', dir=root.parent))
    try:
        report(f'downloading {name}')
        run(['apt-get', '-q', 'download', name], cwd=work, timeout=1800)
        (deb,) = work.glob('*.deb')
        tree = work / 'tree'
        run(['dpkg', '-x', deb, tree])
        (release,) = (path.name for path in (tree / 'lib' / 'modules').iterdir())
        run(['depmod', '-b', tree, release])
        image = (tree / 'boot' / f'vmlinuz-{release}').read_bytes()
        (tree / 'boot' / 'vmlinux').write_bytes(extract_vmlinux(image))
        tree.rename(root)
        report(f'kernel {release} is in the cache')
    finally:
        shutil.rmtree(work, ignore_errors=True)


def extract_vmlinux(image: bytes) -> bytes:
    """Extract the uncompressed kernel from a bzImage.

    :param image: contents of a vmlinuz file (Linux boot protocol 2.08 or later)
    :returns: an ELF image
    :raises TestbedError: when the payload is not compressed by lz4 or xz
    """
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from('<II', image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if payload[:4] == b'\x02!L\x18':
        # The last 4 bytes are the size, which lz4 takes for a broken block.
        done = subprocess.run(['lz4', '-d', '-c'], input=payload[:-4], capture_output=True, check=False)
        kernel = done.stdout
    elif payload[:6] == b'\xfd7zXZ\0':
        kernel = lzma.LZMADecompressor().decompress(payload)
    else:
        raise TestbedError(f'unknown kernel payload {payload[:8]!r}')
    if kernel[:4] != b'\x7fELF':
        raise TestbedError("the kernel's payload is no ELF image")
    return kernel
