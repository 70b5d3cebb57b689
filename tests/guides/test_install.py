# SPDX-License-Identifier: Apache-2.0
"""doc/source/install/install.rst, typed into a clean Debian 12 to its end: two servers that share a volume."""

import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.guides.deployment import INSTALL, UPGRADE, Deployment, choose
from tests.guides.text import read_blocks
from tests.testbed.keystone import Keystone


@pytest.mark.parametrize('page', [INSTALL, UPGRADE], ids=lambda page: page.stem)
def test_each_block_is_a_script_or_a_file(page: pathlib.Path) -> None:
    blocks = read_blocks(page)
    assert len(blocks) >= 10
    for block in blocks:
        assert block.kind in ('shell', 'ini'), block
        if block.kind == 'shell':
            done = subprocess.run(['bash', '-n'], input=block.text, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ''), block
        else:
            assert block.text.startswith('['), block


@pytest.fixture(scope='module')
def deployment(folder: pathlib.Path, keystone: Keystone) -> Iterator[Deployment]:
    running = Deployment(folder, keystone)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_the_guide_leads_to_a_shared_volume(deployment: Deployment) -> None:
    for block in choose(read_blocks(INSTALL)):
        deployment.follow_install(block)
    deployment.check_shared('one', 'two')
    failed = deployment.host.check('systemctl --failed --no-legend --plain')
    assert {line.split()[0] for line in failed.splitlines()} <= {'iscsid.service'}  # the kernel has no iSCSI
