# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given, strategies as st

from multiattach.api import microversion
from multiattach.api.microversion import BLOCK_STORAGE, Api, Version
from multiattach.domain import errors

COMPUTE = Api('compute', Version(2, 1), Version(2, 89), legacy_header='X-OpenStack-Nova-API-Version')


@pytest.mark.parametrize(
    ('header', 'expected'),
    [
        (None, (3, 0)),
        ('volume 3.0', (3, 0)),
        ('volume 3.27', (3, 27)),
        ('volume 3.71', (3, 71)),
        ('volume latest', (3, 71)),
        ('compute 2.1, volume 3.27', (3, 27)),
        ('volume 3.27,compute 2.1', (3, 27)),
        ('volumev3 3.27', (3, 27)),
        ('  volume   3.27  ', (3, 27)),
        ('volume 3.1,volume 3.2', (3, 1)),
    ],
)
def test_what_is_accepted(header, expected):
    assert microversion.negotiate(BLOCK_STORAGE, header) == expected


@pytest.mark.parametrize(
    'header',
    [
        '',
        ' ',
        ',',
        'VOLUME 3.27',
        'compute 2.1',
        'block-storage 3.27',
        'volume 3',
        'volume 3.01',
        'volume 03.1',
        'volume abc',
        'volume 0.0',
        'volume',
        'volume 3.27 extra',
        'volume3.27',
        'volume 3.27.1',
        'volume -3.27',
        'volume 3.',
        'volume .27',
        'volume ٣.٢٧',
        'volume 3.27\n4',
        'volume LATEST',
        'volume 3.' + '9' * 5000,
    ],
)
def test_what_is_malformed(header):
    with pytest.raises(errors.InvalidInput):
        microversion.negotiate(BLOCK_STORAGE, header)


@pytest.mark.parametrize('text', ['3.72', '2.0', '4.0', '2.71', '3.999', '10.0'])
def test_what_is_not_supported(text):
    with pytest.raises(microversion.VersionNotSupported) as caught:
        microversion.negotiate(BLOCK_STORAGE, f'volume {text}')
    assert str(caught.value.refused) == text
    assert caught.value.code == 406
    assert all(number in caught.value.message for number in (text, '3.0', '3.71'))


@given(st.text())
def test_no_header_surprises(header):
    try:
        version = microversion.negotiate(BLOCK_STORAGE, header)
    except (errors.InvalidInput, microversion.VersionNotSupported):
        return
    assert BLOCK_STORAGE.minimum <= version <= BLOCK_STORAGE.maximum


@pytest.mark.parametrize(
    ('header', 'legacy', 'expected'),
    [
        (None, None, (2, 1)),
        ('compute 2.60', None, (2, 60)),
        ('volume 3.27', None, (2, 1)),
        (None, '2.60', (2, 60)),
        (None, 'latest', (2, 89)),
        ('compute 2.60', '2.1', (2, 60)),
    ],
)
def test_an_api_with_a_legacy_header(header, legacy, expected):
    assert microversion.negotiate(COMPUTE, header, legacy) == expected


@pytest.mark.parametrize(
    ('version', 'expected'),
    [
        ((3, 0), 'volume 3.0'),
        ((3, 71), 'volume 3.71'),
        ((3, 20), 'volume 3.20'),
        ((3, 72), 'volume 3.72'),
        ((4, 0), 'volume 4.0'),
        ((2, 0), None),
        ((1, 0), None),
        ((12, 0), None),
        ((11, 0), None),
    ],
)
def test_which_version_the_reply_tells(version, expected):
    headers = microversion.reply_headers(BLOCK_STORAGE, Version(*version))
    assert headers == ({} if expected is None else {'OpenStack-API-Version': expected, 'Vary': 'OpenStack-API-Version'})


def test_the_legacy_header_is_in_the_reply_too():
    assert microversion.reply_headers(COMPUTE, Version(2, 60)) == {
        'OpenStack-API-Version': 'compute 2.60',
        'X-OpenStack-Nova-API-Version': '2.60',
        'Vary': 'OpenStack-API-Version, X-OpenStack-Nova-API-Version',
    }
