# SPDX-License-Identifier: Apache-2.0
"""What can be seen without device-mapper; tests/e2e runs it on a real volume group."""

import errno
import json

import pytest

from multiattach.drivers.backend import GIB, BackendError, CopyAborted
from multiattach.drivers.backends import copying
from multiattach.drivers.backends.lvm import LvmBackend


def test_a_volume_group_that_is_not_there_names_the_option():
    with pytest.raises(BackendError, match='volume_group'):
        LvmBackend('no-such-group').check()


def test_the_path_is_the_device():
    assert LvmBackend('vg').path('7b1d') == '/dev/vg/volume-7b1d'


class Group(LvmBackend):
    """Files stand for logical volumes, and what is run is kept."""

    def __init__(self, directory):
        super().__init__('vg')
        self.directory = directory
        self.ran = []

    def _device(self, name):
        return str(self.directory / name)

    def _run(self, program, *args, timeout=0.0):
        if program == 'lvs':
            [name] = [arg.removeprefix('lv_name=') for arg in args if arg.startswith('lv_name=')]
            path = self.directory / name
            rows = [{'lv_size': str(path.stat().st_size)}] if path.exists() else []
            return json.dumps({'report': [{'lv': rows}]})
        self.ran.append((program, *args))
        if program == 'lvcreate':
            size, name = args[args.index('--size') + 1], args[args.index('--name') + 1]
            with (self.directory / name).open('wb') as file:
                file.truncate(int(size.removesuffix('g')) * GIB)
                file.write(b'of another project' if self.dirty else b'')
        elif program == 'lvrename':
            (self.directory / args[1]).rename(self.directory / args[2])
        elif program == 'lvremove':
            (self.directory / args[-1].removeprefix('vg/')).unlink()
        return ''

    dirty = False


def go_on():
    return True


@pytest.fixture
def group(tmp_path, monkeypatch):
    # A GiB of real blocks for each test would take long: the first MiB stands for it.
    monkeypatch.setattr('multiattach.drivers.backends.lvm.copy_device',
                        lambda source, target, size, proceed: copying.copy_device(
                            source, target, 1 << 20 if size == GIB else -1, proceed))
    made = Group(tmp_path)
    made.create('source', 1)
    with open(made.path('source'), 'r+b') as file:
        file.write(b'data')
    made.ran.clear()
    made.dirty = True
    return made


def test_a_clone_has_its_name_only_when_it_is_complete(group, tmp_path):
    for _ in range(2):
        group.clone('clone', 'source', 2, go_on)
        assert (tmp_path / 'volume-clone').open('rb').read(20) == b'data'.ljust(20, b'\0')
        assert (tmp_path / 'volume-clone').stat().st_size == 2 * GIB
    assert group.ran == [
        ('lvcreate', '--yes', '--wipesignatures', 'y', '--zero', 'y', '--size', '2g', '--name', 'draft-clone',
         'vg'),
        ('lvrename', 'vg', 'draft-clone', 'volume-clone')]


def test_a_copy_that_broke_off_is_made_anew_in_the_same_place(group, tmp_path):
    with pytest.raises(CopyAborted):
        group.clone('clone', 'source', 1, lambda: False)
    assert not (tmp_path / 'volume-clone').exists()
    group.clone('clone', 'source', 1, go_on)
    assert (tmp_path / 'volume-clone').open('rb').read(20) == b'data'.ljust(20, b'\0')
    assert [words[0] for words in group.ran] == ['lvcreate', 'lvrename']


def test_half_a_copy_is_zeroed_and_removed_with_the_volume(group, tmp_path):
    with pytest.raises(CopyAborted):
        group.clone('clone', 'source', 1, lambda: False)
    group.ran.clear()
    for _ in range(2):
        group.delete('clone')
    assert group.ran == [('blkdiscard', '--zeroout', str(tmp_path / 'draft-clone')),
                         ('lvremove', '--yes', '--force', 'vg/draft-clone')]


def test_a_source_that_is_gone(group):
    with pytest.raises(BackendError, match='nothing is missing'):
        group.clone('clone', 'nothing', 1, go_on)
    assert group.ran == []


def test_a_disk_that_fails(group, monkeypatch):
    def fail(*_args):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr('multiattach.drivers.backends.lvm.copy_device', fail)
    with pytest.raises(BackendError, match='source cannot be copied: Input/output error'):
        group.clone('clone', 'source', 1, go_on)
