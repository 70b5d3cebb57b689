# SPDX-License-Identifier: Apache-2.0
"""Runs inside a compute host: lvm_steps.py VOLUME_GROUP VOLUME_ID takes each step of LvmBackend twice."""

import sys
from pathlib import Path

from multiattach.drivers.backend import GIB, BackendError
from multiattach.drivers.backends.lvm import LvmBackend

SECRET_AT = 100 << 20


def measure(path: str) -> int:
    with open(path, 'rb') as device:
        return device.seek(0, 2)


def main(group: str, volume_id: str) -> None:
    backend = LvmBackend(group)
    backend.check()
    before = backend.capacity()
    path = backend.path(volume_id)
    for _ in range(2):
        backend.create(volume_id, 1)
        assert measure(path) == GIB
    assert before.free_gb - backend.capacity().free_gb == 1
    for place in (0, SECRET_AT):
        with open(path, 'r+b') as device:
            device.seek(place)
            device.write(b'kept')
    backend.create(volume_id, 1)
    for _ in range(2):
        backend.extend(volume_id, 2)
        assert measure(path) == 2 * GIB
    backend.extend(volume_id, 1)
    assert measure(path) == 2 * GIB, 'it shrank'
    with open(path, 'rb') as device:
        assert device.read(4) == b'kept'
    for _ in range(2):
        backend.delete(volume_id)
        assert not Path(path).exists()
    assert backend.capacity() == before
    # The same blocks again: nothing of the volume before may be seen.
    backend.create(volume_id, 1)
    with open(path, 'rb') as device:
        for place in (0, SECRET_AT):
            device.seek(place)
            assert device.read(4) == bytes(4), 'data of a deleted volume'
    backend.delete(volume_id)
    try:
        backend.extend(volume_id, 2)
    except BackendError:
        print('all steps done')
    else:
        raise AssertionError('a volume that is gone was extended')


if __name__ == '__main__':
    main(*sys.argv[1:])
