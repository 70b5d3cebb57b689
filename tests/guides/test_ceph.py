# SPDX-License-Identifier: Apache-2.0
"""doc/source/install/ceph.rst, typed into a clean Debian 12 where a Ceph runs: two servers share an image."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.guides.deployment import CLONE, Machine
from tests.guides.test_readme import README
from tests.guides.text import TOP, read_blocks
from tests.testbed.polling import wait_until

GUIDE = TOP / 'doc/source/install/ceph.rst'
_TYPED = ('In the cluster', 'On the storage host')
# What the guide takes for granted: a cluster, and its administrator's files where every tool looks.
_CLUSTER = """\
import pathlib, shutil, signal
from tests.testbed.ceph import Ceph
with Ceph(pathlib.Path('/root/ceph')) as ceph:
    lines = ceph.conf.read_text().splitlines()
    etc = pathlib.Path('/etc/ceph')
    shutil.copy('/root/ceph/keyring', etc / 'ceph.client.admin.keyring')
    text = [line for line in lines if not line.startswith(('keyring =', 'log file =', 'admin socket ='))]
    (etc / 'ceph.conf').write_text(chr(10).join(text) + chr(10))
    signal.pause()
"""


@pytest.fixture
def machine(folder: pathlib.Path) -> Iterator[Machine]:
    running = Machine(folder, {'debian': '192.0.2.10'})
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_each_block_is_commands_or_a_part_of_a_file() -> None:
    kinds = {block.kind for block in read_blocks(GUIDE) if block.section in _TYPED}
    assert kinds == {'shell', 'ini'}


@pytest.mark.slow
def test_two_servers_share_an_image(machine: Machine) -> None:
    shell, host = machine.shell, machine.host
    shell.type('bash -ec ". tools/environment quickstart-rbd host,client"', 3600)
    host.put_file('/root/cluster.py', _CLUSTER.encode())
    cluster = machine.log_in()
    cluster.start('PYTHONPATH=$PWD python3 /root/cluster.py')
    wait_until(lambda: host.run('ceph --connect-timeout 5 osd stat | grep -q "1 up"')[0] == 0, 120, 'the cluster', 1)

    settings = '[host_agent]\nconnector = qemu\n[tgt]\nprivate = no\n'
    for block in (one for one in read_blocks(GUIDE) if one.section in _TYPED):
        if block.text.startswith('[Service]'):
            host.put_file('/etc/systemd/system/tgt.service.d/override.conf', block.text.encode())
        elif block.kind == 'ini':
            settings += block.text
        else:
            shell.type(block.text)
    shell.type('systemctl daemon-reload && systemctl restart tgt && systemctl start libvirtd')
    machine.start_servers('web', 'db')
    _, service, setup, sharing = (block.text for block in read_blocks(README) if block.section == 'Quick start')
    first = machine.log_in()
    first.type('install -d -m 700 state')
    host.put_file(f'{CLONE}/state/multiattach.conf', settings.encode())
    shell.type('.venv/bin/multiattach-manage --config-file state/multiattach.conf config check; true')
    first.start(service.splitlines()[-1])
    answers = f'test -e {CLONE}/state/clouds.yaml && exec 3<>/dev/tcp/127.0.0.1/8776'
    wait_until(lambda: host.run(answers)[0] == 0, 120, 'the API', 1)
    shell.type(setup)
    shell.type('\n'.join(sharing.splitlines()[:2]))
    machine.volume_id = shell.type('openstack --os-cloud multiattach volume show shared -f value -c id').strip()
    machine.check_shared('web', 'db')
    machine.check_shared('db', 'web')
    assert host.check('rbd -n client.multiattach ls volumes').split() == [f'volume-{machine.volume_id}']
    shell.type('\n'.join(sharing.splitlines()[3:]))
    for guest in machine.guests.values():
        guest.wait_gone(machine.volume_id)
    shell.type('openstack --os-cloud multiattach volume delete shared')
    wait_until(lambda: host.check('rbd -n client.multiattach ls volumes') == '', 60, 'the end of the image', 1)
    first.interrupt()
    cluster.interrupt()
