# SPDX-License-Identifier: Apache-2.0
"""Which pieces are copied, in which order, and what a destination is told of the rest."""

import pytest

from multiattach.drivers.backends import moving
from multiattach.drivers.errors import StorageError

KIB = 1024


class Memory:
    """A source, or a destination of which nobody knows what was there."""

    def __init__(self, data: bytes, extents=()):
        self.data = bytearray(data)
        self.size = len(data)
        self.calls = []
        self._extents = extents

    def extents(self):
        return iter(self._extents)

    def read(self, start, length):
        assert start + length <= self.size
        return bytes(self.data[start : start + length])

    def write(self, start, data):
        self.calls.append(('write', start, len(data)))
        self.data[start : start + len(data)] = data

    def zero(self, start, end):
        if start < end:
            self.calls.append(('zero', start, end - start))
            self.data[start:end] = bytes(end - start)

    def flush(self):
        self.calls.append(('flush',))


def copy(source, target):
    return moving.copy(source, target, target.size, lambda: True, lambda _share: None)


@pytest.mark.parametrize(
    'extents',
    [
        (),
        ((0, 64 * KIB),),
        ((512, 1024), (1024, 1536), (5000, 5001), (40 * KIB, 41 * KIB)),
        ((0, 512), (60 * KIB, 64 * KIB)),
        ((64 * KIB - 512, 64 * KIB),),
    ],
)
@pytest.mark.parametrize('more', [0, 8 * KIB])
def test_each_byte_is_written_or_zeroed(extents, more):
    data = bytearray(64 * KIB)
    for start, end in extents:
        data[start:end] = b'x' * (end - start)
    source, target = Memory(bytes(data), extents), Memory(b'?' * (64 * KIB + more))
    copy(source, target)
    assert target.data == data + bytes(more)
    *calls, last = target.calls
    assert last == ('flush',)
    at = 0
    for _kind, start, length in calls:
        assert (start, start % 4096, length % 4096) == (at, 0, 0), 'in order, and of whole blocks'
        at = start + length


def test_an_odd_end_stays_in_the_source():
    data = b'x' * (4096 + 512)
    source, target = Memory(data, ((0, len(data)),)), Memory(b'?' * 8192)
    copy(source, target)
    assert target.data == data + bytes(8192 - len(data))


def test_blocks_of_zeros_are_not_written():
    source, target = Memory(bytes(64 * KIB), ((0, 64 * KIB),)), Memory(b'?' * 64 * KIB)
    digest = copy(source, target)
    assert {kind for kind, *_ in target.calls} == {'zero', 'flush'}
    assert digest != copy(Memory(bytes(64 * KIB)), Memory(bytes(64 * KIB))), 'it is of what was looked at'


def test_what_reads_back_otherwise_is_refused():
    class Liar(Memory):
        def read(self, start, length):
            return super().read(start, length)[:-1] + b'!'

    with pytest.raises(StorageError, match='read back'):
        copy(Memory(b'x' * 4096, ((0, 4096),)), Liar(bytes(4096)))


def test_a_source_that_is_larger_is_refused():
    with pytest.raises(StorageError, match='The source has 8192 bytes'):
        copy(Memory(bytes(8192)), Memory(bytes(4096)))
