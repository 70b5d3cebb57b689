# SPDX-License-Identifier: Apache-2.0
"""qemu-img, held to what it may take: address space, CPU time, and time without progress.

It is killed when this process ends, however that ends: nobody goes on writing to what another worker makes anew.
"""

import contextlib
import dataclasses
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO

from multiattach.domain.images import GIB
from multiattach.drivers.errors import CopyAborted, ImageRefused, StorageError

_LOOK = 0.2  # s between two looks whether it has ended
_STALL = 600.0  # s without progress
_PERCENT = re.compile(rb'\((\d+(?:\.\d+)?)/100%\)')
_MOST_TEXT = 300  # characters of what it says
_END = 4096  # bytes of it that are read

Proceed = Callable[[], bool]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a conversion may take.

    :param address_space: GiB.
    :param cpu: seconds for each GiB.
    """

    address_space: int = 1
    cpu: int = 60


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk as qemu-img has it.

    :param path: of a file or a device, or a name of an image in Ceph.
    :param form: its format, in qemu-img's words.
    """

    path: str
    form: str


class Converter:
    """Runs qemu-img."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def fill(
        self, source: Disk, target: Disk, size: int, proceed: Proceed, files: Sequence[int], note: Callable[[int], None]
    ) -> None:
        """Write a disk to storage that is there, and reads as zeros.

        :param size: bytes that the storage has.
        :param files: descriptors that the paths name, as ``/dev/fd/NUMBER``.
        :param note: it gets percents.
        :raises ImageRefused: qemu-img could not read or write it, or took too much.
        :raises CopyAborted: *proceed* said no.
        """
        # By default it would not wait until all is written.
        options = ['-n', '--target-is-zero', '-t', 'writeback', '-f', source.form, '-O', target.form]
        self._convert([*options, source.path, target.path], size, proceed, files, note)

    def make(
        self, source: Disk, target: Disk, size: int, proceed: Proceed, files: Sequence[int], note: Callable[[int], None]
    ) -> None:
        """Write a disk, which others may have open, to an image file that is overwritten; the rest as :meth:`fill`."""
        options = ['-U', '-f', source.form, '-O', target.form]
        self._convert([*options, source.path, target.path], size, proceed, files, note)

    def _convert(
        self, words: Sequence[str], size: int, proceed: Proceed, files: Sequence[int], note: Callable[[int], None]
    ) -> None:
        cpu = self._limits.cpu * max(1, -(-size // GIB))
        bounds = ['setpriv', '--pdeathsig', 'KILL', 'prlimit', f'--as={self._limits.address_space * GIB}']
        argv = [*bounds, f'--cpu={cpu}', '--core=0', 'qemu-img', 'convert', '-p', *words]
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=tuple(files)
                )
            except FileNotFoundError as exc:
                raise StorageError(f'{exc.filename} is missing: install the packages qemu-utils, util-linux.') from exc
            try:
                _watch(process, output, proceed, note)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                process.wait()
            if process.returncode:
                raise ImageRefused(f'The image cannot be converted: {_explain(process.returncode, output)}.')


def _watch(process: subprocess.Popen[bytes], output: IO[bytes], proceed: Proceed, note: Callable[[int], None]) -> None:
    last, since = -1, time.monotonic()
    while True:
        try:
            process.wait(_LOOK)
            return
        except subprocess.TimeoutExpired:
            pass
        if not proceed():
            raise CopyAborted
        found = _PERCENT.findall(_read_end(output))
        percent = int(float(found[-1])) if found else 0
        if percent != last:
            last, since = percent, time.monotonic()
            note(percent)
        elif time.monotonic() - since > _STALL:
            raise ImageRefused(f'The image cannot be converted: qemu-img made no progress for {_STALL:.0f} s.')


def _read_end(output: IO[bytes]) -> bytes:
    # Not by seek and read: the process has the same position in the file.
    handle = output.fileno()
    return os.pread(handle, _END, max(os.fstat(handle).st_size - _END, 0))


def _explain(code: int, output: IO[bytes]) -> str:
    if code in (-9, -24):
        return 'qemu-img took more CPU time than it may (option conversion_cpu_limit in [glance])'
    lines = [line for line in _read_end(output).replace(b'\r', b'\n').splitlines() if b'/100%)' not in line]
    text = ' '.join(b' '.join(lines).decode(errors='replace').split())[:_MOST_TEXT] or f'qemu-img ended with {code}'
    return (
        f'{text} (it may take what option conversion_address_space_limit in [glance] says)' if 'mem' in text else text
    )
