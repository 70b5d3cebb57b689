# SPDX-License-Identifier: Apache-2.0
"""The plugin with Keystone and a real target: what each persona reads, and what a target really has."""

import json
import pathlib
from collections.abc import Callable

import pytest

from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from tests.functional.keystone.conftest import Cloud
from tests.functional.plugin import Done, Openstack

Run = Callable[..., Done]


@pytest.fixture(scope='module')
def run(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command of the plugin as a persona."""
    home = str(tmp_path_factory.mktemp('home'))

    def call(persona: str, words: str, *more: str) -> Done:
        known = cloud.keystone.list_credentials(persona)
        environment = {f'OS_{key.upper()}': value for key, value in known.items()}
        environment |= {'HOME': home, 'OS_IDENTITY_API_VERSION': '3'}
        return Openstack([], environment).plugin(words, *more)

    return call


@pytest.fixture(scope='module')
def attached(cloud: Cloud) -> tuple[str, str]:
    """A volume and its attachment from host one."""
    volume_id = cloud.make_volume()
    ident = cloud.reserve(volume_id)
    cloud.connect(ident)
    cloud.complete(ident)
    return volume_id, ident


def test_owners_read_the_timeline_without_hosts(run: Run, attached: tuple[str, str]) -> None:
    whole = run('admin', 'attachment explain', attached[1], '-f', 'json').json
    assert whole['host'] == 'one'
    assert whole['timeline'][2]['by'].startswith('volume:')
    seen = run('reader', 'attachment explain', attached[1], '-f', 'json').json
    assert [step['to'] for step in seen['timeline']] == ['reserved', 'exporting', 'exported', 'attached']
    assert [step['by'] for step in seen['timeline']] == ['api', 'api', 'volume worker', 'api']
    assert (seen['host'], seen['initiator']) == (None, None)


def test_strangers_find_nothing(run: Run, attached: tuple[str, str]) -> None:
    done = run('foreign-member', 'attachment explain', attached[1])
    assert (done.code, 'could not be found' in done.err) == (1, True)
    done = run('foreign-member', 'volume explain', attached[0])
    assert (done.code, 'No Volume found' in done.err) == (1, True)


def test_hosts_and_targets_are_for_admins(run: Run) -> None:
    done = run('member', 'host list')
    assert done.code == 1
    assert "Policy doesn't allow multiattach:hosts" in done.err
    assert 'Ask an admin' in done.err
    assert 'one' in [row['Host'] for row in run('admin', 'host list', '-f', 'json').json]


def test_what_somebody_did_to_the_target_is_told(cloud: Cloud, run: Run, attached: tuple[str, str]) -> None:
    volume_id, ident = attached
    before = run('admin', 'target show', volume_id, '-f', 'json').json
    assert (before['exists'], before['differences'], len(before['luns'])) == (True, [], 1)
    [initiator] = before['initiators']
    daemon = TgtDaemon(find_control_port(cloud.service.state))
    target = daemon.show_targets().find(before['iqn'])
    assert target is not None
    daemon.unbind_initiator(target.tid, initiator)
    daemon.bind_initiator(target.tid, 'iqn.1994-05.com.example:stray')
    after = run('admin', 'target show', volume_id, '-f', 'json').json
    assert [(one['kind'], one['about']) for one in after['differences']] == [
        ('shut_out', initiator),
        ('admitted', 'iqn.1994-05.com.example:stray'),
    ]
    different = run('admin', 'target list', '--differences', '-f', 'json').json
    [row] = [row for row in different if row['Volume ID'] == volume_id]
    assert row['Differences'] == ['admitted', 'shut_out']
    secret = cloud('root', 'GET', f'/v3/attachments/{ident}').json['attachment']['connection_info']['auth_password']
    assert secret not in json.dumps(after)


def find_control_port(state: pathlib.Path) -> int:
    """Find the number of the private tgtd in the log."""
    found = [line for line in (state / 'multiattach.log').read_text().splitlines() if 'control port' in line]
    return int(found[-1].split('control port ')[1].split(',')[0])
