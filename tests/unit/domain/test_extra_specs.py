# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain import errors, extra_specs


@pytest.mark.parametrize(('text', 'value'), [
    ('<is> True', True), ('<is> true', True), ('<is>  TRUE', True), ('<is> 1', True),
    ('<is> yes', True), ('<is> False', False), ('<is> 0', False),
    ('True', None), ('true', None), ('<is>True', None), ('<is> maybe', None), ('<is>', None),
    ('', None), (None, None), ('<is> True True', None), ('<in> True', None)])
def test_one_parser(text, value):
    assert extra_specs.parse_is(text) is value


@pytest.mark.parametrize('value', ['True', '<is>True', 'yes', '', None, '<is> perhaps'])
def test_a_multiattach_spec_that_is_no_boolean_operator_is_refused(value):
    with pytest.raises(errors.InvalidInput, match='<is> True'):
        extra_specs.check_specs({'multiattach': value})


def test_multiattach_and_cacheable_exclude_each_other():
    extra_specs.check_specs({'multiattach': '<is> False', 'cacheable': '<is> True'})
    with pytest.raises(errors.InvalidInput):
        extra_specs.check_specs({'multiattach': '<is> true', 'cacheable': '<is> True'})


@pytest.mark.parametrize(('specs', 'capabilities', 'satisfied'), [
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
    ({'RESKEY:availability_zones': 'x'}, {}, True)])
def test_capability_match(specs, capabilities, satisfied):
    assert extra_specs.is_satisfied(specs, capabilities) is satisfied
