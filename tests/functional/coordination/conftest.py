# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest

from tests.testbed.coordination import Etcd, Redis

SECONDS = 3  # after which a killed process counts as gone


@pytest.fixture(scope='package')
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp('redis')) as server:
        yield server


@pytest.fixture(scope='package')
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp('etcd')) as server:
        yield server


@pytest.fixture(params=['file', 'redis', 'etcd'])
def backend_url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """URL of a coordination backend for tooz, as [coordination] backend_url has it."""
    if request.param == 'file':
        (tmp_path / 'locks').mkdir()
        return f'file://{tmp_path}/locks?timeout={SECONDS}'
    server = request.getfixturevalue(request.param)
    return f'{server.url}{"&" if "?" in server.url else "?"}timeout={SECONDS}'
