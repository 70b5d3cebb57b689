# SPDX-License-Identifier: Apache-2.0
import types
from urllib.parse import quote

import pytest

from multiattach.api import paging
from multiattach.api.request import ROOT, Request
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors

COLUMNS = {'id': 'id', 'name': 'display_name', 'created_at': 'created_at'}
SETTINGS = ApiSettings(max_limit=100)


def parse(**query):
    return paging.parse_page(query, SETTINGS, COLUMNS)


def test_defaults():
    page = parse()
    assert (page.limit, page.offset, page.marker) == (100, 0, None)
    assert page.sort == (('created_at', 'desc'), ('id', 'desc'))


@pytest.mark.parametrize(('text', 'limit'), [('0', 0), ('1', 1), ('100', 100), ('101', 100), ('', 100), ('007', 7)])
def test_limits(text, limit):
    assert parse(limit=text).limit == limit


@pytest.mark.parametrize('text', ['-1', '1.0', 'x', ' 1', '\uff11', '\u0663', '9' * 20, '0x1', '1_0'])
@pytest.mark.parametrize('name', ['limit', 'offset'])
def test_numbers_that_are_none(name, text):
    with pytest.raises(errors.InvalidInput, match=name):
        parse(**{name: text})


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ({'sort': 'name'}, (('display_name', 'desc'),)),
        ({'sort': 'name:asc,id'}, (('display_name', 'asc'), ('id', 'desc'))),
        ({'sort': ' name:asc , id:desc '}, (('display_name', 'asc'), ('id', 'desc'))),
        ({'sort': ','}, (('created_at', 'desc'), ('id', 'desc'))),
        ({'sort': ''}, (('created_at', 'desc'), ('id', 'desc'))),
        ({'sort_key': 'name'}, (('display_name', 'desc'),)),
        ({'sort_dir': 'asc'}, (('created_at', 'asc'),)),
        ({'sort_key': 'name', 'sort_dir': 'asc'}, (('display_name', 'asc'),)),
    ],
)
def test_sorting(query, expected):
    assert parse(**query).sort == expected


@pytest.mark.parametrize(
    'query',
    [
        {'sort': 'colour'},
        {'sort': 'display_name'},
        {'sort': 'name:up'},
        {'sort': 'name:ASC'},
        {'sort_key': 'colour'},
        {'sort_dir': 'up'},
        {'sort': 'name', 'sort_key': 'name'},
        {'sort': 'name', 'sort_dir': 'asc'},
    ],
)
def test_sorting_that_is_none(query):
    with pytest.raises(errors.InvalidInput):
        parse(**query)


def rows(number):
    return [types.SimpleNamespace(id=f'id{i}') for i in range(number)]


def test_a_full_page_has_a_next_one():
    req = Request.blank('http://example.org/v3/abc/volumes?limit=2&name=a%26b&offset=5&marker=old')
    (link,) = paging.next_link(req, SETTINGS, rows(2), parse(limit='2'))
    assert link == {'rel': 'next', 'href': 'http://example.org/v3/abc/volumes?limit=2&name=a%26b&marker=id1'}


@pytest.mark.parametrize(('number', 'limit'), [(0, '0'), (0, '2'), (1, '2'), (99, '')])
def test_a_page_that_is_not_full_has_none(number, limit):
    assert paging.next_link(Request.blank('/'), SETTINGS, rows(number), parse(limit=limit)) == []


def test_the_public_endpoint_is_in_the_link():
    settings = ApiSettings(public_endpoint='https://cloud.example/volume/')
    req = mounted('', '/v3', '/volumes')
    (link,) = paging.next_link(req, settings, rows(1), parse(limit='1'))
    assert link['href'] == 'https://cloud.example/volume/v3/volumes?limit=1&marker=id0'


def mounted(root, ours, rest):
    """Make a request as it is below the applications that we mount ourselves."""
    return Request.blank(f'{rest}?limit=1', environ={'SCRIPT_NAME': f'{root}{ours}', ROOT: root})


@pytest.mark.parametrize('ours', ['/v3', '/compute/v2.1'])
@pytest.mark.parametrize('rest', ['/volumes', '/a-b/volumes', '/volumes/x%20%C3%A4'])
@pytest.mark.parametrize('public', ['https://cloud.example/volume', 'https://cloud.example/volume/v3/'])
def test_where_the_server_mounts_us_is_no_part_of_the_public_endpoint(ours, rest, public):
    settings = ApiSettings(public_endpoint=public)
    (link,) = paging.next_link(mounted('/behind', ours, rest), settings, rows(1), parse(limit='1'))
    assert link['href'] == f'https://cloud.example/volume{ours}{rest}?limit=1&marker=id0'


@pytest.mark.parametrize('root', ['', '/behind', '/v3', '/a/v2.1', '/x y'])
@pytest.mark.parametrize('ours', ['/v3', '/compute/v2.1'])
def test_without_one_the_link_is_what_was_asked(root, ours):
    req = mounted(root, ours, '/volumes')
    (link,) = paging.next_link(req, SETTINGS, rows(1), parse(limit='1'))
    assert link['href'] == f'http://localhost{quote(root)}{ours}/volumes?limit=1&marker=id0'
