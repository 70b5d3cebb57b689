# SPDX-License-Identifier: Apache-2.0
"""The openstack client with both services: Nova answers for servers, this service for volumes."""

import json
import os
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.keystone.conftest import Cloud
from tests.nova_api.conftest import Compute
from tests.nova_api.test_guard import attach

pytestmark = pytest.mark.usefixtures('network')
Run = Callable[..., Any]


@pytest.fixture
def run(cloud: Cloud, tmp_path: pathlib.Path) -> Run:
    """The client, told nothing but who asks."""
    known = cloud.keystone.list_credentials('member')
    known.pop('auth_type')
    env = {
        'PATH': os.environ['PATH'],
        'HOME': str(tmp_path),
        'PYTHONWARNINGS': 'ignore',
        **{f'OS_{name.upper()}': value for name, value in known.items()},
    }

    program = pathlib.Path(sys.executable).with_name('openstack')

    def run(*words: str) -> Any:
        done = subprocess.run(
            [program, *words, '-f', 'json'], env=env, text=True, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_volumes_of_a_server(cloud: Cloud, compute: Compute, volume: str, run: Run) -> None:
    name = f'web-{uuid.uuid4()}'
    use = attach(cloud, compute, volume, compute.make_server(name))
    [row] = run('server', 'volume', 'list', name)
    assert (row['Server ID'], row['Volume ID'], row['Device']) == (use.server, volume, '/dev/vdb')
    assert row['Attachment ID'] == use.attachment
    [shown] = run('volume', 'show', volume)['attachments']
    assert (shown['server_id'], shown['attachment_id']) == (use.server, use.attachment)
    assert [entry['id'] for entry in run('server', 'show', name)['volumes_attached']] == [volume]
