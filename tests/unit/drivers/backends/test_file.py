# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.errors import ClearAborted, StorageError


@pytest.fixture
def backend(tmp_path):
    made = FileBackend(tmp_path / 'volumes')
    made.check()
    return made


def test_every_step_twice(backend, tmp_path):
    path = tmp_path / 'volumes' / 'volume-v'
    backend.create('v', 1)
    path.open('r+b').write(b'data')
    backend.create('v', 1)
    assert path.open('rb').read(4) == b'data'
    backend.extend('v', 2)
    backend.extend('v', 2)
    assert (path.stat().st_size, path.open('rb').read(4)) == (2 * GIB, b'data')
    backend.extend('v', 1)
    assert path.stat().st_size == 2 * GIB, 'it never shrinks'
    assert backend.path('v') == str(path)
    for _ in range(2):
        backend.discard('v')
        assert not path.exists()
    assert [one.name.partition('.')[0] for one in path.parent.iterdir()] == ['trash-v']
    for _ in range(2):
        backend.clear('v', lambda: True)
    assert list(path.parent.iterdir()) == []


def test_a_volume_of_the_same_id_can_be_made_while_there_is_trash(backend):
    for _ in range(2):
        backend.create('v', 1)
        backend.discard('v')
    backend.create('v', 1)
    backend.create('v-2', 1)
    backend.discard('v-2')
    with pytest.raises(ClearAborted):
        backend.clear('v', lambda: False)
    backend.clear('v', lambda: True)
    folder = pathlib.Path(backend.path('v')).parent
    assert sorted(one.name.rpartition('.')[0] or one.name for one in folder.iterdir()) == ['trash-v-2', 'volume-v']


def test_a_creation_that_broke_off_is_completed(backend, tmp_path):
    (tmp_path / 'volumes' / 'volume-v').touch()
    backend.create('v', 1)
    assert (tmp_path / 'volumes' / 'volume-v').stat().st_size == GIB


def test_refusals_say_why(backend, tmp_path):
    with pytest.raises(StorageError, match='missing'):
        backend.extend('nothing', 1)
    (tmp_path / 'file').touch()
    with pytest.raises(StorageError, match='directory'):
        FileBackend(tmp_path / 'file' / 'x').check()


def test_capacity_is_the_file_systems(backend):
    room = backend.capacity()
    assert room.total_gb >= room.free_gb > 0
