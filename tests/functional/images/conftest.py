# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest

from tests.functional.images.cloud import Cloud, deploy_with
from tests.testbed.glance import Glance


@pytest.fixture(scope='session')
def glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """A real Glance where everybody is an admin; it takes images that it would refuse by itself."""
    settings = '[image_format]\nrequire_image_format_match = false\n'
    with Glance(tmp_path_factory.mktemp('glance'), settings=settings) as one:
        yield one


@pytest.fixture(scope='module')
def cloud(glance: Glance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A control plane with files, and that Glance."""
    with deploy_with(tmp_path_factory.mktemp('cloud'), glance.url, glance) as running:
        yield running


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path
