# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest

from tests.testbed.keystone import Keystone


@pytest.fixture(scope='session')
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """The Keystone that the guides take for granted."""
    with Keystone(tmp_path_factory.mktemp('keystone') / 'keystone') as server:
        server.identity.ask('DELETE', f'/users/{server.accounts["multiattach"].user_id}')
        yield server


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp('guide')
