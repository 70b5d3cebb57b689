# SPDX-License-Identifier: Apache-2.0
"""A driver outside this tree: the package that doc/source/contributor/drivers.rst shows, installed and used."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.drivers.targets.tgt.initiator import BLOCK, Session
from tests.functional.standalone.test_life import attach

EXAMPLE = pathlib.Path(__file__).parents[3] / 'doc' / 'source' / 'contributor' / 'example'


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Folder that has the package as pip installs it."""
    folder = tmp_path_factory.mktemp('foreign')
    shutil.copytree(EXAMPLE, folder / 'source')
    subprocess.run(
        [
            *[sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--no-build-isolation'],
            *['--target', str(folder / 'site'), str(folder / 'source')],
        ],
        check=True,
        timeout=120,
    )
    return folder / 'site'


@pytest.fixture
def service(tmp_path, installed):
    made = Standalone(tmp_path)
    path = os.pathsep.join([str(installed), os.environ.get('PYTHONPATH', '')])
    made.environment = {'PYTHONPATH': path.rstrip(os.pathsep)}
    with (tmp_path / 'multiattach.conf').open('a') as file:
        file.write(
            f'[volume]\nenabled_backends = steady\n[steady]\ndriver = thick\nthick_directory = {tmp_path}/thick\n'
        )
    made.start()
    yield made
    if made.child.poll() is None:
        assert made.stop() == 0


def test_a_volume_of_a_driver_of_another_package_is_attached(service):
    volume_id = service.make_volume()
    file = service.state / 'thick' / f'volume-{volume_id}'
    assert file.stat().st_blocks * 512 >= 1 << 30
    code, reply = attach(service, volume_id, 'a')
    assert code == 200
    info = reply['attachment']['connection_info']
    session = Session(
        info['target_portal'],
        info['target_iqn'],
        make_connector('a')['initiator'],
        info['auth_username'],
        info['auth_password'],
    )
    data = os.urandom(BLOCK)
    session.write(7, data)
    session.close()
    with file.open('rb') as opened:
        opened.seek(7 * BLOCK)
        assert opened.read(BLOCK) == data
    assert service.ask('DELETE', f'/v3/attachments/{reply["attachment"]["id"]}')[0] == 200
    code, copy = service.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'source_volid': volume_id}})
    assert code == 202
    service.wait(lambda: service.status(copy['volume']['id']) == 'available', 120)
    for ident in (volume_id, copy['volume']['id']):
        assert service.ask('DELETE', f'/v3/volumes/{ident}')[0] == 202
    service.wait(lambda: not any((service.state / 'thick').iterdir()), 60)


def test_its_options_are_known(service):
    config = service.state / 'multiattach.conf'
    words = ['multiattach-manage', '--config-file', str(config), 'config', 'check']
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore', **service.environment}

    def check():
        command = [str(pathlib.Path(sys.executable).parent / words[0]), *words[1:]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr

    assert 'steady' not in check()
    config.write_text(config.read_text().replace('thick_directory', 'thick_directry'))
    assert 'did you mean thick_directory?' in check()
