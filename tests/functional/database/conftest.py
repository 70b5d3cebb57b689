# SPDX-License-Identifier: Apache-2.0
"""Each database that the service runs on, whatever ``--database`` says."""

import pathlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from multiattach.db.database import Database
from tests.deployments import embedded, surroundings
from tests.functional.database.relay import Relay


def _serve(kind: str) -> Iterator[surroundings.Surroundings]:
    servers = surroundings.Servers(kind, 'inproc')
    try:
        yield surroundings.Surroundings(servers.facts, 'database')
    finally:
        servers.stop()


@pytest.fixture(scope='session')
def mariadb() -> Iterator[surroundings.Surroundings]:
    yield from _serve('mariadb')


@pytest.fixture(scope='session')
def postgresql() -> Iterator[surroundings.Surroundings]:
    yield from _serve('postgresql')


@pytest.fixture(scope='session')
def sqlite() -> surroundings.Surroundings:
    return surroundings.Surroundings({})


@pytest.fixture(params=['mariadb', 'postgresql'])
def server(request: pytest.FixtureRequest) -> surroundings.Surroundings:
    """A database that is a server."""
    found: surroundings.Surroundings = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=surroundings.DATABASES)
def any_database(request: pytest.FixtureRequest) -> surroundings.Surroundings:
    found: surroundings.Surroundings = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def relay(server: surroundings.Surroundings, tmp_path: pathlib.Path) -> Iterator[Relay]:
    """What the deployment sends to its database goes through here."""
    url = sa.make_url(server.find_database(tmp_path))
    assert url.host is not None
    assert url.port is not None
    between = Relay((url.host, url.port))
    yield between
    between.close()


@pytest.fixture
def served(server: surroundings.Surroundings, tmp_path: pathlib.Path, relay: Relay) -> Iterator[embedded.Deployment]:
    """A control plane on a database server; the worker does nothing by itself after its start."""
    url = sa.make_url(server.find_database(tmp_path)).set(port=relay.port)
    with embedded.deploy(tmp_path, url=url.render_as_string(hide_password=False), report_interval=3600) as parts:
        parts.wait(parts.engine.services.list_backends)  # no heartbeat comes between what is planned
        yield parts
    server.recycle()


@pytest.fixture
def other(server: surroundings.Surroundings, served: embedded.Deployment, tmp_path: pathlib.Path) -> Iterator[Database]:
    """Somebody else's connection to the same database."""
    opened = Database(server.find_database(tmp_path))
    yield opened
    opened.close()
