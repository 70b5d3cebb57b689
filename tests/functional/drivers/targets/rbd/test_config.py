# SPDX-License-Identifier: Apache-2.0
"""What an operator sees of a target driver that cannot be used."""

import subprocess

import pytest

from tests.deployments.programs import BIN, make_environment

from .cloud import make_options, write_environment


@pytest.fixture
def check(ceph, tmp_path):
    """Run ``config check --connect``; gives what it says of the backend."""
    name = f'o{tmp_path.name[-12:].replace("_", "")}'
    options = make_options(ceph, name)

    def run(driver: str, more: str = '') -> str:
        config = tmp_path / 'multiattach.conf'
        config.write_text(
            f'[DEFAULT]\ntransport_url = inproc://\nstate_path = {tmp_path}\n'
            f'[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n[volume]\nenabled_backends = fast\n'
            f'[fast]\ndriver = {driver}\ntarget_driver = rbd\nrbd_pool = {name}\nrbd_user = {name}\n'
            f'rbd_ceph_conf = {options.rbd_ceph_conf}\n{more}'
        )
        argv = [BIN / 'multiattach-manage', '--config-file', config, 'config', 'check', '--connect']
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
        return ' '.join(line for line in (done.stdout + done.stderr).splitlines() if '[fast]' in line)

    environment = make_environment(**write_environment(tmp_path))
    run.user = name
    yield run
    ceph.remove_pool(name)


def test_the_cluster_is_asked_whether_users_can_be_made(ceph, check):
    assert check('rbd') == ''
    assert 'target_driver in [fast]: rbd is for images of Ceph, and driver is file' in check('file')
    assert 'option rbd_secret_uuid has an invalid value' in check('rbd', 'rbd_secret_uuid = cinder\n')
    ceph.ask('auth caps', entity=f'client.{check.user}', caps=['mon', 'profile rbd', 'osd', 'profile rbd'])
    said = check('rbd')
    assert f'client.{check.user} has no capability for "' in said
    assert 'allow command "auth ls"' in said
