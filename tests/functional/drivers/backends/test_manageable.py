# SPDX-License-Identifier: Apache-2.0
"""Storage that is there and may become a volume, in each kind of store; and what tricks a folder could play."""

import os
import pathlib
import subprocess
import sys
import uuid

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.backends.manageable import find_snapshot
from multiattach.drivers.errors import StorageError

# A signal that nobody expects ends a process: so it is one of its own.
_LOOK = """
import pathlib, sys, threading, time
from multiattach.drivers.backends.file_manageable import ManageableFiles
folder = pathlib.Path(sys.argv[1])
stop = time.monotonic() + 2
def read():
    while time.monotonic() < stop:
        (folder / 'there').read_bytes()
for _ in range(2):
    threading.Thread(target=read).start()
found = ManageableFiles(folder)
reasons = set()
while time.monotonic() < stop:
    reasons.add(found.find('there').obstacle)
assert reasons <= {'', 'it is in use', 'it is in use: a process has it open'}, reasons
"""


def test_who_opens_a_file_that_is_looked_at_ends_nobody(tmp_path):
    (tmp_path / 'there').write_bytes(bytes(4096))
    subprocess.run([sys.executable, '-W', 'ignore', '-c', _LOOK, tmp_path], check=True, timeout=60)


@pytest.mark.parametrize('name', [b'no utf\xff', b'two\nlines'])
def test_names_that_no_request_can_have_are_not_shown(tmp_path, name):
    with open(os.path.join(os.fsencode(tmp_path), name), 'wb') as file:
        file.write(bytes(4096))
    assert names(FileBackend(tmp_path)) == []


def names(backend):
    return [one.name for one in backend.manageable.list()]


@pytest.mark.every_store
def test_storage_is_taken_over_once(store):
    first, second, third = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
    backend = store.backend
    backend.create(first, 1)
    store.write(first, 4096, b'data')
    assert names(backend) == [f'volume-{first}']
    found = backend.manageable.find(f'volume-{first}')
    assert (found.size, found.obstacle) == (GIB, '')
    for _ in range(2):
        backend.manageable.take(second, f'volume-{first}')
    assert names(backend) == [f'volume-{second}']
    assert store.read(second, 4096, 4) == b'data'
    with pytest.raises(StorageError, match='There is no'):
        backend.manageable.take(third, f'volume-{first}')
    backend.create(first, 1)
    with pytest.raises(StorageError, match='already'):
        backend.manageable.take(second, f'volume-{first}')
    assert sorted(names(backend)) == [f'volume-{first}', f'volume-{second}']
    assert store.read(second, 4096, 4) == b'data'
    for ident in (first, second):
        backend.discard(ident)
    assert names(backend) == []


@pytest.mark.every_store
@pytest.mark.parametrize(
    'name',
    ['', '.', '..', '../x', 'a/b', '/etc/passwd', '-n', 'x\n', 'x' * 300, '\0', 'draft-1', 'trash-1.2', 'é' * 200],
)
def test_a_name_that_is_none(store, name):
    with pytest.raises(StorageError, match='There is no'):
        store.backend.manageable.find(name)
    with pytest.raises(StorageError, match='There is no'):
        store.backend.manageable.take(str(uuid.UUID(int=1)), name)
    assert store.names() == []


def go_on():
    return True


@pytest.mark.every_store
def test_a_snapshot_is_taken_over_once(store):
    volume, other, first, second = (str(uuid.UUID(int=number)) for number in range(1, 5))
    backend, snapshots = store.backend, store.backend.manageable_snapshots
    backend.create(volume, 1)
    backend.create(other, 2)
    store.write(volume, 4096, b'data')
    backend.create_snapshot(first, volume, go_on)
    store.write(volume, 4096, b'more')
    [found] = snapshots.list()
    assert (found.size, found.obstacle, find_snapshot(found.name)) == (GIB, '', first)
    assert found.origin in (f'volume-{volume}', None)
    assert snapshots.find(volume, found.name).obstacle == ''
    for _ in range(2):
        snapshots.take(second, volume, found.name)
    assert [find_snapshot(one.name) for one in snapshots.list()] == [second]
    with pytest.raises(StorageError, match='There is no'):
        snapshots.take(first, volume, found.name)
    backend.create_snapshot(first, volume, go_on)
    with pytest.raises(StorageError, match='already'):
        snapshots.take(second, volume, found.name)
    backend.delete_snapshot(first, volume, go_on)
    backend.clone_snapshot(first, second, volume, 1, go_on)
    assert store.read(first, 4096, 4) == b'data'
    backend.extend(volume, 2)
    [kept] = snapshots.list()
    assert snapshots.find(volume, kept.name).obstacle == ''
    backend.delete_snapshot(second, volume, go_on)
    assert snapshots.list() == []
    for ident in (volume, other, first):
        backend.discard(ident)


@pytest.mark.every_store
@pytest.mark.parametrize('name', ['', '.', '../x', '/etc/passwd', 'snapshot-/x', 'snapshot-\0', '-n', 'x' * 300])
def test_a_name_of_a_snapshot_that_is_none(store, name):
    volume = str(uuid.UUID(int=1))
    store.make(volume, store.grain)
    with pytest.raises(StorageError, match='There is no'):
        store.backend.manageable_snapshots.find(volume, name)
    with pytest.raises(StorageError, match='There is no'):
        store.backend.manageable_snapshots.take(str(uuid.UUID(int=2)), volume, name)
    store.backend.discard(volume)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / 'volumes'
    made.mkdir()
    return made


@pytest.fixture
def files(folder):
    return FileBackend(folder).manageable


def make(path: pathlib.Path, size: int = 4096) -> pathlib.Path:
    with path.open('wb') as file:
        file.truncate(size)
    return path


def look(files):
    return {one.name: one.obstacle for one in files.list()}


def test_what_a_folder_has(files, folder, tmp_path):
    make(folder / 'good')
    make(folder / '.hidden')
    make(folder / 'draft-x')
    make(folder / 'empty', 0)
    make(folder / 'odd', 4097)
    (folder / 'folder').mkdir()
    os.mkfifo(folder / 'pipe')
    make(tmp_path / 'elsewhere')
    (folder / 'link').symlink_to(tmp_path / 'elsewhere')
    (folder / 'dangling').symlink_to('nowhere')
    os.link(tmp_path / 'elsewhere', folder / 'twice')
    assert look(files) == {
        'good': '',
        'empty': 'it is empty',
        'odd': 'its size is no multiple of 512 bytes',
        'link': 'it is a symbolic link',
        'dangling': 'it is a symbolic link',
        'twice': 'it has more names than this one (hard links)',
    }
    for name in ('empty', 'odd', 'link', 'dangling', 'twice'):
        with pytest.raises(StorageError, match='cannot be managed'):
            files.take(str(uuid.uuid4()), name)
    for name in ('folder', 'pipe', '.hidden', 'draft-x'):
        with pytest.raises(StorageError, match='There is no'):
            files.take(str(uuid.uuid4()), name)
    assert (tmp_path / 'elsewhere').stat().st_size == 4096


@pytest.mark.parametrize('mode', ['rb', 'r+b'])
def test_a_file_that_somebody_has_open(files, folder, mode):
    with make(folder / 'used').open(mode):
        assert look(files) == {'used': 'it is in use: a process has it open'}
        with pytest.raises(StorageError, match='in use'):
            files.take(str(uuid.uuid4()), 'used')
    assert look(files) == {'used': ''}


def test_a_crash_between_two_names(files, folder):
    """Both names are of one file: the old one goes."""
    ident = str(uuid.uuid4())
    os.link(make(folder / 'there'), folder / f'volume-{ident}')
    files.take(ident, 'there')
    assert [path.name for path in folder.iterdir()] == [f'volume-{ident}']
    assert (folder / f'volume-{ident}').stat().st_mode & 0o777 == 0o600


def test_another_file_is_never_replaced(files, folder):
    ident = str(uuid.uuid4())
    make(folder / 'there', 8192)
    make(folder / f'volume-{ident}')
    with pytest.raises(StorageError, match='already'):
        files.take(ident, 'there')
    assert {path.stat().st_size for path in folder.iterdir()} == {4096, 8192}


def test_what_cannot_become_a_snapshot(folder, tmp_path):
    volume, ident = (str(uuid.UUID(int=number)) for number in (1, 2))
    snapshots = FileBackend(folder).manageable_snapshots
    make(folder / f'volume-{volume}', 2 * GIB + 512)
    make(folder / 'volume-other', 2 * GIB + 512)
    make(folder / 'snapshot-same', 2 * GIB + 512)
    make(folder / 'snapshot-before', GIB)
    make(folder / 'snapshot-larger', 3 * GIB)
    make(folder / 'snapshot-odd', GIB + 512)
    make(folder / 'snapshot-empty', 0)
    (folder / 'snapshot-folder').mkdir()
    (folder / 'snapshot-link').symlink_to(folder / 'snapshot-same')
    os.link(make(tmp_path / 'elsewhere', GIB), folder / 'snapshot-twice')
    obstacles = {one.name: snapshots.find(volume, one.name).obstacle for one in snapshots.list()}
    assert {name for name, obstacle in obstacles.items() if not obstacle} == {'snapshot-same', 'snapshot-before'}
    for name in ('larger', 'odd', 'empty', 'link', 'twice'):
        assert obstacles[f'snapshot-{name}']
        with pytest.raises(StorageError, match='cannot be managed'):
            snapshots.take(ident, volume, f'snapshot-{name}')
    for name in ('snapshot-folder', 'volume-other', f'volume-{volume}'):
        with pytest.raises(StorageError, match='There is no'):
            snapshots.take(ident, volume, name)
    with (folder / 'snapshot-same').open('rb'), pytest.raises(StorageError, match='in use'):
        snapshots.take(ident, volume, 'snapshot-same')
    with pytest.raises(StorageError, match='cannot be read'):
        snapshots.find(ident, 'snapshot-same')
    assert not (folder / f'snapshot-{ident}').exists()
