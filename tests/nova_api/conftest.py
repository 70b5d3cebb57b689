# SPDX-License-Identifier: Apache-2.0
import dataclasses
import http.server
import json
import pathlib
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployments.standalone import Standalone
from tests.functional.keystone.conftest import Cloud, configure
from tests.nova.client import Nova
from tests.testbed.keystone import Keystone
from tests.testbed.nova_api import NovaApi

ROWS = pathlib.Path(__file__).with_name('rows.py')


@dataclasses.dataclass
class Compute:
    """Nova's API, and what compute hosts and conductor would have written to its database.

    :param api: the running service.
    :param rows: a process that writes rows with Nova's own objects.
    :param keystone: accounts.
    """

    api: NovaApi
    rows: Nova
    keystone: Keystone

    def make_server(self, name: str = 'web', *, persona: str = 'member', offloaded: bool = False) -> str:
        """Make a server of a persona that runs on a host, or is shelved and on none."""
        account = self.keystone.accounts[persona]
        ident: str = self.rows.order(
            'make_server',
            None,
            name=name,
            project=account.project_id,
            user=account.user_id,
            host=None if offloaded else 'compute-1',
        )
        return ident

    def use(self, server: str, volume: str, attachment: str) -> None:
        """Let the server use the volume by this attachment."""
        self.rows.order('map_volume', None, server=server, volume=volume, attachment=attachment, device='/dev/vdb')

    def forget(self, server: str, volume: str) -> None:
        """End the use, as a detach does."""
        self.rows.order('unmap_volume', None, server=server, volume=volume)

    def delete_server(self, server: str) -> None:
        """Delete the server as its host does."""
        self.rows.order('delete_server', None, server=server)

    def find_requests(self, *words: str) -> list[str]:
        """Find lines of Nova's request log that have all of the words."""
        lines = self.api.log.read_text().splitlines()
        return [
            line for line in lines if ' nova.api.openstack.requestlog ' in line and all(word in line for word in words)
        ]

    def ask(self, path: str, persona: str = 'member') -> Any:
        """GET something."""
        request = urllib.request.Request(
            f'{self.api.url}{path}',
            headers={'X-Auth-Token': self.keystone.issue_token(persona), 'OpenStack-API-Version': 'compute 2.89'},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def list_actions(self, server: str) -> list[str]:
        """List what was done with a server, as its user sees it."""
        return [action['action'] for action in self.ask(f'/servers/{server}/os-instance-actions')['instanceActions']]


@pytest.fixture(scope='session')
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with Keystone(tmp_path_factory.mktemp('keystone')) as running:
        # Nova finds the servers of all projects for admins only, the role "service" notwithstanding.
        service = running.accounts['multiattach']
        running.accounts['events'] = running.identity.create_account(
            'events', service.project, service.project_id, 'admin', 'service'
        )
        yield running


class NoNetwork(http.server.BaseHTTPRequestHandler):
    """Nova shows no server without asking Neutron for its ports: there are none."""

    def do_GET(self) -> None:
        body = json.dumps({self.path.partition('?')[0].rpartition('/')[2].replace('-', '_'): []}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope='session')
def network(keystone: Keystone) -> Iterator[None]:
    """What stands in for Neutron."""
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), NoNetwork) as server:
        keystone.identity.register('network', 'none', f'http://127.0.0.1:{server.server_port}')
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture(scope='session')
def compute(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compute]:
    """A real Nova API in the catalogue."""
    with NovaApi(tmp_path_factory.mktemp('nova'), keystone) as api:
        keystone.register_compute(api.url)
        rows = Nova(api.python, tmp_path_factory.mktemp('rows'), api.configuration.read_text(), {}, ROWS)
        try:
            yield Compute(api, rows, keystone)
        finally:
            rows.stop()


@pytest.fixture(scope='session')
def cloud(keystone: Keystone, compute: Compute, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """This service beside it, with real targets."""
    service = Standalone(tmp_path_factory.mktemp('service'))
    keystone.register_volume(f'http://127.0.0.1:{service.port}/v3')
    login = '\n'.join(f'{key} = {value}' for key, value in keystone.list_credentials('events').items())
    (service.state / 'multiattach.conf').chmod(0o600)
    configure(service.state, f'{keystone.render_authtoken()}[nova]\n{login}\n')
    service.start()
    try:
        yield Cloud(service, keystone)
    finally:
        assert service.stop() == 0


@pytest.fixture
def server(compute: Compute) -> str:
    return compute.make_server()


@pytest.fixture
def volume(cloud: Cloud) -> str:
    return cloud.make_volume()
