# SPDX-License-Identifier: Apache-2.0
"""Copies from and to each kind of store."""

import hashlib
import os
import uuid

import pytest

from multiattach.drivers.backends import moving
from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.backends.names import Stored
from multiattach.drivers.errors import CopyAborted, StorageError

pytestmark = pytest.mark.every_store

MIB = 1 << 20
IDENT = str(uuid.UUID(int=7))
# At the begin, across a piece, one block alone, and at the end.
DATA = {
    0: os.urandom(4096),
    8 * MIB - 8192: os.urandom(16384),
    100 * MIB: os.urandom(512) + bytes(3584),
    GIB - 4096: b'end'.ljust(4096, b'.'),
}


@pytest.fixture
def folder(tmp_path):
    backend = FileBackend(tmp_path / 'files')
    backend.check()
    return backend


def copy(source, target, size_gb=1, proceed=lambda: True):
    with source.movable.open_reader(IDENT) as reader, target.movable.open_draft(IDENT, size_gb) as draft:
        return moving.copy(reader, draft, size_gb * GIB, proceed, lambda _share: None)


def write_all(path):
    with open(path, 'r+b') as file:
        for place, data in DATA.items():
            file.seek(place)
            file.write(data)


def digest(path):
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while piece := file.read(MIB):
            found.update(piece)
    return found.hexdigest()


def test_there_and_back(store, folder):
    folder.create(IDENT, 1)
    write_all(folder.path(IDENT))
    before = digest(folder.path(IDENT))
    copy(folder, store.backend)
    assert store.names() == [f'draft-{IDENT}']
    assert store.backend.list_storage() == Stored(frozenset(), frozenset({IDENT}))
    for _ in range(2):
        store.backend.movable.adopt(IDENT)
    assert store.names() == [f'volume-{IDENT}']
    assert store.backend.list_storage() == Stored(frozenset({IDENT}), frozenset())
    assert store.size(IDENT) == GIB
    for place, data in DATA.items():
        assert store.read(IDENT, place, len(data)) == data
    assert store.read(IDENT, 200 * MIB, MIB) == bytes(MIB)
    folder.discard(IDENT)
    copy(store.backend, folder)
    folder.movable.adopt(IDENT)
    assert digest(folder.path(IDENT)) == before
    assert os.stat(folder.path(IDENT)).st_blocks * 512 < 64 * MIB, 'zeros are not written'
    store.backend.discard(IDENT)
    assert store.backend.list_storage() == Stored(frozenset(), frozenset({IDENT}))
    store.backend.clear(IDENT, lambda: True)
    assert store.names() == []


@pytest.mark.slow
def test_a_draft_is_made_anew_and_dropped(store, folder):
    folder.create(IDENT, 1)
    write_all(folder.path(IDENT))
    answers = iter([True, True])
    with pytest.raises(CopyAborted):
        copy(folder, store.backend, proceed=lambda: next(answers, False))
    assert store.names() == [f'draft-{IDENT}']
    copy(folder, store.backend)
    for _ in range(2):
        store.backend.movable.drop_draft(IDENT)
    assert {name.partition('-')[0] for name in store.names()} <= {'trash'}
    store.backend.clear(IDENT, lambda: True)
    assert store.names() == []
    with pytest.raises(StorageError, match='missing'):
        store.backend.movable.adopt(IDENT)


def test_storage_of_the_name_is_never_replaced(store, folder):
    folder.create(IDENT, 1)
    store.backend.create(IDENT, 1)
    store.write(IDENT, 0, b'mine')
    with pytest.raises(StorageError, match='already'):
        copy(folder, store.backend)
    assert store.names() == [f'volume-{IDENT}']
    store.backend.discard(IDENT)
    store.backend.clear(IDENT, lambda: True)
    copy(folder, store.backend)
    store.backend.create(IDENT, 1)
    store.write(IDENT, 0, b'mine')
    with pytest.raises(StorageError, match='already'):
        store.backend.movable.adopt(IDENT)
    assert store.read(IDENT, 0, 4) == b'mine'
    store.backend.discard(IDENT)
    store.backend.clear(IDENT, lambda: True)


@pytest.mark.slow
def test_a_larger_destination_reads_as_zeros(store, folder):
    folder.create(IDENT, 1)
    write_all(folder.path(IDENT))
    copy(folder, store.backend, 2)
    store.backend.movable.adopt(IDENT)
    assert store.size(IDENT) == 2 * GIB
    assert store.read(IDENT, GIB, MIB) == bytes(MIB)
    assert store.read(IDENT, GIB - 4096, 3) == b'end'
    with pytest.raises(StorageError, match='The source has'):
        copy(store.backend, folder_of(folder), 1)
    store.backend.discard(IDENT)
    store.backend.clear(IDENT, lambda: True)


def folder_of(folder):
    folder.discard(IDENT)
    return folder
