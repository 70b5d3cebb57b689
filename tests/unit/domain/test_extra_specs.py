# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain import errors, extra_specs


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('<is> True', True),
        ('<is> true', True),
        ('<is>  TRUE', True),
        ('<is> 1', True),
        ('<is> yes', True),
        ('<is> False', False),
        ('<is> 0', False),
        ('True', None),
        ('true', None),
        ('<is>True', None),
        ('<is> maybe', None),
        ('<is>', None),
        ('', None),
        (None, None),
        ('<is> True True', None),
        ('<in> True', None),
    ],
)
def test_one_parser(text, value):
    assert extra_specs.parse_is(text) is value


@pytest.mark.parametrize('value', ['True', '<is>True', 'yes', '', None, '<is> perhaps'])
def test_a_multiattach_spec_that_is_no_boolean_operator_is_refused(value):
    with pytest.raises(errors.InvalidInput, match='<is> True'):
        extra_specs.check_specs({'multiattach': value})


@pytest.mark.parametrize('key', ['multiattach:reservations', 'multiattach:enforce_read_only'])
def test_what_targets_can_do_is_asked_for_as_multiattach_is(key):
    extra_specs.check_specs({'multiattach': '<is> True', key: '<is> True'})
    extra_specs.check_specs({key: '<is> False'})
    with pytest.raises(errors.InvalidInput, match=f'{key} must be "<is> True"'):
        extra_specs.check_specs({'multiattach': '<is> True', key: 'True'})
    with pytest.raises(errors.InvalidInput, match='for volumes that servers share'):
        extra_specs.check_specs({key: '<is> True'})


def test_multiattach_and_cacheable_exclude_each_other():
    extra_specs.check_specs({'multiattach': '<is> False', 'cacheable': '<is> True'})
    with pytest.raises(errors.InvalidInput):
        extra_specs.check_specs({'multiattach': '<is> true', 'cacheable': '<is> True'})


@pytest.mark.parametrize(
    ('specs', 'capabilities', 'satisfied'),
    [
        ({}, {}, True),
        ({'multiattach': '<is> True'}, {'multiattach': True}, True),
        ({'multiattach': '<is> 1'}, {'multiattach': True}, True),
        ({'multiattach': '<is> True'}, {'multiattach': False}, False),
        ({'multiattach': '<is> True'}, {}, False),
        ({'multiattach': '<is> False'}, {'multiattach': True}, False),
        ({'capabilities:multiattach': '<is> True'}, {'multiattach': True}, True),
        ({'volume_backend_name': 'fast'}, {'volume_backend_name': 'fast'}, True),
        ({'volume_backend_name': 'fast'}, {'volume_backend_name': 'slow'}, False),
        ({'volume_backend_name': '<in> as'}, {'volume_backend_name': 'fast'}, True),
        ({'RESKEY:availability_zones': 'x'}, {}, True),
        ({'vendor:a': '<is> True'}, {}, True),
        ({'multiattach:reservations': '<is> True'}, {'reservations': True}, True),
        ({'multiattach:reservations': '<is> True'}, {'reservations': False}, False),
        # a worker of the release before does not say
        ({'multiattach:reservations': '<is> True'}, {}, False),
        ({'multiattach:reservations': '<is> False'}, {}, True),
        ({'multiattach:reservations': '<is> False'}, {'reservations': True}, True),
        ({'multiattach:enforce_read_only': '<is> True'}, {'enforce_read_only': True}, True),
        ({'multiattach:enforce_read_only': '<is> True'}, {'reservations': True}, False),
        ({'capabilities:a:b': '>= 2'}, {'a': {'b': 3}}, True),
        ({'capabilities:a:b': '>= 2'}, {'a': {'b': 1}}, False),
        ({'capabilities:a:b': '>= 2'}, {'a': 3}, False),
        ({'capabilities:a': '<or> x <or> y'}, {'a': ['z', 'y']}, True),
    ],
)
def test_capability_match(specs, capabilities, satisfied):
    assert extra_specs.is_satisfied(specs, capabilities) is satisfied


def test_a_scoped_multiattach_alone_shares_nothing_and_is_refused():
    both = {'multiattach': '<is> True', 'capabilities:multiattach': '<is> True'}
    extra_specs.check_specs(both)
    extra_specs.check_specs({'capabilities:multiattach': '<is> False'})
    for missing in ({}, {'multiattach': '<is> False'}):
        with pytest.raises(errors.InvalidInput, match='would not be shared'):
            extra_specs.check_specs({**missing, 'capabilities:multiattach': '<is> True'})


@pytest.mark.parametrize('key', ['thin', 'capabilities:thin', 'capabilities:a:b'])
@pytest.mark.parametrize(
    'value',
    [
        '<is>',
        '<is> maybe',
        '<is> True False',
        '<is>True',
        '>=60',
        '>= many',
        '>= nan',
        '= 1 2',
        '<in>',
        '<in> a b',
        '<or> a b',
        '<or> a <or>',
        '<or>',
        '<all-in>',
        '<range-in> [ 1 2',
        '<range-in> { 1 2 }',
        '<range-in> 1 2',
        '<like> x',
        '=<  3',
        's== ',
        's=x',
        '<> 1',
    ],
)
def test_an_operator_that_is_not_understood_is_refused(key, value):
    with pytest.raises(errors.InvalidInput, match='is not understood'):
        extra_specs.check_specs({key: value})
    extra_specs.check_specs({f'vendor:{key}': value})


@pytest.mark.parametrize('value', [None, '', 'fast', 'small and green', 'True', '10', '<is> no', '= 5', 's== a'])
def test_what_is_understood_is_taken(value):
    extra_specs.check_specs({'thin': value})


@pytest.mark.parametrize(
    ('text', 'zone', 'allowed'),
    [(None, 'a', True), ('', 'a', True), ('a', 'a', True), ('b, a', 'a', True), ('b,c', 'a', False)],
)
def test_zones_of_a_type(text, zone, allowed):
    assert extra_specs.is_allowed({'RESKEY:availability_zones': text}, zone) is allowed
