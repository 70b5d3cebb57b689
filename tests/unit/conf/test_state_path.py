# SPDX-License-Identifier: Apache-2.0
"""Where a program keeps what it keeps: systemd gives each unit a folder of its own."""

import os
import subprocess
import sys

import pytest

SCRIPT = (
    'from oslo_config import cfg; from multiattach.conf import base; c = cfg.ConfigOpts(); '
    'c.register_opts(base.OPTS); c(sys.argv[1:]); print(c.state_path)'
)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (None, '/var/lib/multiattach'),
        ('', '/var/lib/multiattach'),
        ('/var/lib/multiattach-host', '/var/lib/multiattach-host'),
    ],
)
def test_state_path_is_the_folder_of_the_unit(given: str | None, expected: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != 'STATE_DIRECTORY'}
    if given is not None:
        env['STATE_DIRECTORY'] = given
    done = subprocess.run(
        [sys.executable, '-c', f'import sys; {SCRIPT}'], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
