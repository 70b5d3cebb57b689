# SPDX-License-Identifier: Apache-2.0
"""What extra specs ask of capabilities; oslo.utils' matcher is asked as well."""

import pytest
from oslo_utils import specs_matcher

from multiattach.domain import capabilities

NUMBERS = ['1', '2', '2.5', '10', '-3']
WORDS = ['a', 'ab', 'b', 'tgt', 'Z']


@pytest.mark.parametrize('known', ['=', '==', '!=', '>=', '<=', '>', '<'])
@pytest.mark.parametrize('have', NUMBERS)
@pytest.mark.parametrize('want', NUMBERS)
def test_numbers(known, have, want):
    met = capabilities.is_met(have, f'{known} {want}')
    assert met is specs_matcher.match(have, f'{known} {want}')
    assert capabilities.is_met(float(have), f'{known} {want}') is met


@pytest.mark.parametrize('known', ['s==', 's!=', 's>=', 's>', 's<=', 's<', '<in>', '<or>', ''])
@pytest.mark.parametrize('have', WORDS)
@pytest.mark.parametrize('want', WORDS)
def test_words(known, have, want):
    assert capabilities.is_met(have, f'{known} {want}'.strip()) is specs_matcher.match(have, f'{known} {want}'.strip())


@pytest.mark.parametrize('have', WORDS)
def test_one_of_several(have):
    for wanted in ('<or> a <or> tgt', '<or> x <or> y <or> ab'):
        assert capabilities.is_met(have, wanted) is specs_matcher.match(have, wanted)
        assert capabilities.is_met(['none', have], wanted) is specs_matcher.match(have, wanted)


@pytest.mark.parametrize('have', NUMBERS)
@pytest.mark.parametrize('text', ['[ 1 2.5 ]', '( 1 2.5 )', '[ 1 10 )', '( 2 10 ]', '[ -9 0 ]'])
def test_ranges(have, text):
    assert capabilities.is_met(have, f'<range-in> {text}') is specs_matcher.match(have, f'<range-in> {text}')


@pytest.mark.parametrize(('wanted', 'met'), [('<all-in> a b', True), ('<all-in> a c', False), ('<all-in> b', True)])
def test_all_of_a_list(wanted, met):
    assert capabilities.is_met(['a', 'b'], wanted) is met
    assert specs_matcher.match("['a', 'b']", wanted) is met


@pytest.mark.parametrize(
    ('have', 'wanted', 'met'),
    [
        (True, '<is> True', True),
        ('true', '<is> yes', True),
        (False, '<is> False', True),
        ('x', '<is> False', True),
        ('x', '<is> True', False),
        (True, 'True', True),
        (True, 'yes', True),
        (False, 'True', False),
        (True, 'whatever', False),
        (7, '7', True),
        ('a b', 'a b', True),
        ('a', 'a b', False),
        (None, '<is> False', False),
        (None, None, True),
        ('x', None, False),
        (None, 's!= a', False),
        ('many', '>= 1', False),
        (True, '>= 1', False),
        ([], 'a', False),
        ('x', '>=60', False),
        ('>=60', '>=60', True),
    ],
)
def test_what_only_the_scheduler_of_block_storage_knows(have, wanted, met):
    assert capabilities.is_met(have, wanted) is met
