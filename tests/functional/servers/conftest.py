# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest

from tests.deployments.web_servers import Backend, Client, Server
from tests.testbed.polling import wait_until

SERVERS = ('uwsgi', 'gunicorn')


@pytest.fixture(scope='session')
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    running = Backend(tmp_path_factory.mktemp('backend'))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope='session', params=SERVERS)
def server(
    request: pytest.FixtureRequest, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    running = Server(backend, request.param, tmp_path_factory.mktemp(request.param))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(params=SERVERS)
def own_server(request: pytest.FixtureRequest, backend: Backend, tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server that a test may stop."""
    running = Server(backend, request.param, tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    connection = Client(server.port)
    yield connection
    connection.close()


@pytest.fixture
def shared(client: Client) -> str:
    """A volume for several servers."""
    return make_shared(client)


def make_shared(client: Client) -> str:
    code, reply = client.ask(
        'POST', '/v3/types', {'volume_type': {'name': 'shared', 'extra_specs': {'multiattach': '<is> True'}}}
    )
    assert code in (200, 409), reply
    wait_until(
        lambda: client.ask('GET', '/v3/os-services?binary=cinder-volume')[1]['services'], 60, 'the volume worker'
    )
    return client.make_volume('shared')
