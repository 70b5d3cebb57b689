# SPDX-License-Identifier: Apache-2.0
"""What can be seen without device-mapper; tests/e2e runs it on a real volume group."""

import errno
import json
import os

import pytest

from multiattach.drivers.backends import copying
from multiattach.drivers.backends.base import GIB
from multiattach.drivers.backends.lvm import LvmBackend
from multiattach.drivers.errors import ClearAborted, CopyAborted, StorageError


def test_a_volume_group_that_is_not_there_names_the_option():
    with pytest.raises(StorageError, match='volume_group'):
        LvmBackend('no-such-group').check()


def test_the_path_is_the_device():
    assert LvmBackend('vg').path('7b1d') == '/dev/vg/volume-7b1d'


class Group(LvmBackend):
    """Files stand for logical volumes, and what is run is kept."""

    def __init__(self, directory):
        super().__init__('vg')
        self.directory = directory
        self.ran = []
        self.origins = {}
        self.rooms = {}
        self.attributes = {}

    def find_device(self, name):
        return str(self.directory / name)

    def _run(self, program, *args, timeout=0.0):
        if program == 'lvs':
            wanted = [arg.removeprefix('lv_name=') for arg in args if arg.startswith('lv_name=')]
            assert wanted or args[-1] == 'vg'
            rows = [
                {
                    'lv_name': path.name,
                    'lv_size': str(self.rooms.get(path.name, path.stat().st_size)),
                    'lv_attr': self.attributes.get(
                        path.name, 'swi-a-s---' if path.name in self.origins else '-wi-a-----'
                    ),
                    'origin': self.origins.get(path.name, ''),
                }
                for path in sorted(self.directory.iterdir())
                if not wanted or path.name in wanted
            ]
            return json.dumps({'report': [{'lv': rows}]})
        self.ran.append((program, *args))
        if program == 'blkdiscard':
            self.blkdiscard(*args[1:])
        if program == 'lvcreate' and '--snapshot' in args:
            name, origin = args[args.index('--name') + 1], args[-1].removeprefix('vg/')
            with (self.directory / origin).open('rb') as source, (self.directory / name).open('wb') as file:
                file.write(source.read(1 << 20))
                file.truncate((self.directory / origin).stat().st_size)
            self.origins[name] = origin
        elif program == 'lvconvert':
            del self.origins[args[-1].removeprefix('vg/')]
        elif program == 'lvcreate':
            size, name = args[args.index('--size') + 1], args[args.index('--name') + 1]
            with (self.directory / name).open('wb') as file:
                file.truncate(int(size.removesuffix('g')) * GIB)
                file.write(b'of another project' if self.dirty else b'')
        elif program == 'lvrename':
            (self.directory / args[1]).rename(self.directory / args[2])
            renamed = {args[1]: args[2]}
            self.origins = {renamed.get(one, one): renamed.get(of, of) for one, of in self.origins.items()}
        elif program == 'lvremove':
            removed = args[-1].removeprefix('vg/')
            for name in (removed, *(name for name, origin in self.origins.items() if origin == removed)):
                (self.directory / name).unlink()
        return ''

    def blkdiscard(self, _offset, start, _length, length, path):
        if self.is_broken:
            raise StorageError('blkdiscard failed: no such luck')
        with open(path, 'r+b') as file:
            file.seek(int(start))
            file.write(bytes(min(int(length), 100)))

    is_broken = False
    dirty = False


def go_on():
    return True


@pytest.fixture
def group(tmp_path, monkeypatch):
    # A GiB of real blocks for each test would take long: the first MiB stands for it.
    monkeypatch.setattr(
        'multiattach.drivers.backends.lvm.copy_device',
        lambda source, target, size, proceed: copying.copy_device(
            source, target, 1 << 20 if size == GIB else -1, proceed
        ),
    )
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
        ('lvcreate', '--yes', '--wipesignatures', 'y', '--zero', 'y', '--size', '2g', '--name', 'draft-clone', 'vg'),
        ('lvrename', 'vg', 'draft-clone', 'volume-clone'),
    ]


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
        group.discard('clone')
    [trash] = [path.name for path in tmp_path.iterdir() if path.name.startswith('trash-clone.')]
    for _ in range(2):
        group.clear('clone', go_on)
    assert group.ran[0] == ('lvrename', 'vg', 'draft-clone', trash)
    assert group.ran[-1] == ('lvremove', '--yes', '--force', f'vg/{trash}')
    assert [path.name for path in tmp_path.iterdir()] == ['volume-source']
    # Each byte once, in larger and larger pieces: a disk that zeroes by itself is not held up.
    pieces = [(int(words[3]), int(words[5])) for words in group.ran[1:-1]]
    assert [start for start, _ in pieces] == [
        sum(length for _, length in pieces[:number]) for number in range(len(pieces))
    ]
    assert sum(length for _, length in pieces) == GIB
    assert [length >> 20 for _, length in pieces] == [64, 128, 256, 512, 64]
    assert {words[:2] + words[6:] for words in group.ran[1:-1]} == {('blkdiscard', '--zeroout', str(tmp_path / trash))}


def test_a_slow_disk_is_zeroed_in_pieces_of_seconds(group, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr('multiattach.drivers.backends.lvm.time.monotonic', lambda: clock[0])

    def zero(_offset, _start, _length, length, _path):
        clock[0] += int(length) / (17 << 20)  # 17 MiB/s

    monkeypatch.setattr(group, 'blkdiscard', zero)
    group.discard('source')
    group.clear('source', go_on)
    assert {int(words[5]) >> 20 for words in group.ran if words[0] == 'blkdiscard'} == {64}


def test_zeroing_breaks_off_and_is_done_anew(group, tmp_path):
    answers = iter([True, True, False])
    group.discard('source')
    with pytest.raises(ClearAborted):
        group.clear('source', lambda: next(answers))
    [trash] = tmp_path.iterdir()
    assert trash.name.startswith('trash-source.')
    # Its id is free meanwhile.
    group.create('source', 1)
    group.clear('source', go_on)
    assert [path.name for path in tmp_path.iterdir()] == ['volume-source']


def test_zeroing_that_fails_removes_nothing(group, tmp_path):
    group.is_broken = True
    group.discard('source')
    with pytest.raises(StorageError, match='no such luck'):
        group.clear('source', go_on)
    assert [path.name.partition('.')[0] for path in tmp_path.iterdir()] == ['trash-source']


def test_what_a_killed_worker_s_process_still_zeroes_is_left_to_it(group, tmp_path, monkeypatch):
    group.is_broken = True
    group.discard('source')
    real = os.open

    def refuse(path, flags, *more):
        if flags & os.O_EXCL:  # a device that somebody else has open so
            raise OSError(errno.EBUSY, 'Device or resource busy')
        return real(path, flags, *more)

    monkeypatch.setattr('multiattach.drivers.backends.lvm.os.open', refuse)
    with pytest.raises(ClearAborted, match='another process'):
        group.clear('source', go_on)
    assert [path.name.partition('.')[0] for path in tmp_path.iterdir()] == ['trash-source']


def test_a_source_that_is_gone(group):
    with pytest.raises(StorageError, match='nothing is missing'):
        group.clone('clone', 'nothing', 1, go_on)
    assert group.ran == []


def test_a_disk_that_fails(group, monkeypatch):
    def fail(*_args):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr('multiattach.drivers.backends.lvm.copy_device', fail)
    with pytest.raises(StorageError, match='source cannot be copied: Input/output error'):
        group.clone('clone', 'source', 1, go_on)


# Snapshots


def test_a_snapshot_has_room_for_all_of_its_volume_and_is_taken_once(group):
    for _ in range(2):
        group.create_snapshot('s', 'source', go_on)
    words = ('lvcreate', '--yes', '--snapshot', '--extents', '100%ORIGIN', '--name', '_snapshot-s', 'vg/volume-source')
    assert group.ran == [words]
    assert group.list_snapshots() == {'s': 'source'}


def test_what_lvm_left_when_it_was_killed_is_no_snapshot(group, tmp_path):
    """It makes a logical volume of that name first, and a snapshot of it then."""
    (tmp_path / '_snapshot-s').write_bytes(b'')
    with pytest.raises(StorageError, match='missing'):
        group.clone_snapshot('clone', 's', 'source', 1, go_on)
    with pytest.raises(StorageError, match='missing'):
        group.revert('source', 's', go_on)
    group.create_snapshot('s', 'source', go_on)
    assert [words[0] for words in group.ran] == ['lvrename', 'lvcreate']
    assert group.list_snapshots() == {'s': 'source'}


def test_the_blocks_of_a_snapshot_are_zeroed_before_others_get_them(group, tmp_path):
    group.create_snapshot('s', 'source', go_on)
    group.ran.clear()
    for _ in range(2):
        group.delete_snapshot('s', 'source', go_on)
    kinds = [words[0] for words in group.ran]
    assert kinds[:2] == ['lvconvert', 'lvrename']
    assert group.ran[0] == ('lvconvert', '--yes', '--splitsnapshot', 'vg/_snapshot-s')
    assert set(kinds[2:-1]) == {'blkdiscard'}
    assert kinds[-1] == 'lvremove'
    assert [path.name for path in tmp_path.iterdir()] == ['volume-source']


def test_a_volume_with_snapshots_grows_while_nobody_has_it(group):
    group.create_snapshot('s', 'source', go_on)
    group.ran.clear()
    group.extend('source', 2)
    assert [words[:3] for words in group.ran] == [
        ('lvchange', '--activate', 'n'),
        ('lvextend', '--size', '2g'),
        ('lvchange', '--activate', 'y'),
    ]


def test_a_volume_of_a_snapshot_has_its_name_only_when_it_is_complete(group, tmp_path):
    group.create_snapshot('s', 'source', go_on)
    with pytest.raises(CopyAborted):
        group.clone_snapshot('clone', 's', 'source', 1, lambda: False)
    assert not (tmp_path / 'volume-clone').exists()
    group.clone_snapshot('clone', 's', 'source', 1, go_on)
    assert (tmp_path / 'volume-clone').open('rb').read(20) == b'data'.ljust(20, b'\0')


def test_a_revert_writes_what_differs(tmp_path):
    source, target = tmp_path / 'source', tmp_path / 'target'
    data = bytearray(os.urandom(9 << 20))
    source.write_bytes(data)
    data[5 << 20] ^= 1
    target.write_bytes(data)
    with source.open('rb') as reader, target.open('r+b') as writer:
        copying.restore_device(reader.fileno(), writer.fileno(), 9 << 20, go_on)
        with pytest.raises(CopyAborted):
            copying.restore_device(reader.fileno(), writer.fileno(), 9 << 20, lambda: False)
    assert source.read_bytes() == target.read_bytes()


@pytest.fixture
def by_hand(group):
    """A volume, and a snapshot of it that somebody made."""
    group.create('v', 1)
    group.create('w', 1)
    group._run('lvcreate', '--snapshot', '--name', 'by_hand', 'vg/volume-v')
    return group


def test_a_snapshot_that_somebody_made_is_taken_over_once(by_hand):
    snapshots = by_hand.manageable_snapshots
    [found] = snapshots.list()
    assert (found.name, found.size, found.obstacle, found.origin) == ('by_hand', GIB, '', 'volume-v')
    with pytest.raises(StorageError, match='There is no'):
        snapshots.take('s', 'w', 'by_hand')
    for _ in range(2):
        snapshots.take('s', 'v', 'by_hand')
    assert by_hand.list_snapshots() == {'s': 'v'}
    by_hand._run('lvcreate', '--snapshot', '--name', 'by_hand', 'vg/volume-v')
    with pytest.raises(StorageError, match='already'):
        snapshots.take('s', 'v', 'by_hand')
    with pytest.raises(StorageError, match='There is no'):
        snapshots.take('t', 'v', 'volume-w')


@pytest.mark.parametrize(
    ('attributes', 'room', 'obstacle'),
    [
        ('Swi-a-s---', GIB, 'being merged'),
        ('swi-I-s---', GIB, 'lost to writes'),
        ('swi---s---', GIB, 'not active'),
        ('swi-aos---', GIB, 'in use'),
        ('swi-a-s---', GIB - 1, 'less room'),
    ],
)
def test_a_snapshot_that_cannot_be_taken_over(by_hand, attributes, room, obstacle):
    by_hand.attributes['by_hand'], by_hand.rooms['by_hand'] = attributes, room
    assert obstacle in by_hand.manageable_snapshots.find('v', 'by_hand').obstacle
    with pytest.raises(StorageError, match=obstacle):
        by_hand.manageable_snapshots.take('s', 'v', 'by_hand')
    assert by_hand.list_snapshots() == {}


def test_a_volume_with_snapshots_of_others_is_not_discarded(by_hand):
    """lvremove would take them along."""
    with pytest.raises(StorageError, match='does not manage'):
        by_hand.discard('v')
    assert (by_hand.directory / 'volume-v').exists()
    by_hand.manageable_snapshots.take('s', 'v', 'by_hand')
    by_hand.delete_snapshot('s', 'v', lambda: True)
    by_hand.discard('v')
    assert not (by_hand.directory / 'volume-v').exists()


def test_a_volume_with_snapshots_of_others_is_not_replaced(by_hand):
    with by_hand.imports.open('v', 1, go_on) as draft, pytest.raises(StorageError, match='does not manage'):
        draft.adopt()
    assert (by_hand.directory / 'volume-v').exists()
    by_hand.clear('v', go_on)
    assert (by_hand.directory / 'by_hand').exists()


def test_trash_with_snapshots_of_others_is_kept(by_hand):
    """Somebody gave it that name, or took a snapshot of it since."""
    by_hand.rename('volume-v', 'trash-v.1f')
    before = (by_hand.directory / 'trash-v.1f').read_bytes()
    with pytest.raises(StorageError, match='does not manage'):
        by_hand.clear('v', go_on)
    assert (by_hand.directory / 'trash-v.1f').read_bytes() == before
    assert (by_hand.directory / 'by_hand').exists()
