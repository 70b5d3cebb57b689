# SPDX-License-Identifier: Apache-2.0
import dataclasses
import errno
import os
import stat
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetFull, TargetRequestInvalid
from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.tgt import config_file
from multiattach.drivers.targets.tgt.config_file import TargetFile

ONE = Grant('iqn.x:one', 'user1', 'secretsecret1234')
TWO = Grant('iqn.x:two', 'user2', 'secretsecret5678')
FILE = TargetFile('iqn.y:v', '/dev/vg/v', 1, True, 'a' * 32, 'volume-a', (ONE, TWO))


def test_text() -> None:
    assert config_file.render(FILE) == (
        '<target iqn.y:v>\n'
        '  driver iscsi\n'
        '  initiator-address 255.255.255.255\n'
        '  <backing-store /dev/vg/v>\n'
        '    lun 1\n'
        '    bs-type rdwr\n'
        '    allow-in-use yes\n'
        '    write-cache on\n'
        '    scsi_id aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n'
        '    scsi_sn volume-a\n'
        '  </backing-store>\n'
        '  initiator-name iqn.x:one\n'
        '  incominguser user1 secretsecret1234\n'
        '  initiator-name iqn.x:two\n'
        '  incominguser user2 secretsecret5678\n'
        '</target>\n'
    )


def test_an_account_of_several() -> None:
    """tgt-admin makes each account that it reads, and cannot make one twice."""
    twin = Grant('iqn.x:twin', ONE.username, ONE.secret)
    text = config_file.render(dataclasses.replace(FILE, grants=(ONE, TWO, twin)))
    assert text.count('\n  incominguser user1 ') == 1
    assert config_file.parse_grants(text) == (ONE, TWO, twin)
    left = config_file.replace_grants(text, config_file.without_grant((ONE, TWO, twin), ONE.initiator, ''))
    assert left.count('\n  incominguser user1 ') == 1
    assert config_file.parse_grants(left) == (TWO, twin)
    assert config_file.with_grant((ONE, twin), ONE) == (twin, ONE)


def test_options() -> None:
    text = config_file.render(dataclasses.replace(FILE, write_cache=False))
    assert '    write-cache off\n' in text


def test_an_image() -> None:
    image = dataclasses.replace(FILE, device='rbd:volumes/v:id=u:conf=/c')
    lines = [line.strip() for line in config_file.render(image).splitlines()]
    # Once for the target: tgt-admin looks there whether the path is that of a file.
    assert lines.index('bs-type rbd') < lines.index('<backing-store volumes/v>')
    assert 'bsopts "\'id=u;conf=/c\'"' in lines


def test_grants_are_read_back_and_replaced() -> None:
    text = config_file.render(FILE)
    assert config_file.parse_grants(text) == (ONE, TWO)
    assert config_file.replace_grants(text, (TWO,)) == config_file.render(dataclasses.replace(FILE, grants=(TWO,)))
    nobody = config_file.replace_grants(text, ())
    assert config_file.parse_grants(nobody) == ()
    assert '255.255.255.255' in nobody


def test_grants_by_initiator() -> None:
    newer = Grant(ONE.initiator, 'user1', 'newsecret1234567')
    assert config_file.with_grant((ONE, TWO), newer) == (TWO, newer)
    assert config_file.without_grant((ONE, TWO), ONE.initiator, ONE.username) == (TWO,)


@pytest.mark.parametrize(
    'change',
    [
        {'device': '/dev/vg/a b'},
        {'device': '/dev/vg/a>'},
        {'device': '/dev/vg/a#b'},
        {'grants': (Grant('iqn.x:one\n</target>', 'u', 's' * 16),)},
        {'grants': (Grant('iqn.x:one', 'u v', 's' * 16),)},
        {'grants': (Grant('iqn.x:one', 'u', 's\nx'),)},
        {'grants': (Grant('iqn.x:one', 'u', 's#x'),)},
    ],
)
def test_what_would_break_the_file_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(TargetRequestInvalid):
        config_file.render(dataclasses.replace(FILE, **change))  # type: ignore[arg-type]


def test_written_whole_private_and_removed(tmp_path: Path) -> None:
    path = tmp_path / 'targets' / 'volume-a'
    assert config_file.read(path) is None
    config_file.write(path, 'one\n')
    config_file.write(path, 'two\n')
    assert config_file.read(path) == 'two\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    config_file.remove(path)
    config_file.remove(path)
    assert list(path.parent.iterdir()) == []


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'volume-a'
    config_file.write(path, 'old\n')

    def fail(*_: object) -> None:
        raise OSError('disk full')

    monkeypatch.setattr('os.fdatasync', fail)
    with pytest.raises(OSError, match='disk full'):
        config_file.write(path, 'new\n')
    assert config_file.read(path) == 'old\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('number', 'kind'), [(errno.ENOSPC, TargetFull), (errno.EDQUOT, TargetFull), (errno.EIO, OSError)]
)
def test_a_full_disk_is_told_from_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, 'no')

    path = tmp_path / 'volume-x'
    config_file.write(path, 'old')
    monkeypatch.setattr(os, 'fdatasync', fail)
    with pytest.raises(kind):
        config_file.write(path, 'new')
    assert [one.name for one in tmp_path.iterdir()] == ['volume-x']
    assert path.read_text() == 'old'


def test_what_a_killed_worker_left_of_a_file_goes_with_the_next_step(tmp_path):
    """It holds a secret, so nobody may have to look for it."""
    path = tmp_path / 'volume-x'
    draft = tmp_path / '.volume-x.new'
    draft.write_text('the half of a file')
    config_file.write(path, 'whole')
    assert [p.name for p in tmp_path.iterdir()] == ['volume-x']
    assert path.stat().st_mode & 0o777 == 0o600
    draft.write_text('the half of a file')
    config_file.remove(path)
    config_file.remove(path)
    assert list(tmp_path.iterdir()) == []
