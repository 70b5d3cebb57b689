# SPDX-License-Identifier: Apache-2.0
"""Project → Volumes, as a member of the project sees it."""

import uuid
from collections.abc import Iterator

import pytest

from tests.functional.keystone.conftest import Cloud
from tests.horizon.browser import Browser, Page
from tests.horizon.conftest import VOLUMES, assert_fine, create_volume, delete_volume, find_status, wait_for_status
from tests.testbed.guest import BLOCK_SIZE, Guest

NAME, STATUS, SIZE, TYPE, ATTACHED = 1, 4, 3, 6, 7


@pytest.fixture
def volume(member: Browser, shared: str) -> Iterator[str]:
    """A volume of a multiattach type, made and deleted in the browser."""
    ident = create_volume(member, f'data-{uuid.uuid4()}', shared)
    yield ident
    wait_for_status(member, ident, 'Available')
    delete_volume(member, ident)


@pytest.fixture(scope='module')
def kept(member: Browser, shared: str) -> Iterator[str]:
    """Such a volume for tests that only look at it."""
    ident = create_volume(member, f'data-{uuid.uuid4()}', shared)
    yield ident
    delete_volume(member, ident)


def fill_in(browser: Browser, path: str, **values: str) -> Page:
    """Open the page of a form and send it."""
    page = browser.open(path)
    assert page.status == 200
    return browser.submit(page, page.find_form(path), **values)


def attach(browser: Browser, volume: str, server: str) -> None:
    """Manage Attachments → Attach Volume."""
    page = browser.open(f'{VOLUMES}{volume}/attach/')
    [form] = [form for form in page.forms if 'instance' in form.fields]
    page = browser.submit(page, form, instance=server)
    [said] = page.find_messages('info')
    assert said.startswith('Attaching volume data-')
    wait_for_status(browser, volume, 'In-use')


def detach(browser: Browser, volume: str, server_name: str) -> None:
    """Manage Attachments → Detach Volume."""
    page = browser.open(f'{VOLUMES}{volume}/attach/')
    [row] = [row for row in page.rows if row.cells[1] == server_name]
    page = browser.press(page, f'{VOLUMES}{volume}/attach/', f'attachments__detach__{row.ident}')
    [said] = page.find_messages('success')
    assert said.startswith('Detaching Volume: Volume data-')
    browser.wait(
        lambda: server_name not in browser.open(VOLUMES).find_row(volume).cells[ATTACHED].replace(',', ' ').split()
    )


def test_the_list_has_no_errors(member: Browser, kept: str) -> None:
    page = member.open(VOLUMES)
    assert_fine(page)
    row = page.find_row(kept)
    assert row.cells[NAME].startswith('data-')
    assert (row.cells[SIZE], row.cells[STATUS], row.cells[ATTACHED]) == ('1GiB', 'Available', '-')
    # What it offers depends on what the service says of itself.
    for action in ('Edit Volume', 'Extend Volume', 'Manage Attachments', 'Change Volume Type', 'Delete Volume'):
        assert action in row.cells[-1]


def test_a_reader_sees_it(keystone_browser: dict[str, Browser], kept: str) -> None:
    page = keystone_browser['reader'].open(VOLUMES)
    assert_fine(page)
    assert page.find_row(kept).cells[STATUS] == 'Available'


def test_nobody_else_does(keystone_browser: dict[str, Browser], kept: str) -> None:
    page = keystone_browser['foreign-member'].open(VOLUMES)
    assert_fine(page)
    assert kept not in page.text
    page = keystone_browser['foreign-member'].open(f'{VOLUMES}{kept}/')
    assert page.find_messages('danger') == ['Unable to retrieve volume details.']


def test_details(member: Browser, kept: str, shared: str) -> None:
    page = member.open(f'{VOLUMES}{kept}/')
    assert_fine(page)
    expected = {
        'ID': kept,
        'Status': 'Available',
        'Size': '1 GiB',
        'Type': shared,
        'Bootable': 'No',
        'Encrypted': 'No',
        'Attached To': 'Not attached',
    }
    assert {key: page.facts[key] for key in expected} == expected
    for tab in ('snapshots', 'messages'):
        assert_fine(member.open(f'{VOLUMES}{kept}/?tab=volume_details__{tab}_tab'))


def test_the_form_of_a_new_volume_knows_types_and_limits(member: Browser, shared: str) -> None:
    page = member.open(f'{VOLUMES}create/')
    form = page.find_form(f'{VOLUMES}create/')
    assert set(form.choices['type']) >= {'__DEFAULT__', shared}
    assert form.fields['type'] == '__DEFAULT__'
    assert 'nova' in form.choices['availability_zone']
    page = fill_in(member, f'{VOLUMES}create/', name='large', size='5000')
    assert 'A volume of 5000GiB cannot be created as you only have' in page.text


def test_edit(member: Browser, volume: str) -> None:
    name = f'data-{uuid.uuid4()}'
    page = fill_in(member, f'{VOLUMES}{volume}/update/', name=name, description='of the test')
    assert page.find_messages('info') == [f'Updating volume "{name}"']
    assert member.open(VOLUMES).find_row(volume).cells[1:3] == [name, 'of the test']


def test_extend(member: Browser, volume: str) -> None:
    page = fill_in(member, f'{VOLUMES}{volume}/extend/', new_size='2')
    assert page.find_messages('info')[0].startswith('Extending volume: "data-')
    member.wait(lambda: member.open(VOLUMES).find_row(volume).cells[SIZE] == '2GiB')
    page = fill_in(member, f'{VOLUMES}{volume}/extend/', new_size='2')
    assert 'New size must be greater than current size.' in page.text


def test_change_the_type(member: Browser, volume: str) -> None:
    page = fill_in(member, f'{VOLUMES}{volume}/retype/', volume_type='__DEFAULT__')
    assert not page.find_messages('danger')
    member.wait(lambda: member.open(VOLUMES).find_row(volume).cells[TYPE] == '__DEFAULT__')


FILTERS = [
    ('status', 'available', True),
    ('status', 'in-use', False),
    ('size', '1', True),
    ('size', '3', False),
    ('bootable', 'no', True),
    ('bootable', 'yes', False),
    ('encrypted', 'no', True),
    ('encrypted', 'yes', False),
    ('availability_zone', 'nova', True),
    ('availability_zone', 'mars', False),
    ('name', 'nothing', False),
]


def test_filters(member: Browser, kept: str) -> None:
    prefix = 'volumes__volumes_filter__q'
    fields = {**member.open(VOLUMES).find_form(VOLUMES).fields, 'action': 'volumes__filter__volumes_filter'}
    seen = {}
    for field, value, _shown in FILTERS:
        page = member.open(VOLUMES, {**fields, f'{prefix}_field': field, prefix: value})
        seen[field, value] = page.find_messages('danger') or kept in [row.ident for row in page.rows]
    page = member.open(VOLUMES, {**fields, prefix: ''})  # the session remembers
    assert seen == {(field, value): shown for field, value, shown in FILTERS}
    assert kept in [row.ident for row in page.rows]


def test_two_servers_share_a_volume(member: Browser, volume: str, guests: tuple[str, list[Guest]]) -> None:
    """The first is chosen under Manage Attachments, the second under the instance: there the dashboard offers
    volumes in use."""
    web, db = guests[1]
    attach(member, volume, web.domain.UUIDString())
    path = f'/project/instances/{db.domain.UUIDString()}/attach_volume/'
    page = fill_in(member, path, volume=volume)
    assert page.path == '/project/instances/'
    assert page.find_messages('info')[-1].startswith('Attaching volume data-')
    assert {row.cells[1] for row in page.rows} == {'web', 'db'}
    member.wait(
        lambda: (
            member.open(VOLUMES).find_row(volume).cells[ATTACHED]
            in ('/dev/vdb on web, /dev/vdb on db', '/dev/vdb on db, /dev/vdb on web')
        )
    )
    page = member.open(f'{VOLUMES}{volume}/attach/')
    assert_fine(page)
    assert {(row.cells[1], row.cells[2]) for row in page.rows} == {('web', '/dev/vdb'), ('db', '/dev/vdb')}
    page = member.open(f'{VOLUMES}{volume}/')
    assert page.facts['Attached To'] in ('web on /dev/vdb', 'db on /dev/vdb')

    devices = {guest.name: guest.wait_for_disk(volume) for guest in (web, db)}
    block = f'{uuid.uuid4()}'.encode().ljust(BLOCK_SIZE, b'.')
    web.write_block(devices['web'], 1000, block)
    assert db.read_block(devices['db'], 1000) == block

    assert fill_in(member, f'{VOLUMES}{volume}/extend/', new_size='2').find_messages('danger') == []
    member.wait(lambda: member.open(VOLUMES).find_row(volume).cells[SIZE] == '2GiB')

    detach(member, volume, 'web')
    web.wait_gone(volume)
    assert db.read_block(devices['db'], 1000) == block
    assert find_status(member, volume) == 'In-use'
    page = member.open(f'/project/instances/{db.domain.UUIDString()}/detach_volume/')
    form = page.find_form(f'/project/instances/{db.domain.UUIDString()}/detach_volume/')
    assert volume in form.choices['volume']
    page = member.submit(page, form, volume=volume)
    assert page.find_messages('danger') == []
    db.wait_gone(volume)


def test_what_cannot_be_shared_is_offered_to_one_server(member: Browser, guests: tuple[str, list[Guest]]) -> None:
    web, db = guests[1]
    volume = create_volume(member, f'data-{uuid.uuid4()}', '__DEFAULT__')
    attach(member, volume, web.domain.UUIDString())
    page = member.open(f'/project/instances/{db.domain.UUIDString()}/attach_volume/')
    [form] = [form for form in page.forms if 'volume' in form.fields]
    assert volume not in form.choices['volume']
    detach(member, volume, 'web')
    wait_for_status(member, volume, 'Available')
    delete_volume(member, volume)


def test_a_refusal_reaches_the_user(
    member: Browser, cloud: Cloud, volume: str, guests: tuple[str, list[Guest]]
) -> None:
    """The volume was taken after the page was shown."""
    page = member.open(f'{VOLUMES}{volume}/attach/')
    [form] = [form for form in page.forms if 'instance' in form.fields]
    ident = cloud.reserve(volume)
    assert (
        cloud('admin', 'POST', f'/v3/volumes/{volume}/action', {'os-reset_status': {'status': 'error'}}).status == 202
    )
    page = member.submit(page, form, instance=guests[1][0].domain.UUIDString())
    assert 'Unable to attach volume.' in page.find_messages('danger')
    assert cloud('member', 'DELETE', f'/v3/attachments/{ident}').status == 200
    assert (
        cloud('admin', 'POST', f'/v3/volumes/{volume}/action', {'os-reset_status': {'status': 'available'}}).status
        == 202
    )
