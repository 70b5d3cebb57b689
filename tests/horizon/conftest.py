# SPDX-License-Identifier: Apache-2.0
"""Keystone, this service with two real servers, and Horizon."""

import concurrent.futures
import pathlib
import tempfile
import uuid
from collections.abc import Iterator

import pytest

from tests.deployments.standalone import Standalone
from tests.functional.keystone.conftest import Cloud
from tests.horizon.browser import Browser, Page
from tests.testbed.guest import Guest
from tests.testbed.horizon import Horizon
from tests.testbed.keystone import Keystone
from tests.testbed.libvirtd import Libvirtd

VOLUMES = '/project/volumes/'


@pytest.fixture(scope='session')
def guests() -> Iterator[tuple[str, list[Guest]]]:
    """Two servers, and the URI of their libvirt."""
    # Not pytest's folder: the path of a Unix socket has a limit.
    pool = concurrent.futures.ThreadPoolExecutor()
    with tempfile.TemporaryDirectory(prefix='ma-hz-') as name, pool:
        folder = pathlib.Path(name)
        with Libvirtd(folder / 'lv') as daemon:
            connection = daemon.connect()
            made = [Guest.define(connection, one, folder / one) for one in ('web', 'db')]
            list(pool.map(Guest.start, made))
            list(pool.map(Guest.wait_ready, made))
            yield daemon.uri, made
            for guest in made:
                guest.destroy()
            connection.close()


@pytest.fixture(scope='session')
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with Keystone(tmp_path_factory.mktemp('keystone')) as running:
        yield running


@pytest.fixture(scope='session')
def cloud(
    keystone: Keystone, guests: tuple[str, list[Guest]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """The service and its compute endpoint."""
    service = Standalone(tmp_path_factory.mktemp('service'))
    base = f'http://127.0.0.1:{service.port}'
    keystone.register_volume(f'{base}/v3/%(project_id)s')
    keystone.register_compute(f'{base}/compute/v2.1')
    conf = service.state / 'multiattach.conf'
    conf.chmod(0o600)
    conf.write_text(
        f'[DEFAULT]\nreport_interval = 0.5\n[tgt]\nportal = 127.0.0.1:{service.portal}\n'
        f'[host_agent]\nenabled = yes\nconnector = qemu\nlibvirt_uri = {guests[0]}\n'
        f'project_id = {keystone.accounts["member"].project_id}\n'
        f'[api]\nauth_strategy = keystone\n{keystone.render_authtoken()}'
    )
    service.start()
    try:
        yield Cloud(service, keystone)
    finally:
        assert service.stop() == 0


@pytest.fixture(scope='session')
def horizon(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Horizon]:
    with Horizon(tmp_path_factory.mktemp('horizon'), keystone) as running:
        yield running


@pytest.fixture(scope='session')
def keystone_browser(horizon: Horizon, cloud: Cloud) -> dict[str, Browser]:
    """A browser of each persona, logged in."""
    browsers = {}
    for persona in ('admin', 'member', 'reader', 'foreign-member'):
        account = cloud.keystone.accounts[persona]
        browsers[persona] = Browser(horizon.url)
        page = browsers[persona].log_in(account.name, account.password, VOLUMES)
        assert (page.status, page.path) == (200, VOLUMES)
    return browsers


@pytest.fixture(scope='session')
def member(keystone_browser: dict[str, Browser]) -> Browser:
    return keystone_browser['member']


@pytest.fixture(scope='session')
def admin(keystone_browser: dict[str, Browser]) -> Browser:
    return keystone_browser['admin']


@pytest.fixture(scope='session')
def shared(admin: Browser) -> str:
    """Name of a multiattach type."""
    name = f'shared-{uuid.uuid4()}'
    path = f'/admin/volume_types/{create_type(admin, name)}/extras/create/'
    page = admin.open(path)
    page = admin.submit(page, page.find_form(path), key='multiattach', value='<is> True')
    assert page.find_messages('success') == ['Created extra spec "multiattach".']
    return name


def assert_fine(page: Page) -> None:
    """The page came without complaint."""
    assert page.status == 200
    assert page.find_messages('danger') + page.find_messages('warning') == []


def create_type(browser: Browser, name: str) -> str:
    """Admin → Volume Types → Create."""
    path = '/admin/volume_types/create_type'
    page = browser.open(path)
    page = browser.submit(page, page.find_form(path), name=name)
    assert page.find_messages('success') == [f'Successfully created volume type: {name}']
    [row] = [row for row in page.rows if row.cells[1] == name]
    return row.ident


def create_volume(browser: Browser, name: str, kind: str) -> str:
    """Project → Volumes → Create; without a Glance the dashboard complains of that and goes on."""
    page = browser.open(f'{VOLUMES}create/')
    page = browser.submit(page, page.find_form(f'{VOLUMES}create/'), name=name, type=kind, size='1')
    assert page.find_messages('info') == [f'Creating volume "{name}"']
    assert set(page.find_messages('danger')) <= {'Invalid service catalog: image'}
    [row] = [row for row in page.rows if row.cells[1] == name]
    wait_for_status(browser, row.ident, 'Available')
    return row.ident


def find_status(browser: Browser, volume: str) -> str:
    """What the list says of a volume."""
    return browser.open(VOLUMES).find_row(volume).cells[4]


def wait_for_status(browser: Browser, volume: str, status: str) -> None:
    """Wait until the list says so."""
    browser.wait(lambda: find_status(browser, volume) == status)


def delete_volume(browser: Browser, volume: str) -> None:
    """Project → Volumes → Delete."""
    page = browser.press(browser.open(VOLUMES), VOLUMES, f'volumes__delete__{volume}')
    assert page.find_messages('danger') == []
    browser.wait(lambda: volume not in [row.ident for row in browser.open(VOLUMES).rows])
