# SPDX-License-Identifier: Apache-2.0
"""clean.sh, as devstack's user, on what a worker has left in the tgtd of the distribution."""

import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.devstack.machine import Machine
from tests.functional.drivers.targets.tgt.conftest import VOLUME_SIZE, Volume
from tests.initiators.session import Session
from tests.initiators.wire import Claim


@pytest.fixture
def tgtd(machine: Machine) -> Iterator[PrivateTgtd]:
    """What tgt-admin takes for the distribution's: number 0 of its socket."""
    prefix = str(machine.folder / 'tgtd')
    machine.env['TGT_IPC_SOCKET'] = prefix
    found = PrivateTgtd(portal=f'127.0.0.1:{machine.portal}', threads=1, control_port=0, socket_prefix=prefix)
    found.start()
    yield found
    found.stop()


def administer(machine: Machine, *words: str) -> str:
    return subprocess.run(
        ['tgtadm', '--lld', 'iscsi', *words], capture_output=True, text=True, check=True, env=os.environ | machine.env
    ).stdout


def test_clean_takes_targets_and_accounts_and_nothing_of_others(machine: Machine, tgtd: PrivateTgtd) -> None:
    state = machine.folder / 'data/multiattach'
    state.mkdir(parents=True)
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=state / 'targets')
    for number in range(2):
        device = pathlib.Path(state, f'disk-{number}')
        device.touch()
        os.truncate(device, VOLUME_SIZE)
        volume = Volume(str(device), tgtd.portal)
        grants = [volume.grant(1), volume.grant(2)]
        info = volume.grant_all(target, grants)
    assert (state / 'targets').stat().st_mode & 0o077 == 0
    administer(machine, '--mode', 'target', '--op', 'new', '--tid', '99', '--targetname', 'iqn.2001-01.org:other')
    administer(machine, '--mode', 'account', '--op', 'new', '--user', 'other', '--password', 'another-secret')
    claim = Claim(tgtd.portal, info.iqn, grants[0].initiator, grants[0].username, grants[0].secret)
    assert len(administer(machine, '--mode', 'account', '--op', 'show').split()) == 2 + 4 + 1
    with Session(claim) as session:
        session.test_ready()
        done = machine.run('clean', MULTIATTACH_TGT_PRIVATE='False')
    assert done.returncode == 0, done.stdout
    assert administer(machine, '--mode', 'account', '--op', 'show').split() == ['Account', 'list:', 'other']
    shown = administer(machine, '--mode', 'target', '--op', 'show')
    found = [line for line in shown.splitlines() if line.startswith('Target ')]
    assert found == ['Target 99: iqn.2001-01.org:other'], done.stdout
    assert not state.exists()


def test_the_user_is_not_root_and_has_sudo(machine: Machine) -> None:
    """What the harness promises: a plugin that forgets sudo fails."""
    (machine.folder / 'dest/multiattach').unlink()
    own = machine.folder / 'dest/multiattach/devstack'
    own.mkdir(parents=True)
    (own / 'settings').touch()
    (own / 'plugin.sh').write_text('id -un; sudo id -un; cat /etc/shadow || echo refused\n')
    done = machine.run('unstack')
    assert done.stdout.splitlines()[:2] == ['stack', 'root']
    assert done.stdout.splitlines()[-1] == 'refused'
