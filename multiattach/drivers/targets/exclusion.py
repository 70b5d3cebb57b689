# SPDX-License-Identifier: Apache-2.0
"""One process at a time changes a target, whatever became of the lock that it holds in the coordination backend.

That lock has a time limit: a worker on a machine that is busy beyond measure may lose it in the middle of a change, and
the next one begins. A tgtd does not survive two of them at one target
(:mod:`multiattach.drivers.targets.tgt.accounts`). Both are on the host of its management socket, so the file beside
that, of which tgtd locks the first byte, has a byte for each target. The kernel lets go of it when its process ends,
and not before.

Whoever holds a target can leave a mark in that file, by which he sees later that nobody else has held it since.

The kernel's own target has one tree for the whole machine, so there it is a file of that tree.
"""

import contextlib
import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator

from multiattach.drivers.errors import TargetUnavailable

_LOCK = struct.Struct('hhqqi0q')  # struct flock
_TARGETS = 1 << 16  # those that share a byte wait for each other
_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # s


class Mark:
    """What the last one who held a target wrote; targets that share a byte share it.

    :param file: its descriptor.
    :param byte: which is locked.
    """

    SIZE = 8

    def __init__(self, file: int, byte: int) -> None:
        self._file = file
        self._place = byte * self.SIZE

    def read(self) -> bytes:
        """Read it; fewer bytes if nobody wrote one since the file was made."""
        try:
            return os.pread(self._file, self.SIZE, self._place)
        except OSError:
            return b''

    def write(self, mark: bytes) -> bool:
        """Leave another one; False if there is no room, and then there is none of anybody any more.

        :raises TargetUnavailable: it cannot be told to the others either.
        """
        with contextlib.suppress(OSError):
            if os.pwrite(self._file, mark, self._place) == len(mark):
                return True
        try:
            os.ftruncate(self._file, 0)
        except OSError as exc:
            raise TargetUnavailable(f'the file of locks cannot be written: {exc.strerror}', delivered=False) from exc
        return False


class Exclusion:
    """Safe for several threads; who holds a target may hold it again.

    :param suffix: of the file beside the socket.
    """

    def __init__(self, suffix: str = '.lock') -> None:
        self._suffix = suffix
        self._held = threading.local()

    @contextlib.contextmanager
    def hold(self, socket_path: str, iqn: str, deadline: float) -> Iterator[Mark | None]:
        """Hold a target of the tgtd with this socket; wait until *deadline* on the monotonic clock.

        The block gets the target's mark; None if it is held already, or if there was no tgtd.

        :raises TargetUnavailable: somebody else has held it all the time.
        """
        path = f'{socket_path}{self._suffix}'
        key = path, 1 + zlib.crc32(iqn.encode()) % _TARGETS
        held: set[tuple[str, int]] = self._held.__dict__.setdefault('keys', set())
        if key in held:
            yield None
            return
        with _open(path) as file:
            if file is not None:
                _take(file, key[1], iqn, deadline)
            held.add(key)
            try:
                yield Mark(file, key[1]) if file is not None else None
            finally:
                held.discard(key)


@contextlib.contextmanager
def _open(path: str) -> Iterator[int | None]:
    """Open the file, which is made if a tgtd that ended, or somebody who tidied up, has removed it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # there is no folder, and was no tgtd
        yield None
        return
    except OSError as exc:
        raise TargetUnavailable(f'{path} cannot be opened: {exc.strerror}', delivered=False) from exc
    try:
        yield file
    finally:
        os.close(file)


def _take(file: int, byte: int, iqn: str, deadline: float) -> None:
    pause = _PAUSE
    while True:
        try:
            # Of this open file, not of the process: its threads exclude each other, too.
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TargetUnavailable(
                    f'another process of this host changes target {iqn}, and does not come to an end', delivered=False
                ) from None
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return
