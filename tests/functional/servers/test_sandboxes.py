# SPDX-License-Identifier: Apache-2.0
"""The sandboxes of the systemd units: systemd itself starts each, with a probe in the program's place.

All three are on one machine here, as the install guide allows.
"""

import json
import pathlib
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployments.programs import TOP
from tests.testbed.systemd import Systemd

FOLDERS = {'api': '/var/lib/multiattach-api', 'host': '/var/lib/multiattach-host', 'volume': '/var/lib/multiattach'}
# What lies in the worker's folder: a target with its CHAP secret, and a volume.
SECRET, VOLUME = '/var/lib/multiattach/targets/one', '/var/lib/multiattach/volumes/volume-one'
PROBE = '/opt/multiattach/unit_probe.py'


class Machine:
    """A host with the units installed as the guide says.

    :param host: on which systemd runs.
    """

    def __init__(self, host: Systemd) -> None:
        self.host = host

    def install(self) -> None:
        """The guide's user, and the units."""
        self.host.check(
            'useradd --system --user-group --no-create-home --home-dir /nonexistent'
            ' --shell /usr/sbin/nologin multiattach; mkdir -p /opt/multiattach'
        )
        self.host.put_file(PROBE, pathlib.Path(__file__).with_name('unit_probe.py').read_bytes())
        for unit in (TOP / 'etc/systemd').glob('*.service'):
            self.host.put_file(f'/etc/systemd/system/{unit.name}', unit.read_bytes())

    def lay(self, owner: str = 'root') -> None:
        """Lay what units of a release have left in their folders, as it is before any of them starts.

        :param owner: of the worker's folder.
        """
        self.host.check(f"""
            rm -rf {' '.join(FOLDERS.values())}
            install -d -m 750 {FOLDERS['volume']} {FOLDERS['volume']}/targets {FOLDERS['volume']}/volumes
            for file in {SECRET} {VOLUME}; do echo kept >$file; chmod 640 $file; done
            chown -R {owner}:{owner} {FOLDERS['volume']}""")

    def probe(self, role: str, *attempts: str) -> dict[str, Any]:
        """Start a unit with the probe in the program's place.

        :param role: of the unit.
        :param attempts: KIND:SUBJECT each.
        :returns: how each has ended.
        """
        words = ' '.join(f'"{word}"' for word in attempts)
        self.host.check('mkdir -p ' + (drop := f'/run/systemd/system/multiattach-{role}.service.d'))
        self.host.put_file(
            f'{drop}/probe.conf',
            (
                '[Unit]\nWants=\n[Service]\nType=oneshot\nRestart=no\nExecStart=\n'
                f'ExecStart=/usr/bin/python3 -I -S {PROBE} {words}\n'
                f'StandardOutput=truncate:/run/probe-{role}\n'
            ).encode(),
        )
        unit = f'multiattach-{role}'
        self.host.check(
            f'systemctl daemon-reload && systemctl start {unit} ||'
            f' {{ journalctl -n 30 -u {unit} --no-pager; exit 1; }}',
            300,
        )
        found: dict[str, Any] = json.loads(self.host.check(f'cat /run/probe-{role}'))
        return found

    def stat(self, *paths: str) -> list[str]:
        """Tell owner and mode of each path, as "root 700"."""
        return self.host.check(f'stat -c "%U %a" {shlex.join(paths)}').splitlines()


@pytest.fixture(scope='module')
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Systemd(tmp_path_factory.mktemp('units')) as host:
        machine = Machine(host)
        machine.install()
        yield machine


@pytest.fixture
def machine(booted: Machine) -> Machine:
    booted.lay()
    return booted


def test_systemd_is_what_starts_the_units(machine: Machine) -> None:
    assert machine.host.check('cat /proc/1/comm').strip() == 'systemd'


def test_each_unit_has_a_folder_of_its_own(machine: Machine) -> None:
    users = {}
    for role, folder in FOLDERS.items():
        found = machine.probe(role, f'write:{folder}/own', f'read:{folder}/own')
        assert found[f'write:{folder}/own'] == found[f'read:{folder}/own'] == 'done', role
        assert found['folder'] == folder
        users[role] = found['uid']
        owner = 'multiattach' if role == 'api' else 'root'
        assert machine.stat(folder, f'{folder}/own') == [f'{owner} 700', f'{owner} 600']
    assert users['api'] > 0 == users['host'] == users['volume']


@pytest.mark.parametrize('first', [(), ('volume',), ('host', 'volume')], ids=lambda roles: '-'.join(roles) or 'alone')
def test_the_api_reads_no_secret_and_writes_no_volume(machine: Machine, first: tuple[str, ...]) -> None:
    for role in first:
        machine.probe(role)
    attempts = [
        f'read:{SECRET}',
        f'write:{SECRET}',
        f'read:{VOLUME}',
        f'write:{VOLUME}',
        f'write:{FOLDERS["volume"]}/new',
        f'write:{FOLDERS["host"]}/new',
        'write:/etc/new',
    ]
    found = machine.probe('api', *attempts)
    assert 'done' not in [found[attempt] for attempt in attempts], found
    assert machine.host.check(f'cat {SECRET} {VOLUME}').split() == ['kept', 'kept']
    assert machine.stat(FOLDERS['volume'], SECRET)[0].startswith('root ')


@pytest.mark.parametrize('role', ['host', 'volume'])
def test_root_keeps_out_of_the_folders_of_others(machine: Machine, role: str) -> None:
    others = [folder for other, folder in FOLDERS.items() if other != role]
    for other in FOLDERS:
        machine.probe(other, f'write:{FOLDERS[other]}/own')
    attempts = [f'{kind}:{folder}/own' for folder in others for kind in ('read', 'write')]
    found = machine.probe(role, *attempts)
    assert 'done' not in [found[attempt] for attempt in attempts], found


def test_the_worker_takes_back_what_the_api_was_given(machine: Machine) -> None:
    # By the units of the releases that had one folder for all.
    machine.lay('multiattach')
    found = machine.probe('volume', f'read:{SECRET}', f'write:{VOLUME}')
    assert [found[f'read:{SECRET}'], found[f'write:{VOLUME}']] == ['done', 'done']
    assert machine.stat(FOLDERS['volume'], SECRET, VOLUME) == ['root 700', 'root 640', 'root 640']
    assert machine.probe('api', f'read:{SECRET}')[f'read:{SECRET}'] == 'EACCES'


def test_the_worker_reaches_tgtd_and_devices_and_the_api_neither(machine: Machine) -> None:
    machine.host.check('systemctl start tgt; mkdir -p /dev/mapper /etc/lvm/archive')
    pid = machine.host.check('systemctl show --value -p MainPID tgt').strip()
    # A fence takes connections out of tgtd; LVM makes devices, and archives below /etc/lvm.
    attempts = [
        'connect:/run/tgtd/socket.0',
        f'take-socket:{pid}',
        'write:/dev/mapper/one',
        'write:/etc/lvm/archive/one',
    ]
    found = machine.probe('api', *attempts)
    assert 'done' not in [found[attempt] for attempt in attempts], found
    found = machine.probe('volume', *attempts)
    assert [found[attempt] for attempt in attempts] == ['done'] * 4, found
    assert machine.host.check('cat /dev/mapper/one') == 'probe'
    found = machine.probe('volume', 'write:/etc/one', 'write:/usr/one')
    assert 'done' not in found.values(), found
