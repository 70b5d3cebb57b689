# SPDX-License-Identifier: Apache-2.0
"""doc/source/admin/upgrade.rst, typed where the release before runs with a volume attached: forth, and back again."""

import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.guides.deployment import CONF, INSTALL, UPGRADE, Deployment, choose
from tests.guides.terminal import Terminal
from tests.guides.text import TOP, read_blocks
from tests.testbed.debian import Debian
from tests.testbed.keystone import Keystone

# The last commit of 0.1.0: one folder for all units, /opt/multiattach no link.
BEFORE = 'b6ddfeabefce829ba4fdcdb0c453da629ae6f2fb'
# Where its guide differs from that of today.
_AS_THEN = {
    '/opt/multiattach-$release': '/opt/multiattach',
    '-c constraints.txt ': '',
    'ln -sT multiattach-$release /opt/multiattach\n': '',
    '[DEFAULT]\n': '[DEFAULT]\nstate_path = /var/lib/multiattach\n',
}


@pytest.fixture
def deployment(folder: pathlib.Path, keystone: Keystone) -> Iterator[Deployment]:
    running = Deployment(folder, keystone)
    try:
        running.start(BEFORE)
        for old, new in _AS_THEN.items():
            running.replaced[old] = new
        for block in choose(read_blocks(INSTALL)):
            running.follow_install(block)
        for old in _AS_THEN:
            del running.replaced[old]
        yield running
    finally:
        running.stop()


def find_release(deployment: Deployment) -> str:
    return deployment.host.check('readlink -f /opt/multiattach').strip()


@pytest.mark.slow
def test_volumes_stay_attached_forth_and_back(deployment: Deployment) -> None:
    deployment.check_shared('one', 'two')
    deployment.start_sharing('one', 'two')
    assert find_release(deployment) == '/opt/multiattach'
    deployment.replaced |= {'multiattach-OLD': 'multiattach-0.1.0', 'multiattach-NEW': 'multiattach-next'}
    deployment.shell.type(f'git worktree add -q /root/next {deployment.head} && cd /root/next')
    blocks = read_blocks(UPGRADE)

    for block in blocks:
        if block.section in ('Before', 'Order'):
            deployment.follow(block)
    assert find_release(deployment) == '/opt/multiattach-next'
    deployment.check_sharing('one', 'two')
    deployment.check_shared('two', 'one')
    deployment.start_servers('three')
    deployment.shell.type('openstack server add volume three shared')
    deployment.wait_attached('one', 'two', 'three')
    deployment.check_shared('two', 'three')
    assert deployment.host.check('stat -c "%U %a" /var/lib/multiattach').split() == ['root', '700']
    deployment.shell.type('openstack server remove volume three shared')
    deployment.wait_attached('one', 'two')

    for block in blocks:
        if block.section == 'Going back':
            deployment.follow(block)
    assert find_release(deployment) == '/opt/multiattach-0.1.0'
    assert 'state_path = /var/lib/multiattach\n' in deployment.host.reach(CONF).read_text()
    deployment.wait_attached('one', 'two')
    deployment.check_sharing('one', 'two')
    deployment.check_shared('one', 'two')
    deployment.shell.type('openstack server add volume three shared')
    deployment.wait_attached('one', 'two', 'three')
    deployment.check_shared('three', 'one')
    deployment.check_sharing('one', 'two')


# What needs the real programs and the database.
_PROGRAMS = ('mariadb', 'pip install', '/bin/multiattach-')
_RELEASES = {'multiattach-OLD': 'multiattach-0.1.0', 'multiattach-NEW': 'multiattach-next'}


@pytest.fixture
def units(folder: pathlib.Path) -> Iterator[Debian]:
    """The units of both releases, under systemd; sleepers in the programs' place."""
    with Debian(folder, {'controller': '192.0.2.10'}) as host:
        for release, revision in (('multiattach', BEFORE), ('multiattach-next', 'HEAD')):
            for role in ('volume', 'host'):
                name = f'multiattach-{role}'
                unit = ['git', '-C', str(TOP), 'show', f'{revision}:etc/systemd/{name}.service']
                text = subprocess.run(unit, capture_output=True, check=True).stdout
                host.put_file(f'/opt/{release}/share/multiattach/systemd/{name}.service', text)
                host.put_file(f'/opt/{release}/bin/{name}', b'#!/bin/sh\nexec sleep infinity\n')
                host.check(f'chmod +x /opt/{release}/bin/{name}')
        host.put_file(CONF, b'[DEFAULT]\nstate_path = /var/lib/multiattach\nhost = one\n')
        host.check('cp /opt/multiattach/share/multiattach/systemd/* /etc/systemd/system/; systemctl daemon-reload')
        host.check('systemctl enable --now multiattach-volume multiattach-host')
        yield host


def test_the_switch_of_releases_forth_and_back(units: Debian, folder: pathlib.Path) -> None:
    shell = Terminal(units, '/root', folder / 'terminal')

    def follow(*sections: str) -> list[str]:
        for block in read_blocks(UPGRADE):
            if block.section in sections and not any(word in block.text for word in _PROGRAMS):
                text = block.text
                for old, new in _RELEASES.items():
                    text = text.replace(old, new)
                shell.type(text, 120)
        units.check('systemctl is-active multiattach-volume multiattach-host')
        # The programs that run, the folder that each has, and what the file says.
        return units.check(f"""readlink -f /opt/multiattach
            systemctl show --value --property StateDirectory multiattach-volume multiattach-host | grep .
            grep -c state_path {CONF}; true""").split()

    try:
        before = follow('Before')
        assert before == ['/opt/multiattach-0.1.0', 'multiattach', 'multiattach', '1']
        assert follow('Order') == ['/opt/multiattach-next', 'multiattach', 'multiattach-host', '0']
        assert follow('Going back') == before
    finally:
        shell.close()
