# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain import idents

IDENT = 'b0e7a3f1-2c4d-4e5f-8a9b-0c1d2e3f4a5b'


@pytest.mark.parametrize(
    'text',
    [IDENT, IDENT.upper(), IDENT.replace('-', ''), f'{{{IDENT}}}', f'urn:uuid:{IDENT}', f'urn:uuid:{IDENT.upper()}'],
)
def test_one_spelling_is_kept(text):
    assert idents.normalise(text) == IDENT


@pytest.mark.parametrize(
    'text',
    [
        '',
        'a name',
        IDENT[:-1],
        IDENT + '0',
        'Type',
        '{}',
        IDENT.replace('b', '\u0431'),
        f' {IDENT}',
        '0x' + IDENT.replace('-', '')[2:],
        IDENT.replace('-', '_'),
    ],
)
def test_what_is_no_id_stays(text):
    assert idents.normalise(text) == text
