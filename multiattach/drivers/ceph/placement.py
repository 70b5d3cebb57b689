# SPDX-License-Identifier: Apache-2.0
"""In which placement group of a pool an object is: Ceph's ``ceph_str_hash_rjenkins`` and ``ceph_stable_mod``.

A capability for a pool is enough to ask each of its groups something, and no OSD has to be told anything.
"""

import functools

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
_SHIFTS = ((13, 8, 13), (12, 16, 5), (3, 10, 15))  # right, left and right of each round


@functools.lru_cache(maxsize=8)
def cover_groups(count: int) -> tuple[str, ...]:
    """Return names of objects, one in each placement group of a pool, in their order.

    :param count: ``pg_num`` of the pool.
    """
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        name = f'multiattach-probe-{number}'
        found.setdefault(find_group(name, count), name)
        number += 1
    return tuple(found[group] for group in range(count))


def find_group(name: str, count: int) -> int:
    """Return the number of the placement group that an object is in.

    :param count: ``pg_num`` of the pool.
    """
    found, mask = _hash(name.encode()), (1 << (count - 1).bit_length()) - 1
    return found & mask if found & mask < count else found & (mask >> 1)


def _hash(data: bytes) -> int:
    """Return Robert Jenkins' hash of 1996, as Ceph has it."""
    a = b = _GOLDEN
    c = 0
    whole = len(data) // 12 * 12
    for start in range(0, whole, 12):
        words = (int.from_bytes(data[start + at : start + at + 4], 'little') for at in (0, 4, 8))
        a, b, c = _mix(*((old + new) & _MASK for old, new in zip((a, b, c), words, strict=True)))
    rest = data[whole:].ljust(12, b'\0')
    a += int.from_bytes(rest[:4], 'little')
    b += int.from_bytes(rest[4:8], 'little')
    c += len(data) + (int.from_bytes(rest[8:11], 'little') << 8)  # its lowest byte is for the length
    return _mix(a & _MASK, b & _MASK, c & _MASK)[2]


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for right, left, last in _SHIFTS:
        a = ((a - b - c) & _MASK) ^ (c >> right)
        b = ((b - c - a) & _MASK) ^ ((a << left) & _MASK)
        c = ((c - a - b) & _MASK) ^ (b >> last)
    return a, b, c
