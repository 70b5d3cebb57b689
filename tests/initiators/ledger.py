# SPDX-License-Identifier: Apache-2.0
"""What a writer has sent, what was acknowledged, and what therefore has to be on the storage."""

import array
import bisect
import dataclasses
import hashlib
import struct
import threading
import time
from collections.abc import Callable

BLOCK = 4096
_MAGIC = b'\xffSTAMP\r\n'
_HEAD = struct.Struct('>8s16sQQB')
_NAME = 223  # the most that an iSCSI name has
_SUM = 32


class TornBlock(Exception):
    """A block begins as a stamped one does and is not one."""


@dataclasses.dataclass(frozen=True)
class Stamp:
    """Who wrote a block, and as what.

    :param writer: its name.
    :param sequence: number of the write.
    :param number: of the block that it was written to.
    """

    writer: str
    sequence: int
    number: int


def make_block(stamp: Stamp) -> bytes:
    """Make the bytes of a stamped block; all of them depend on the stamp.

    :param stamp: who writes it, and as what.
    """
    name = stamp.writer.encode()
    assert len(name) <= _NAME
    seed = hashlib.blake2b(b'%d/%d/' % (stamp.sequence, stamp.number) + name, digest_size=16).digest()
    head = _HEAD.pack(_MAGIC, seed, stamp.sequence, stamp.number, len(name)) + name
    room = BLOCK - len(head) - _SUM
    body = head + (seed * (room // len(seed) + 1))[:room]
    return body + hashlib.blake2b(body, digest_size=_SUM).digest()


def read_block(data: bytes) -> Stamp | None:
    """Tell whose block it is.

    :param data: a block.
    :returns: its stamp; None if it never was stamped.
    :raises TornBlock: it is a mixture.
    """
    magic, _seed, sequence, number, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        if data.count(0) == len(data):
            return None
        raise TornBlock(f'neither stamped nor empty: {data[:16].hex()}')
    name = data[_HEAD.size : _HEAD.size + length].decode('utf-8', 'replace')
    stamp = Stamp(name, sequence, number)
    if data[-_SUM:] != hashlib.blake2b(data[:-_SUM], digest_size=_SUM).digest():
        raise TornBlock(f'the checksum of {stamp} is wrong')
    return stamp


class Ledger:
    """What one writer has sent and what was acknowledged. Safe for one that writes and others that read.

    A block has one write at a time without an answer: the newest that was acknowledged, or one that was
    sent later, is what has to be there.

    :param writer: its name.
    """

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._sent: dict[int, int] = {}
        self._newest: dict[int, int] = {}
        self._blocks, self._sequences = array.array('L'), array.array('Q')
        self._moments = array.array('d')
        self._going, self._gone = array.array('Q'), array.array('d')
        self._last = self.began
        self._pause = (0.0, self.began)

    def send(self, number: int, sequence: int) -> None:
        """Write down that a write goes out.

        :param number: of its block.
        :param sequence: of the write.
        """
        with self._lock:
            self._sent[number] = sequence
            self._going.append(sequence)
            self._gone.append(time.monotonic())

    def sent_after(self, moment: float) -> set[int]:
        """Return the writes that went out after a moment, also those that went out before as well.

        :param moment: as :func:`time.monotonic`.
        """
        with self._lock:
            start = bisect.bisect_right(self._gone, moment)
            return set(self._going[start:])

    def sent(self) -> dict[int, float]:
        """Return when each write went out first."""
        with self._lock:
            return dict(reversed(list(zip(self._going, self._gone, strict=True))))

    def acknowledge(self, number: int, sequence: int) -> None:
        """Write down that it was answered as done.

        :param number: of its block.
        :param sequence: of the write.
        """
        now = time.monotonic()
        with self._lock:
            self._newest[number] = max(sequence, self._newest.get(number, 0))
            self._blocks.append(number)
            self._sequences.append(sequence)
            self._moments.append(now)
            self._pause = max(self._pause, (now - self._last, self._last))
            self._last = now

    def __len__(self) -> int:
        """How many writes were acknowledged."""
        return len(self._moments)

    @property
    def last(self) -> float:
        """When the last one was acknowledged, as :func:`time.monotonic`."""
        return self._last

    def pause(self, until: float | None = None) -> tuple[float, float]:
        """Return the longest time in which nothing was acknowledged, and when it began.

        :param until: count the time since the last one, too, up to here; None to count it not.
        """
        with self._lock:
            return max(self._pause, ((until or self._last) - self._last, self._last))

    def acknowledged(self) -> list[tuple[int, int, float]]:
        """List block, sequence and moment of each that was acknowledged, in order."""
        with self._lock:
            return list(zip(self._blocks, self._sequences, self._moments, strict=True))

    def verify(self, read: Callable[[int], bytes]) -> list[str]:
        """Compare what was acknowledged with what is there.

        :param read: returns the block of a number.
        :returns: what is wrong.
        """
        with self._lock:
            newest, sent = dict(self._newest), dict(self._sent)
        wrong = []
        for number, sequence in sorted(newest.items()):
            try:
                found = read_block(read(number))
            except TornBlock as exc:
                wrong.append(f'block {number}: {exc}')
                continue
            if found is None:
                wrong.append(f'block {number}: write {sequence} was acknowledged, and the block is empty')
            elif found.writer != self.writer or found.number != number:
                wrong.append(
                    f'block {number}: write {sequence} of {self.writer} was acknowledged, and {found} is there'
                )
            elif not sequence <= found.sequence <= sent[number]:
                wrong.append(f'block {number}: write {sequence} was acknowledged, and {found.sequence} is there')
        return wrong
