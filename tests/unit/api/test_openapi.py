# SPDX-License-Identifier: Apache-2.0
import inspect
import json
import re
import typing

import jsonschema
import pytest

from multiattach.api import microversion, openapi, validation
from multiattach.api.actions import ActionController
from multiattach.api.block import app as block

MAXIMUM = microversion.BLOCK_STORAGE.maximum.minor


def describe(minor):
    return openapi.describe(block.CONTROLLERS, microversion.Version(3, minor))


def marks(name):
    return [
        member
        for controller in block.CONTROLLERS
        for _, member in inspect.getmembers(controller, lambda found: hasattr(found, name))
    ]


def operations(document):
    return [
        described for item in document['paths'].values() for described in item.values() if isinstance(described, dict)
    ]


def test_each_handler_that_returns_a_body_declares_it_and_no_other_does():
    for member in marks('route'):
        if member.route.path and not (member.route.path.endswith('/action') and member.route.method == 'POST'):
            returned = member.__annotations__['return']
            assert (member.route.reply is None) == (returned in (None, typing.NoReturn)), member.route
    for member in marks('action'):
        returned = member.__annotations__['return']
        assert (member.action.reply is None) == (returned in (None, typing.NoReturn)), member.action


@pytest.mark.parametrize('minor', [0, 27, 53, MAXIMUM])
def test_each_schema_is_one_and_json(minor):
    document = describe(minor)
    json.dumps(document, allow_nan=False)

    def visit(value):
        if isinstance(value, dict):
            if isinstance(value.get('schema'), dict):
                jsonschema.Draft202012Validator.check_schema(value['schema'])
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    visit(document)
    assert r'\Z' not in json.dumps(document)


@pytest.mark.parametrize('minor', [0, 27, 53, MAXIMUM])
def test_each_operation_has_an_id_of_its_own_and_links_lead_somewhere(minor):
    document = describe(minor)
    idents = [described['operationId'] for described in operations(document)]
    assert len(idents) == len(set(idents))
    links = [
        link['operationId']
        for described in operations(document)
        for reply in described['responses'].values()
        for link in reply.get('links', {}).values()
    ]
    assert links
    assert set(links) <= set(idents)


def test_no_two_paths_differ_in_names_of_wildcards_only():
    shapes = [re.sub('{.*?}', '{}', path) for path in describe(MAXIMUM)['paths']]
    assert len(shapes) == len(set(shapes))


def test_a_path_declares_its_wildcards():
    for path, item in describe(MAXIMUM)['paths'].items():
        declared = {parameter['name'] for parameter in item['parameters'] if 'name' in parameter}
        assert declared == set(re.findall(r'{(\w+)}', path))


def test_what_came_later_is_not_described():
    assert '/attachments' not in describe(26)['paths']
    assert '/attachments' in describe(27)['paths']
    bodies = describe(70)['paths']['/volumes/{volume_id}/action']['post']['requestBody']
    assert 'os-extend_volume_completion' not in json.dumps(bodies)
    bodies = describe(71)['paths']['/volumes/{volume_id}/action']['post']['requestBody']
    assert 'os-extend_volume_completion' in json.dumps(bodies)


def test_each_action_is_a_choice_of_the_body():
    schema = describe(MAXIMUM)['paths']['/volumes/{volume_id}/action']['post']['requestBody']
    choices = schema['content']['application/json']['schema']['oneOf']
    controller = next(found for found in block.CONTROLLERS if found.__name__ == 'VolumeActionsController')
    assert issubclass(controller, ActionController)
    names = {member.action.name for _, member in inspect.getmembers(controller, lambda m: hasattr(m, 'action'))}
    assert {name for choice in choices for name in choice['properties']} == names


SPELLINGS = {
    'uuid-like': ['12345678-1234-1234-1234-123456789abc', '12345678123412341234123456789ABC', 'x', '', '1' * 31],
    'not-blank': ['a', ' a ', '', ' ', '\t\n'],
    'boolean-like': ['true', 'TRUE', 'oFf', '0', '1', 'y', 'no', '', 'none', '2', 'truee', 't'],
    'boolean-or-none': ['none', 'None', 'true', '', 'nil'],
    'size': ['1', '10', '0', '-1', '', '1.0', ' 1', '999999999'],
}


@pytest.mark.parametrize('name', openapi.FORMATS)
def test_a_pattern_says_what_its_format_says(name):
    pattern = jsonschema.Draft202012Validator({'pattern': openapi.FORMATS[name]})
    told = validation.Schema({'format': name})
    for text in SPELLINGS[name]:
        try:
            told.check(text)
            admitted = True
        except Exception:
            admitted = False
        assert pattern.is_valid(text) == admitted, text


def test_each_format_has_a_pattern():
    assert set(openapi.FORMATS) == set(validation._FORMATS.checkers)


def test_versioned_gives_back_the_schema_that_holds():
    versioned = validation.Versioned({0: {'const': 'old'}, 13: {'const': 'new'}})
    assert [versioned.at(minor)['const'] for minor in (0, 12, 13, 71)] == ['old', 'old', 'new', 'new']
