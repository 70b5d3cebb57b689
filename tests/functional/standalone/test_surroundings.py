# SPDX-License-Identifier: Apache-2.0
"""Addresses, ports, folders and limits as machines have them, with a real tgtd."""

import contextlib
import os
import re
import resource
import signal
import socket
import stat
import subprocess

import pytest

from multiattach import listening
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from tests.deployments.noauth import make_connector
from tests.deployments.nursery import open_nursery
from tests.deployments.programs import BIN, make_environment
from tests.deployments.standalone import Standalone
from tests.functional.standalone.test_life import attach, log_in
from tests.testbed.servers import pick_port

QUIET = make_environment()


@contextlib.contextmanager
def running(service):
    service.start()
    try:
        yield service
    finally:
        if service.child.poll() is None:
            assert service.stop() == 0


class Plain(Standalone):
    """As the README says: no option of the target is given."""

    def __init__(self, state, listen, config='[host_agent]\nenabled = no\n'):
        super().__init__(state)
        (state / 'multiattach.conf').write_text(config)
        self.listen = listen
        self.said = []

    def start(self):
        self.child = subprocess.Popen(
            [
                str(BIN / 'multiattach-standalone'),
                '--state-dir',
                str(self.state),
                '--listen',
                self.listen.format(self.port),
                '--config-file',
                str(self.state / 'multiattach.conf'),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=QUIET,
        )
        for line in self.child.stdout:
            self.said.append(line)
            if line.startswith('Try:'):  # the URL that it tells is one that leads there
                self.base = re.search(r'block storage: (http://\S+)/v3', ''.join(self.said))[1]
                return
        raise AssertionError(f'it ended with {self.child.wait()}: {"".join(self.said)}')


def attach_and_log_in(service):
    volume_id = service.make_volume()
    code, reply = attach(service, volume_id, 'a')
    assert code == 200, reply
    info = {**reply['attachment']['connection_info'], 'initiator': make_connector('a')['initiator']}
    assert log_in(service, info)
    return info


# Other tests listen at 127.0.0.1; all addresses of both kinds are like all of one, and ::1.
_OFTEN = ('[::1]:{}', 'localhost:{}', '0.0.0.0:{}')
_SLOW = [pytest.param(place, marks=pytest.mark.slow) for place in ('127.0.0.1:{}', '[::]:{}')]


@pytest.fixture(params=[*_OFTEN, *_SLOW])
def plain(tmp_path, request):
    return Plain(tmp_path / 'state', request.param)


def test_whatever_it_listens_at_hosts_are_told_where_the_target_is(plain):
    with running(plain):
        info = attach_and_log_in(plain)
        portal = listening.parse_portal(info['target_portal'])
        assert not listening.is_wildcard(portal.host)
        assert '0.0.0.0' not in plain.base
        assert '[::]' not in plain.base
        assert plain.base in (plain.state / 'clouds.yaml').read_text()


@pytest.mark.parametrize('sign', [' ', ',', '#', '"', "'", '$', '?', '=', '*', '<', '\\', '\t'])
def test_a_state_folder_that_volumes_cannot_be_exported_from(tmp_path, sign):
    done = open_nursery().call(
        'multiattach-standalone', '--state-dir', tmp_path / f'a{sign}b', '--listen', '127.0.0.1:0'
    )
    assert done.returncode == 2
    assert 'Option --state-dir' in done.stderr
    assert 'character' in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_with_letters_of_another_language(tmp_path):
    with running(Plain(tmp_path / 'état-ж@a:b+c%d', '127.0.0.1:{}')) as service:
        attach_and_log_in(service)


@pytest.mark.parametrize(
    ('config', 'named'),
    [
        ('[file]\ndirectory = /srv/a b\n', 'Option directory in [file]'),
        ('[tgt]\nvolumes_dir = /srv/a,b\n', 'Option volumes_dir in [tgt]'),
        ('[tgt]\niqn_prefix = iqn.2010-10.org#x\n', 'Option iqn_prefix in [tgt]'),
        ('[tgt]\nportal = 0.0.0.0:3260\n', 'Option portal in [tgt]'),
        ('[tgt]\nportal = localhost:3260\n', 'Option portal in [tgt]'),
        ('[tgt]\nportal = 127.0.0.1\n', 'Option portal in [tgt]'),
        ('[tgt]\nlisten = everywhere\n', 'Option listen in [tgt]'),
        (
            '[host_agent]\nenabled = yes\nconnector = qemu\ninitiator_prefix = iqn.2010-10.a b:\n',
            'Option initiator_prefix in [host_agent]',
        ),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(tmp_path, config, named):
    (tmp_path / 'x.conf').write_text(config)
    where = ('--state-dir', tmp_path / 'state', '--listen', '127.0.0.1:0')
    done = open_nursery().call('multiattach-standalone', *where, '--config-file', tmp_path / 'x.conf')
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert 'Traceback' not in done.stderr


def test_the_address_bound_and_the_address_told_are_two(tmp_path):
    bound, told = pick_port(), pick_port()
    config = f'[host_agent]\nenabled = no\n[tgt]\nlisten = 127.0.0.1:{bound}\nportal = 192.0.2.20:{told}\n'
    with running(Plain(tmp_path / 'state', '127.0.0.1:{}', config)) as service:
        volume_id = service.make_volume()
        info = attach(service, volume_id, 'a')[1]['attachment']['connection_info']
        assert info['target_portal'] == f'192.0.2.20:{told}'
        assert log_in(
            service, {**info, 'target_portal': f'127.0.0.1:{bound}', 'initiator': make_connector('a')['initiator']}
        )


@pytest.fixture
def tgt_of_the_distribution():
    """A tgtd at port 3260, as Debian starts it when the package is installed."""
    tgtd = None
    if listening.is_free(listening.Address('0.0.0.0', 3260)):
        tgtd = PrivateTgtd(portal='0.0.0.0:3260', threads=1)
        tgtd.start()
    yield
    if tgtd is not None:
        tgtd.stop()


@pytest.mark.usefixtures('tgt_of_the_distribution')
def test_beside_the_tgt_of_the_distribution(tmp_path):
    service = Plain(tmp_path / 'state', '127.0.0.1:{}')
    with running(service):
        info = attach_and_log_in(service)
    portal = info['target_portal']
    assert not portal.endswith(':3260')
    assert (service.state / 'portal').read_text() == f'{portal}\n'
    with running(service):
        assert log_in(service, info), 'the port is kept: attached servers know it'
    port = listening.parse_portal(portal).port
    with socket.create_server(('127.0.0.1', port)):
        done = subprocess.run(
            [
                BIN / 'multiattach-standalone',
                '--state-dir',
                service.state,
                '--listen',
                '127.0.0.1:0',
                '--config-file',
                service.state / 'multiattach.conf',
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=QUIET,
        )
    assert done.returncode == 2
    assert f'(pid {os.getpid()}) has the port' in done.stderr, 'who has it is said'
    assert f'127.0.0.1:{port}' in done.stderr


def test_a_state_folder_that_was_open_to_others_is_closed(tmp_path):
    service = Standalone(tmp_path / 'state')
    with running(service):
        service.make_volume()
    for path in [service.state, *service.state.rglob('*')]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with running(service):
        attach(service, service.make_volume(), 'a')
        found = [service.state, *service.state.rglob('*')]
        assert len(found) > 8
        assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_more_idle_connections_than_files_lock_nobody_out(tmp_path):
    """Neither users nor the worker, whose descriptors are its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    service = Standalone(tmp_path / 'state')
    metrics = pick_port()
    with (service.state / 'multiattach.conf').open('a') as file:
        file.write(f'[metrics]\nlisten = 127.0.0.1:{metrics}\n')
    try:
        with running(service), contextlib.ExitStack() as stack:
            threads = count_threads(service.child.pid)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # of this process, which has files of other tests
            for port in (service.port, metrics):
                for _ in range(1200):
                    stack.enter_context(socket.create_connection(('127.0.0.1', port), timeout=10))
            attach_and_log_in(service)
            assert count_threads(service.child.pid) < threads + 40
            assert len(os.listdir(f'/proc/{service.child.pid}/fd')) < 1024
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def count_threads(pid):
    return len(os.listdir(f'/proc/{pid}/task'))


def test_exports_of_a_killed_tgtd_follow_at_once(tmp_path):
    """Whatever the pause between two heartbeats."""
    service = Standalone(tmp_path / 'state')
    file = service.state / 'multiattach.conf'
    file.write_text(file.read_text().replace('report_interval = 0.5', 'report_interval = 60'))
    with running(service):
        info = attach_and_log_in(service)
        [pid] = service.tgtd_pids()
        os.kill(pid, signal.SIGKILL)
        service.wait(lambda: log_in(service, info), seconds=10)
