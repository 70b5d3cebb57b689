# SPDX-License-Identifier: Apache-2.0
"""What a user of devstack may choose, and what is refused; nothing is started."""

import configparser
import pathlib
import re
import subprocess

import pytest

from tests.devstack.machine import TOP, Machine


def read(path: pathlib.Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(default_section='nothing')
    parser.read(path)
    return parser


def configure(machine: Machine, **settings: str) -> configparser.RawConfigParser:
    """Run the configuration alone, without accounts and database."""
    done = machine.run('configure', **settings)
    assert done.returncode == 0, done.stdout
    return read(machine.conf)


def test_cinder_beside_it_is_refused(machine: Machine) -> None:
    done = machine.run('stack', 'pre-install', ENABLED_SERVICES='key,mysql,c-api,c-vol')
    assert done.returncode != 0
    assert 'disable_service cinder c-api c-bak c-sch c-vol' in done.stdout


def test_cinder_beside_it_is_fine_with_a_type_of_its_own(machine: Machine) -> None:
    done = machine.run(
        'stack', 'pre-install', ENABLED_SERVICES='key,mysql,c-api,c-vol', MULTIATTACH_SERVICE_TYPES='multiattach'
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ('name', 'value'), [('MULTIATTACH_ENABLED_BACKENDS', 'ceph:one'), ('MULTIATTACH_TARGET_DRIVER', 'lio')]
)
def test_what_it_cannot_do_is_refused(machine: Machine, name: str, value: str) -> None:
    done = machine.run('stack', 'pre-install', **{name: value})
    assert done.returncode != 0
    assert name in done.stdout


def test_the_packages_are_asked_for_by_their_names(machine: Machine) -> None:
    done = machine.run('stack', 'install')
    assert done.returncode == 0, done.stdout


def test_nova_is_told_where_volumes_are(machine: Machine) -> None:
    conf = configure(machine, ENABLED_SERVICES='key,mysql,rabbit,n-api,n-cpu')
    nova = read(machine.nova_conf)
    assert nova['cinder']['catalog_info'] == 'block-storage::publicURL'
    assert nova['cinder']['username'] == 'nova'
    assert conf['nova']['auth_type'] == 'password'
    assert 'host_agent' not in conf


def test_a_disabled_service_stays_disabled(machine: Machine) -> None:
    conf = configure(machine, DISABLED_SERVICES='multiattach-host')
    assert 'host_agent' not in conf


def test_several_backends(machine: Machine) -> None:
    conf = configure(machine, MULTIATTACH_ENABLED_BACKENDS='lvm:fast,file:slow', MULTIATTACH_TARGET_DRIVER='null')
    assert conf['volume']['enabled_backends'] == 'fast,slow'
    assert dict(conf['fast']) == {'driver': 'lvm', 'target_driver': 'null', 'volume_group': 'stack-volumes-fast'}
    assert conf['slow']['directory'].endswith('/data/multiattach/volumes/slow')
    assert machine.run('clean', MULTIATTACH_ENABLED_BACKENDS='lvm:fast,file:slow').returncode == 0
    assert machine.calls.read_text() == 'clean_lvm_volume_group stack-volumes-fast\n'


def test_quorum_queues_are_a_choice(machine: Machine) -> None:
    assert configure(machine)['oslo_messaging_rabbit']['rabbit_quorum_queue'] == 'True'
    assert 'oslo_messaging_rabbit' not in configure(machine, MULTIATTACH_QUORUM_QUEUES='False')


@pytest.mark.parametrize('services', ['key,mysql,rabbit,n-api,n-cpu', 'key,mysql,rabbit'])
def test_the_initiator_is_told_to_use_the_digest_of_tgtd(machine: Machine, services: str) -> None:
    """devstack's n-cpu sets others, which tgtd refuses."""
    conf = machine.folder / 'iscsid.conf'
    before = 'node.startup = manual\nnode.session.auth.chap_algs = SHA3-256,SHA256\nnode.conn[0].x = 1\n'
    conf.write_text(before)
    told = {'ENABLED_SERVICES': services, 'MULTIATTACH_ISCSID_CONF': str(conf)}
    configure(machine, MULTIATTACH_TARGET_DRIVER='null', **told)
    assert conf.read_text() == before
    for _ in range(2):
        configure(machine, **told)
        assert conf.read_text() == ('node.startup = manual\nnode.conn[0].x = 1\nnode.session.auth.chap_algs = MD5\n')


def test_the_branch_that_is_named_exists() -> None:
    """devstack's enable_plugin takes master where no branch is named."""
    found = re.search(
        r'^ +enable_plugin multiattach <[^>]+>(.*)$', (TOP / 'devstack/README.rst').read_text(), re.MULTILINE
    )
    assert found
    branch = found[1].strip() or 'master'
    if not (TOP / '.git').exists():
        pytest.skip('no repository')
    names = subprocess.run(
        [
            'git',
            '-c',
            'safe.directory=*',
            '-C',
            TOP,
            'for-each-ref',
            '--format=%(refname)',
            'refs/heads',
            'refs/remotes',
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert any(re.fullmatch(rf'refs/(heads|remotes/[^/]+)/{branch}', name) for name in names), names
