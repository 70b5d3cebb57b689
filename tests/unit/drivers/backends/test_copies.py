# SPDX-License-Identifier: Apache-2.0
"""Clones of files, with real files; of logical volumes, see test_lvm.py and tests/e2e."""

import errno
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from multiattach.drivers.backends import copying
from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.errors import CopyAborted, StorageError

MIB = 1 << 20
DATA = {0: b'begin', 300 * MIB + 4096: os.urandom(3 * MIB), GIB - 4096: b'end'.ljust(4096, b'.')}
# A process that copies, says so, and goes on for ever.
SLOW = """
import pathlib, sys, time
from multiattach.drivers.backends.file import FileBackend
calls = []
def proceed():
    calls.append(1)
    if len(calls) == 2:
        print('half', flush=True)
        time.sleep(600)
    return True
FileBackend(pathlib.Path(sys.argv[1])).clone('clone', 'source', 2, proceed)
"""


def go_on() -> bool:
    return True


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / 'volumes'


@pytest.fixture
def backend(directory: pathlib.Path) -> FileBackend:
    made = FileBackend(directory)
    made.check()
    made.create('source', 1)
    with open(made.path('source'), 'r+b') as file:
        for place, data in DATA.items():
            file.seek(place)
            file.write(data)
    return made


def check_clone(path: pathlib.Path, size_gb: int) -> None:
    with path.open('rb') as file:
        for place, data in DATA.items():
            assert os.pread(file.fileno(), len(data), place) == data
        assert os.pread(file.fileno(), MIB, 100 * MIB) == bytes(MIB)
        if size_gb > 1:
            assert os.pread(file.fileno(), MIB, GIB) == bytes(MIB)
    found = path.stat()
    assert found.st_size == size_gb * GIB
    assert found.st_blocks * 512 < 20 * MIB, 'holes were filled'
    assert found.st_mode & 0o777 == 0o600


def refuse(*_args: object) -> int:
    raise OSError(errno.EOPNOTSUPP, 'not supported')


@pytest.mark.parametrize('missing', [(), ('ioctl',), ('ioctl', 'copy_file_range')])
@pytest.mark.parametrize('size', [1, 2])
def test_a_clone_has_the_data_the_holes_and_its_own_size(
    backend: FileBackend, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch, size: int, missing: tuple[str, ...]
) -> None:
    for name in missing:
        monkeypatch.setattr(copying.fcntl if name == 'ioctl' else os, name, refuse)
    for _ in range(2):
        backend.clone('clone', 'source', size, go_on)
        check_clone(directory / 'volume-clone', size)
    check_clone(directory / 'volume-source', 1)
    assert {path.name for path in directory.iterdir()} == {'volume-source', 'volume-clone'}


def test_a_clone_is_independent_of_its_source(backend: FileBackend, directory: pathlib.Path) -> None:
    backend.clone('clone', 'source', 1, go_on)
    with open(backend.path('source'), 'r+b') as file:
        file.write(b'later')
    backend.discard('source')
    backend.clear('source', lambda: True)
    check_clone(directory / 'volume-clone', 1)


def test_a_clone_that_is_there_is_not_made_again(backend: FileBackend, directory: pathlib.Path) -> None:
    backend.clone('clone', 'source', 1, go_on)
    with open(backend.path('clone'), 'r+b') as file:
        file.write(b'of the user')
    backend.clone('clone', 'source', 1, go_on)
    assert (directory / 'volume-clone').open('rb').read(11) == b'of the user'


def test_killed_in_the_middle(backend: FileBackend, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying.fcntl, 'ioctl', refuse)  # for the second try; SLOW has its own way
    code = f'import fcntl\ndef ioctl(*_args): raise OSError({errno.EOPNOTSUPP}, "")\nfcntl.ioctl = ioctl\n'
    with subprocess.Popen([sys.executable, '-c', code + SLOW, str(directory)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b'half\n'
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (directory / 'volume-clone').exists(), 'half a copy has the name of the volume'
    draft = directory / 'draft-clone'
    assert draft.exists()
    # What is in there is not trusted.
    with draft.open('r+b') as file:
        file.seek(100 * MIB)
        file.write(b'stale')
    backend.clone('clone', 'source', 2, go_on)
    check_clone(directory / 'volume-clone', 2)
    assert not draft.exists()


def test_given_up(backend: FileBackend, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying.fcntl, 'ioctl', refuse)
    with pytest.raises(CopyAborted):
        backend.clone('clone', 'source', 1, lambda: False)
    assert [path.name for path in directory.iterdir()] == ['volume-source']


def test_half_a_copy_goes_with_the_volume(backend: FileBackend, directory: pathlib.Path) -> None:
    (directory / 'draft-clone').touch()
    backend.discard('clone')
    backend.clear('clone', lambda: True)
    assert [path.name for path in directory.iterdir()] == ['volume-source']


def test_a_full_file_system_is_an_error_and_is_not_left_full(
    backend: FileBackend, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(copying.fcntl, 'ioctl', refuse)
    monkeypatch.setattr(os, 'copy_file_range', fill)
    with pytest.raises(StorageError, match='source cannot be copied: No space left'):
        backend.clone('clone', 'source', 1, go_on)
    assert [path.name for path in directory.iterdir()] == ['volume-source']


def test_a_source_that_is_gone(backend: FileBackend) -> None:
    with pytest.raises(StorageError, match='nothing cannot be copied'):
        backend.clone('clone', 'nothing', 1, go_on)


def test_who_lost_the_draft_does_not_publish_that_of_another(
    backend: FileBackend, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying.fcntl, 'ioctl', refuse)

    def interfere() -> bool:
        (directory / 'draft-clone').unlink(missing_ok=True)
        (directory / 'draft-clone').write_bytes(b'half')
        return True

    with pytest.raises(CopyAborted):
        backend.clone('clone', 'source', 1, interfere)
    assert not (directory / 'volume-clone').exists()
    assert (directory / 'draft-clone').read_bytes() == b'half', 'it is for the other to rename'


@pytest.mark.parametrize('flags', [0, os.O_DIRECT])
def test_devices_are_copied_whole(tmp_path: pathlib.Path, flags: int) -> None:
    """A regular file stands for each; what is in the target is overwritten with zeros, too."""
    size = copying._PIECE + copying._BUFFER + 8192
    source, target = tmp_path / 'source', tmp_path / 'target'
    with source.open('wb') as file:
        file.truncate(size)
        for place in (0, copying._BUFFER - 3, size - 5):
            file.seek(place)
            file.write(b'bytes')
    target.write_bytes(b'\xff' * (size + 4096))
    asked = []
    reader, writer = os.open(source, os.O_RDONLY | flags), os.open(target, os.O_WRONLY | flags)
    try:
        copying.copy_device(reader, writer, size, lambda: not asked.append(1))
    finally:
        os.close(reader)
        os.close(writer)
    assert target.read_bytes() == source.read_bytes() + b'\xff' * 4096
    assert len(asked) == 2
