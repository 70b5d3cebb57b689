# SPDX-License-Identifier: Apache-2.0
"""What is fetched of an image is what was recorded of it, or nothing."""

import hashlib
import tempfile

import pytest

from multiattach.domain import images
from multiattach.drivers.errors import CopyAborted, ImageRefused, ImageUnavailable
from multiattach.volume.downloads import fetch

PIECES = [b'a' * 1000, bytes(4096), b'b' * 24]
DATA = b''.join(PIECES)
SHA = hashlib.sha512(DATA).hexdigest()


class Look:
    """Goes on so many times."""

    def __init__(self, times=9):
        self.times = times
        self.done = 0.0

    def proceed(self):
        self.times -= 1
        return self.times > 0

    def note(self, _start, _end, done):
        self.done = done


def make_image(**found):
    found = {'id': 'i', 'status': 'active', 'size': len(DATA), 'os_hash_algo': 'sha512', 'os_hash_value': SHA} | found
    return images.parse(found)


def run(image, pieces=PIECES, most=1 << 30, look=None):
    with tempfile.TemporaryFile() as file:
        fetch(image, iter(pieces), file, most, look or Look())
        return file.read()


def test_all_of_it():
    look = Look()
    assert run(make_image(), look=look) == DATA
    assert look.done == 1.0


@pytest.mark.parametrize(
    'found',
    [
        {'os_hash_algo': None, 'checksum': hashlib.md5(DATA).hexdigest()},
        {'os_hash_algo': 'of tomorrow', 'checksum': hashlib.md5(DATA).hexdigest()},
        {'os_hash_value': SHA.upper()},
        {'os_hash_algo': None, 'size': None},
    ],
)
def test_what_is_recorded_is_compared(found):
    assert run(make_image(**found)) == DATA


@pytest.mark.parametrize(
    'found', [{'os_hash_value': 'f' * 128}, {'os_hash_algo': None, 'checksum': 'f' * 32}, {'os_hash_algo': 'sha256'}]
)
def test_damage_is_seen(found):
    with pytest.raises(ImageRefused, match='is damaged'):
        run(make_image(**found))


def test_an_image_that_grows_is_read_no_further():
    def grow():
        yield from PIECES
        yield b'and more'
        raise AssertionError('it was read on')

    with pytest.raises(ImageRefused, match=f'more data than the {len(DATA)} bytes'):
        run(make_image(), grow())
    with pytest.raises(ImageRefused, match='more data than the 100 bytes'):
        run(make_image(size=None), most=100)


def test_one_that_ends_early_is_tried_again():
    with pytest.raises(ImageUnavailable, match=f'ended after 1000 of {len(DATA)} bytes'):
        run(make_image(), PIECES[:1])


def test_it_is_broken_off():
    with pytest.raises(CopyAborted):
        run(make_image(), look=Look(2))
