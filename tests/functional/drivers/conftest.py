# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.testbed.ceph import Ceph


@pytest.fixture(scope='session')
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with Ceph(tmp_path_factory.mktemp('ceph') / 'c') as cluster:
        # With it a clone need not be copied.
        cluster.ask('osd set-require-min-compat-client', version='mimic')
        yield cluster
