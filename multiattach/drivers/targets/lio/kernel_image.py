# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph as block devices of this machine, by its kernel's own client.

A backend names an image as QEMU does: ``rbd:POOL/IMAGE:id=USER:conf=FILE``. The kernel lists what is mapped; nothing
else is kept about it. ``rbd`` (package ceph-common) reads the monitors' addresses and the user's key, and hands them to
the kernel: that is a process for each image that is mapped or unmapped.
"""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from multiattach.drivers.errors import DriverError, TargetBusy, TargetError, TargetRequestInvalid, TargetUnavailable

ROOT = Path('/sys/bus/rbd/devices')
_PREFIX = 'rbd:'
_DEVICE = '/dev/rbd'
_OPTIONS = {'id': '--id', 'conf': '--conf', 'cluster': '--cluster'}
_PACKAGE = 'install the package ceph-common'
_MOST = 10.0  # s; the backend has opened the image a moment before
_PAUSE = 0.05
_NO_SNAPSHOT = '-'
_BUSY = 16  # EBUSY, which is the exit status of rbd
_MORE_PATH = ('/usr/sbin', '/usr/bin', '/sbin', '/bin')


def is_image(device: str) -> bool:
    return device.startswith(_PREFIX)


def split(device: str) -> tuple[str, list[str]]:
    """Take an image's name apart: POOL/IMAGE, and the words that tell ``rbd`` the cluster and the user.

    :raises TargetRequestInvalid: it is none that the kernel can map.
    """
    path, *options = device.removeprefix(_PREFIX).split(':')
    pairs = [option.partition('=') for option in options]
    if not is_image(device) or path.count('/') != 1 or path.startswith('-') or not all(path.split('/')):
        raise TargetRequestInvalid(f'{device!r} names no image of Ceph')
    if unknown := [key for key, _, value in pairs if key not in _OPTIONS or not value]:
        raise TargetRequestInvalid(f'the kernel cannot map an image with the option {unknown[0]!r}')
    return path, [word for key, _, value in pairs for word in (_OPTIONS[key], value)]


class KernelImages:
    """What is mapped. Safe for several threads, as long as each image is with one of them.

    The kernel's list is read once, and again after a step that failed: it takes longer with each image in it.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[str, str] | None = None

    def check(self) -> None:
        """See that images can be mapped at all.

        :raises TargetUnavailable: the program is missing, or the kernel's module.
        """
        if shutil.which('rbd', path=_search_path()) is None:
            raise TargetUnavailable(f'rbd is missing: {_PACKAGE}', delivered=False)
        if not self._root.is_dir():
            _call(['modprobe', 'rbd'], '"modprobe rbd"', time.monotonic() + _MOST)
        if not self._root.is_dir():
            raise TargetUnavailable('the kernel has no client of Ceph (module rbd)', delivered=False)

    def find(self, path: str) -> str:
        """Return the block device of an image, POOL/IMAGE; "" if it is not mapped."""
        mapped = self._list().get(path, '')
        if mapped and self._read(mapped) != path:
            self._forget()
            mapped = self._list().get(path, '')
        return mapped

    def find_name(self, name: str) -> str:
        """Return the block device of an image of any pool; "" if there is none."""
        return next((mapped for path, mapped in self._list().items() if path.partition('/')[2] == name), '')

    def _list(self) -> dict[str, str]:
        with self._lock:
            if self._known is None:
                numbers = os.listdir(self._root) if self._root.is_dir() else []
                devices = [f'{_DEVICE}{number}' for number in numbers]
                self._known = {path: device for device in devices if (path := self._read(device))}
            return dict(self._known)

    def _read(self, mapped: str) -> str:
        """Return the image, POOL/IMAGE, of which this is the device; "" if there is none, or it is not for a target.

        Somebody else may have mapped a snapshot of it, or it read-only, or one of its name in a namespace of the pool.
        """
        place = self._place(mapped)
        try:
            found = '/'.join((place / key).read_text().strip() for key in ('pool', 'name'))
            states = [path.read_text().strip() for path in place.glob('block/*/ro')]
        except OSError:
            return ''
        others = (_read_line(place / 'current_snap') not in ('', _NO_SNAPSHOT), _read_line(place / 'pool_ns') != '')
        return '' if any(others) or '1' in states else found

    def _place(self, mapped: str) -> Path:
        return self._root / mapped.removeprefix(_DEVICE)

    def _forget(self) -> None:
        with self._lock:
            self._known = None

    def open(self, device: str, deadline: float) -> str:
        """Map an image, unless it is; return its block device.

        :param deadline: on the monotonic clock.
        :raises TargetError: the kernel, or the cluster, refused.
        :raises TargetUnavailable: there was no answer in time.
        """
        path, words = split(device)
        if mapped := self.find(path):
            return mapped
        try:
            # Its device is there when the kernel has answered; what udev does beside is not waited for.
            mapped = _run(['map', '--options', 'noudev', *words, path], deadline)
            if self._read(mapped) != path:
                raise TargetError(f'the kernel does not show image {path} as a device, though it was mapped')
        except DriverError:
            self._forget()
            raise
        with self._lock:
            if self._known is not None:
                self._known[path] = mapped
        return mapped

    def close(self, mapped: str, deadline: float) -> None:
        """Unmap an image; nothing of this program uses it any more, but udev may look at it for a moment."""
        path = self._read(mapped)
        try:
            while mapped and self._place(mapped).exists():
                try:
                    _run(['unmap', '--options', 'noudev', mapped], deadline)
                except TargetBusy:
                    if time.monotonic() > deadline - _PAUSE:
                        raise
                    time.sleep(_PAUSE)
        except DriverError:
            self._forget()
            raise
        with self._lock:
            if self._known is not None:
                self._known.pop(path, None)

    def refresh(self, device: str) -> None:
        """Have the kernel read an image's size now, and not when Ceph's notice arrives.

        :raises TargetError: it is not mapped, or cannot be read.
        """
        path, _ = split(device)
        try:
            (self._place(self.find(path)) / 'refresh').write_text('1')
        except OSError as exc:
            raise TargetError(f'the kernel cannot read the size of image {path}: {exc.strerror}') from exc


def _read_line(path: Path) -> str:
    """Read what not every kernel shows."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ''


def _search_path() -> str:
    return os.pathsep.join((os.environ.get('PATH', os.defpath), *_MORE_PATH))


def _run(words: list[str], deadline: float) -> str:
    return _call(['rbd', 'device', *words], f'"rbd device {words[0]}" of {words[-1]}', deadline)


def _call(argv: list[str], what: str, deadline: float) -> str:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PATH': _search_path()},
        )
    except FileNotFoundError as exc:
        raise TargetError(f'{argv[0]} is missing: {_PACKAGE}') from exc
    try:
        shown, said = process.communicate(timeout=max(min(deadline - time.monotonic(), _MOST), 0.1))
    except subprocess.TimeoutExpired as exc:
        process.kill()  # and not waited for: it may stand in the kernel
        raise TargetUnavailable(f'{what} did not end in time: Ceph does not answer') from exc
    if process.returncode:
        kind = TargetBusy if process.returncode == _BUSY else TargetError
        last = said.strip().splitlines()[-1:] or ['']
        raise kind(f'{what} failed: {last[0] or process.returncode}')
    return shown.strip()
