# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.api.schemas import requests
from multiattach.api.validation import Schema, Versioned
from multiattach.domain import errors


def refusal(schema, value):
    with pytest.raises(errors.InvalidInput) as caught:
        Schema(schema).check(value)
    return caught.value.message


def test_the_text_names_the_field():
    text = refusal({'properties': {'a': {'properties': {'b': {'type': 'string'}}}}}, {'a': {'b': 1}})
    assert text == "Invalid input for field/attribute b. Value: 1. 1 is not of type 'string'"


def test_the_text_at_the_top():
    assert refusal({'type': 'object'}, 1) == "1 is not of type 'object'"


def test_no_text_is_endless():
    assert len(refusal({'properties': {'a': {'type': 'integer'}}}, {'a': 'x' * 100_000})) < 700


def test_a_wrong_schema_is_found_when_it_is_made():
    with pytest.raises(Exception, match='nonsense'):
        Schema({'type': 'nonsense'})


def test_the_newest_schema_that_holds():
    versioned = Versioned({0: {'const': 'old'}, 13: {'const': 'new'}})
    for minor, value in ((0, 'old'), (12, 'old'), (13, 'new'), (71, 'new')):
        versioned.check(value, minor)
        with pytest.raises(errors.InvalidInput):
            versioned.check('other', minor)


GOOD = {
    'UUID': [
        '11111111-2222-4333-8444-555555555555',
        '11111111222243338444555555555555',
        'ABCDEFAB-2222-4333-8444-555555555555',
    ],
    'UUID_OR_NULL': [None, '11111111-2222-4333-8444-555555555555'],
    'TEXT': ['', 'x' * 255],
    'TEXT_OR_NULL': [None, '', 'x' * 255],
    'WORD': [' ', 'x' * 255],
    'WORD_OR_NULL': [None, ' ', 'x' * 255],
    'NAME': ['a', 'x' * 255, ' a '],
    'SIZE': [1, 2**31 - 1, '1', '2147483647', '007'],
    'BOOLEAN': [True, False, 'true', 'False', '1', '0', 'yes', 'off', 'T'],
    'METADATA': [{}, {'a': ''}, {'A-z_0:. /': 'x' * 255}],
    'EXTRA_SPECS': [{}, {'a:b.c-d_e': None}, {'a': 'x' * 255}],
    'DEVICE': [None, '/dev/vdb', '/dev/sda1'],
    'NUMBER_QUERY': ['', '0', '10'],
    'BOOLEAN_QUERY': ['true', '0', 'False'],
}
BAD = {
    'UUID': [None, 1, '', 'x', '11111111-2222-4333-8444-55555555555', '11111111-2222-4333-8444-555555555555\n'],
    'UUID_OR_NULL': [1, '', 'x'],
    'TEXT': [None, 1, 'x' * 256],
    'TEXT_OR_NULL': [1, 'x' * 256, []],
    'WORD': [None, '', 'x' * 256],
    'WORD_OR_NULL': ['', 5, 'x' * 256],
    'NAME': [None, '', ' ', '\n', 'x' * 256, 1],
    'SIZE': [0, -1, 2**31, 1.5, True, None, '', '0', '-1', ' 1', '1\n', '\uff12', '2147483648', '9' * 6000, '1e3'],
    'BOOLEAN': [None, 2, 0, 1, '', 'x', 'true\n', []],
    'METADATA': [
        None,
        [],
        {'': 'x'},
        {'a': None},
        {'a': 1},
        {'a' * 256: 'x'},
        {'a': 'x' * 256},
        {'a\n': 'x'},
        {'ä': 'x'},
    ],
    'EXTRA_SPECS': [None, {'': 'x'}, {'a b': 'x'}, {'a': 1}, {'a': 'x' * 256}, {'a/b': 'x'}, {'a\n': 'x'}],
    'DEVICE': ['', 'vdb', '/dev/', '/dev/vdb\n', '/dev/../vdb', 5],
    'NUMBER_QUERY': ['-1', 'x', '1\n', '\uff19', '1' * 19],
    'BOOLEAN_QUERY': ['', 'x', 'none'],
}


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name, values in GOOD.items() for value in values])
def test_what_a_piece_takes(name, value):
    Schema(getattr(requests, name)).check(value)


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name, values in BAD.items() for value in values])
def test_what_a_piece_refuses(name, value):
    refusal(getattr(requests, name), value)


def test_every_piece_is_tried():
    pieces = {name for name in vars(requests) if name.isupper() and not name.startswith('_')}
    assert pieces == set(GOOD) | {'PAGE_QUERY'} == set(BAD) | {'PAGE_QUERY'}
