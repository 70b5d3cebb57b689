# SPDX-License-Identifier: Apache-2.0
"""Admin → Volumes and Admin → Volume Types."""

import uuid
from collections.abc import Iterator

import pytest

from tests.functional.keystone.conftest import Cloud
from tests.horizon.browser import Browser
from tests.horizon.conftest import assert_fine, create_type, create_volume, delete_volume, wait_for_status

ADMIN, TYPES = '/admin/volumes/', '/admin/volume_types/'


@pytest.fixture
def volume(member: Browser) -> Iterator[str]:
    ident = create_volume(member, f'data-{uuid.uuid4()}', '__DEFAULT__')
    yield ident
    delete_volume(member, ident)


@pytest.fixture
def kind(admin: Browser) -> Iterator[str]:
    """A volume type, made and deleted in the browser."""
    ident = create_type(admin, f'type-{uuid.uuid4()}')
    yield ident
    page = admin.press(admin.open(TYPES), TYPES, f'volume_types__delete__{ident}')
    assert page.find_messages('success')[0].startswith('Deleted Volume Type: type-')
    assert ident not in [row.ident for row in admin.open(TYPES).rows]


def test_volumes_of_all_projects(admin: Browser, volume: str) -> None:
    page = admin.open(ADMIN)
    assert_fine(page)
    row = page.find_row(volume)
    assert row.cells[1] == 'project'
    assert row.cells[2].endswith('@file#file')
    assert row.cells[5] == 'Available'


def test_details(admin: Browser, volume: str) -> None:
    page = admin.open(f'{ADMIN}{volume}/')
    assert_fine(page)
    assert (page.facts['ID'], page.facts['Status']) == (volume, 'Available')


def test_update_status(admin: Browser, member: Browser, volume: str) -> None:
    path = f'{ADMIN}{volume}/update_status'
    for status, shown in (('error', 'Error'), ('available', 'Available')):
        page = admin.open(path)
        form = page.find_form(path)
        page = admin.submit(page, form, status=status)
        assert page.find_messages('success') == [f'Successfully updated volume status to "{shown}".']
        wait_for_status(member, volume, shown)


def test_delete_of_another_projects_volume(admin: Browser, cloud: Cloud) -> None:
    volume = cloud.make_volume(persona='foreign-member', multiattach=False)
    page = admin.press(admin.open(ADMIN), ADMIN, f'volumes__delete__{volume}')
    assert page.find_messages('danger') == []
    admin.wait(lambda: volume not in [row.ident for row in admin.open(ADMIN).rows])


def test_types(admin: Browser, kind: str) -> None:
    page = admin.open(TYPES)
    assert_fine(page)
    assert page.find_row(kind).cells[5] == 'Yes'
    path = f'{TYPES}{kind}/update_type/'
    page = admin.open(path)
    name = f'type-{uuid.uuid4()}'
    page = admin.submit(page, page.find_form(path), name=name, description='new')
    assert page.find_messages('danger') == []
    assert page.find_row(kind).cells[1:3] == [name, 'new']


def test_extra_specs(admin: Browser, kind: str) -> None:
    path = f'{TYPES}{kind}/extras/'
    page = admin.open(f'{path}create/')
    page = admin.submit(page, page.find_form(f'{path}create/'), key='multiattach', value='<is> True')
    assert page.find_messages('success') == ['Created extra spec "multiattach".']
    assert page.find_row('multiattach').cells[1:3] == ['multiattach', '<is> True']
    page = admin.open(f'{path}multiattach/edit/')
    page = admin.submit(page, page.find_form(f'{path}multiattach/edit/'), value='<is> False')
    assert page.find_row('multiattach').cells[2] == '<is> False'
    page = admin.press(page, path, 'extras__delete__multiattach')
    assert page.find_messages('danger') == []
    assert admin.open(path).rows == []


def test_a_wrong_extra_spec_is_refused(admin: Browser, kind: str) -> None:
    path = f'{TYPES}{kind}/extras/'
    page = admin.open(f'{path}create/')
    page = admin.submit(page, page.find_form(f'{path}create/'), key='multiattach', value='perhaps')
    assert page.find_messages('danger') == ['Unable to create volume type extra spec.']
    assert admin.open(path).rows == []


def test_default_quotas(admin: Browser) -> None:
    page = admin.open('/admin/defaults/?tab=defaults__volume_quotas')
    shown = {row.ident: row.cells[1] for row in page.rows}
    assert (shown['volumes'], shown['gigabytes']) == ('10', '1000')


def test_members_see_no_more_there_than_elsewhere(member: Browser, cloud: Cloud, kind: str) -> None:
    foreign = cloud.make_volume(persona='foreign-member', multiattach=False)
    assert foreign not in member.open(ADMIN).text
    page = member.open(f'{TYPES}{kind}/update_type/')
    for form in page.forms:
        if 'name' in form.fields:
            page = member.submit(page, form, name='mine')
    assert 'mine' not in [row.cells[1] for row in member.open(TYPES).rows]
    assert cloud('foreign-member', 'DELETE', f'/v3/volumes/{foreign}').status == 202
