# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from multiattach.drivers.connectors import identity
from multiattach.drivers.errors import WrongDevice

VOLUME = 'f3a1b2c3-d4e5-4f60-8718-293a4b5c6d7e'
NAME = '63a1b2c3d4e54f608718293a4b5c6d7e'
OTHER = 'a3a1b2c3-d4e5-4f60-8718-293a4b5c6d7f'


def designator(code_set: int, kind: int, value: bytes) -> bytes:
    return bytes([code_set, kind, 0, len(value)]) + value


# As tgtd 1.0.85 answers: T10 text, NAA 3 (not unique), NAA 6.
PAGE_BODY = (
    designator(2, 1, b'IET     f3a1b2c3d4e54f608718293a4b5c6d7e')
    + designator(1, 3, bytes.fromhex('3000000100000001'))
    + designator(1, 3, bytes.fromhex(NAME))
)
PAGE = b'\x00\x83' + len(PAGE_BODY).to_bytes(2) + PAGE_BODY


@pytest.fixture
def device(tmp_path: pathlib.Path) -> tuple[str, pathlib.Path]:
    """A link to sdb, and its folder in sysfs."""
    folder = tmp_path / 'sys/block/sdb/device'
    folder.mkdir(parents=True)
    (tmp_path / 'sdb').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'sdb')
    return str(tmp_path / 'link'), folder


def test_page_of_tgtd() -> None:
    assert identity.parse_names(PAGE) == [NAME]


@pytest.mark.parametrize('length', range(len(PAGE)))
def test_page_that_was_cut_off(length: int) -> None:
    assert identity.parse_names(PAGE[:length]) in ([], [NAME])


def test_names_of_ports_do_not_count() -> None:
    body = designator(1, 0x13, bytes.fromhex(NAME))
    assert identity.parse_names(b'\x00\x83' + len(body).to_bytes(2) + body) == []


def test_volume_is_recognised_by_page(device: tuple[str, pathlib.Path], tmp_path: pathlib.Path) -> None:
    path, folder = device
    (folder / 'vpd_pg83').write_bytes(PAGE)
    identity.check_device(path, VOLUME, tmp_path / 'sys')
    with pytest.raises(WrongDevice, match=NAME):
        identity.check_device(path, OTHER, tmp_path / 'sys')


def test_volume_is_recognised_by_wwid(device: tuple[str, pathlib.Path], tmp_path: pathlib.Path) -> None:
    path, folder = device
    (folder / 'wwid').write_text(f'naa.{NAME}\n')
    identity.check_device(path, VOLUME, tmp_path / 'sys')
    with pytest.raises(WrongDevice):
        identity.check_device(path, OTHER, tmp_path / 'sys')


@pytest.mark.parametrize('text', ['', 't10.ATA something', 'naa.3000000100000001'])
def test_device_without_a_name_is_none(device: tuple[str, pathlib.Path], tmp_path: pathlib.Path, text: str) -> None:
    path, folder = device
    (folder / 'wwid').write_text(text)
    with pytest.raises(WrongDevice, match='nothing'):
        identity.check_device(path, VOLUME, tmp_path / 'sys')


def test_device_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WrongDevice):
        identity.check_device('/dev/sdzz', VOLUME, tmp_path)
