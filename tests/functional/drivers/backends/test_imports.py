# SPDX-License-Identifier: Apache-2.0
"""What comes from elsewhere, written by a real qemu-img into each kind of store."""

import os
import pathlib
import uuid

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.conversion.qemu import Converter, Disk, Limits
from multiattach.drivers.errors import ImageRefused
from tests.functional.images.cloud import MIB, convert, make_disk

pytestmark = pytest.mark.every_store

IDENT = str(uuid.UUID(int=9))


def go_on() -> bool:
    return True


def fill(path: str, image: pathlib.Path, form: str = 'qcow2') -> None:
    with image.open('rb') as file:
        Converter(Limits(2, 60)).fill(
            Disk(f'/proc/self/fd/{file.fileno()}', form),
            Disk(path, 'raw'),
            GIB,
            go_on,
            [file.fileno()],
            lambda _percent: None,
        )


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    """A compressed image, with its disk beside it."""
    make_disk(tmp_path)
    convert(tmp_path, 'qcow2', '-c')
    return tmp_path / 'disk.qcow2'


def test_a_draft_becomes_the_volume(store, image):
    data = image.with_name('disk').read_bytes()
    with store.backend.imports.open(IDENT, 1, go_on) as draft:
        fill(draft.path, image)
        assert f'volume-{IDENT}' not in store.names()
        draft.adopt()
    assert store.names() == [f'volume-{IDENT}']
    assert store.size(IDENT) == GIB
    assert store.read(IDENT, 0, len(data)) == data
    assert store.read(IDENT, 500 * MIB, MIB) == bytes(MIB)


def test_it_replaces_what_was_there_and_the_trash_goes(store, image):
    store.backend.create(IDENT, 1)
    store.write(IDENT, 500 * MIB, os.urandom(4096))
    with store.backend.imports.open(IDENT, 1, go_on) as draft:
        fill(draft.path, image)
        draft.adopt()
    assert store.names() == [f'trash-{IDENT}', f'volume-{IDENT}']
    assert store.read(IDENT, 500 * MIB, 4096) == bytes(4096)
    store.backend.clear(IDENT, go_on)
    assert store.names() == [f'volume-{IDENT}']
    assert store.read(IDENT, 0, MIB) == image.with_name('disk').read_bytes()[:MIB]


def test_nothing_is_left_of_what_fails(store, image):
    store.backend.create(IDENT, 1)
    store.write(IDENT, 0, b'of before'.ljust(512))
    image.write_bytes(b'no image')
    with pytest.raises(ImageRefused, match='cannot be converted'), store.backend.imports.open(IDENT, 1, go_on) as draft:
        fill(draft.path, image)
    store.backend.clear(IDENT, go_on)
    assert store.names() == [f'volume-{IDENT}']
    assert store.read(IDENT, 0, 9) == b'of before'


def test_what_an_attempt_before_left_goes(store, image):
    opened = store.backend.imports.open(IDENT, 2, go_on)
    left = opened.__enter__()
    fill(left.path, image)
    if hasattr(left, '_handle'):  # its process died
        os.close(left._handle)
    with store.backend.imports.open(IDENT, 1, go_on) as draft:
        draft.adopt()
    store.backend.clear(IDENT, go_on)
    assert store.names() == [f'volume-{IDENT}']
    assert store.size(IDENT) == GIB
    assert store.read(IDENT, 0, MIB) == bytes(MIB)
    left._handle = os.open('/dev/null', os.O_RDONLY)
