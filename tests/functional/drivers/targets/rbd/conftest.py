# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest

from tests.testbed.ceph import Ceph

from .cloud import Cloud, deploy_on


@pytest.fixture
def cloud(ceph: Ceph, tmp_path: pathlib.Path) -> Iterator[Cloud]:
    with deploy_on(ceph, tmp_path) as made:
        yield made
