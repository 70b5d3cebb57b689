# SPDX-License-Identifier: Apache-2.0
"""Runs inside a compute host: lvm_steps.py VOLUME_GROUP VOLUME_ID takes each step of LvmBackend twice."""

import os
import sys
from pathlib import Path

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.lvm import LvmBackend
from multiattach.drivers.errors import ClearAborted, CopyAborted, StorageError

SECRET_AT = 100 << 20


def measure(path: str) -> int:
    with open(path, 'rb') as device:
        return device.seek(0, 2)


def check_clone(backend: LvmBackend, source_id: str) -> None:
    """Clones a volume of 1 GiB with data in two places; the first try is broken off."""
    clone_id = f'{source_id[:-4]}c10e'
    asked: list[int] = []
    try:
        backend.clone(clone_id, source_id, 2, lambda: not asked.append(1) and len(asked) < 3)
    except CopyAborted:
        assert not Path(backend.path(clone_id)).exists(), 'half a copy has the name of the volume'
    else:
        raise AssertionError('the copy went on')
    for _ in range(2):
        backend.clone(clone_id, source_id, 2, lambda: True)
    with open(backend.path(source_id), 'rb') as source, open(backend.path(clone_id), 'rb') as clone:
        for place in range(0, GIB, 64 << 20):
            source.seek(place)
            clone.seek(place)
            assert source.read(8 << 20) == clone.read(8 << 20), f'it differs at {place}'
    assert measure(backend.path(clone_id)) == 2 * GIB
    for _ in range(2):
        delete(backend, clone_id)
    # Half a copy has data, too.
    asked.clear()
    try:
        backend.clone(clone_id, source_id, 1, lambda: not asked.append(1) and len(asked) < 3)
    except CopyAborted:
        delete(backend, clone_id)


def delete(backend: LvmBackend, volume_id: str) -> None:
    backend.discard(volume_id)
    assert not Path(backend.path(volume_id)).exists()
    backend.clear(volume_id, lambda: True)


def check_trash(backend: LvmBackend, volume_id: str) -> None:
    """A volume of the same id is made while there is trash; zeroing is broken off, and done anew."""
    before = backend.capacity()
    backend.create(volume_id, 1)
    with open(backend.path(volume_id), 'r+b') as device:
        device.write(b'old')
    backend.discard(volume_id)
    assert backend.capacity().free_gb == before.free_gb - 1, 'the room was given away before it was zeroed'
    backend.create(volume_id, 1)
    answers = iter([True, True, False])
    try:
        backend.clear(volume_id, lambda: next(answers))
    except ClearAborted:
        assert backend.capacity().free_gb == before.free_gb - 2
    else:
        raise AssertionError('the zeroing went on')
    backend.clear(volume_id, lambda: True)
    assert Path(backend.path(volume_id)).exists(), 'the new volume went with the old one'
    # Somebody has it open exclusively: a process of a worker that was killed.
    with open(backend.path(volume_id), 'rb', opener=lambda path, flags: os.open(path, flags | os.O_EXCL)):
        backend.discard(volume_id)
        try:
            backend.clear(volume_id, lambda: True)
        except ClearAborted:
            pass
        else:
            raise AssertionError('it was zeroed under the feet of another one')
    delete(backend, volume_id)
    assert backend.capacity() == before


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
    check_clone(backend, volume_id)
    for _ in range(2):
        backend.extend(volume_id, 2)
        assert measure(path) == 2 * GIB
    backend.extend(volume_id, 1)
    assert measure(path) == 2 * GIB, 'it shrank'
    with open(path, 'rb') as device:
        assert device.read(4) == b'kept'
    for _ in range(2):
        delete(backend, volume_id)
    assert backend.capacity() == before
    # The same blocks again: nothing of the volume before may be seen.
    backend.create(volume_id, 1)
    with open(path, 'rb') as device:
        for place in (0, SECRET_AT):
            device.seek(place)
            assert device.read(4) == bytes(4), 'data of a deleted volume'
    delete(backend, volume_id)
    check_trash(backend, volume_id)
    try:
        backend.extend(volume_id, 2)
    except StorageError:
        print('all steps done')
    else:
        raise AssertionError('a volume that is gone was extended')


if __name__ == '__main__':
    main(*sys.argv[1:])
