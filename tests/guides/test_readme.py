# SPDX-License-Identifier: Apache-2.0
"""README.rst's commands, typed into a clean Debian 12 on which tgt's own service runs."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.guides.deployment import CLONE, Machine
from tests.guides.text import TOP, read_blocks
from tests.testbed.polling import wait_until

README = TOP / 'README.rst'


@pytest.fixture
def machine(folder: pathlib.Path) -> Iterator[Machine]:
    running = Machine(folder, {'debian': '192.0.2.10'})
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_the_quick_start_and_what_follows_by_hand(machine: Machine) -> None:
    shell = machine.shell
    shell.type('apt-get update && apt-get install -y tgt')
    quick, service, setup, sharing = (block.text for block in read_blocks(README) if block.section == 'Quick start')
    assert quick == 'tools/quickstart\n'
    shell.type(quick, 3600)
    assert machine.host.check('systemctl is-active tgt').strip() == 'active'
    assert ':3260' in machine.host.check('ss --listening --tcp --numeric')

    shell.type('systemctl start libvirtd')
    machine.start_servers('web', 'db')
    first = machine.log_in()
    *before, standalone = service.splitlines()
    first.type('\n'.join(before))
    first.start(standalone)
    answers = f'test -e {CLONE}/state/clouds.yaml && exec 3<>/dev/tcp/127.0.0.1/8776'
    wait_until(lambda: machine.host.run(answers)[0] == 0, 120, 'the API', 1)
    shown = shell.type(setup)
    assert 'web' in shown
    assert 'db' in shown
    attach_web, attach_db, explain, *detach = sharing.splitlines()
    shell.type(f'{attach_web}\n{attach_db}\n{explain}')
    machine.volume_id = shell.type('openstack --os-cloud multiattach volume show shared -f value -c id').strip()
    machine.check_shared('web', 'db')
    shell.type('\n'.join(detach))
    for guest in machine.guests.values():
        guest.wait_gone(machine.volume_id)
    first.interrupt()
    assert machine.host.check(f'cat {CLONE}/state/portal').strip() != '127.0.0.1:3260'


@pytest.mark.slow
def test_the_quick_start_on_ceph(machine: Machine) -> None:
    command = 'tools/quickstart --backend rbd'
    assert f'``{command}``' in README.read_text()
    shown = machine.shell.type(command, 3600)
    assert 'Backing store type: rbd' in shown
    assert machine.host.run('pgrep --exact ceph-mon,ceph-osd,ceph-mgr,tgtd,libvirtd')[0] == 1


@pytest.mark.slow
def test_the_set_up_of_the_tests(machine: Machine) -> None:
    blocks = [block.text for block in read_blocks(README) if block.section == 'Tests']
    assert blocks == ['tools/test\n']
    # All that it does before the first test, and the first one; the tests themselves take their time here.
    (setup,) = [
        line for line in (TOP / 'tools/test').read_text().splitlines() if line.startswith('. tools/environment')
    ]
    machine.shell.type(f'bash -ec "{setup}"', 3600)
    machine.shell.type('PYTHONPATH=$PWD PATH=$PWD/.venv/bin:$PATH pytest -q tests/unit/test_layers.py')
