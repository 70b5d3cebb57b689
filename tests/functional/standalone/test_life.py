# SPDX-License-Identifier: Apache-2.0
"""Start, stop, kill -9 and start again, with a real tgtd."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import uuid

import pytest

from tests.deployments.noauth import make_connector
from tests.deployments.programs import BIN, make_environment
from tests.deployments.standalone import Standalone
from tests.testbed.servers import pick_port


@pytest.fixture
def service(tmp_path):
    made = Standalone(tmp_path / 'state')
    made.start()
    yield made
    if made.child.poll() is None:
        assert made.stop() == 0


def connected(service, volume_id):
    code, reply = service.ask('GET', f'/v3/attachments/detail?volume_id={volume_id}')
    assert code == 200
    return reply['attachments']


def attach(service, volume_id, host):
    return service.ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume_id,
                'instance_uuid': str(uuid.uuid4()),
                'connector': make_connector(host),
            }
        },
    )


def log_in(service, info):
    """Log in as the connection_info says; libiscsi is a real initiator."""
    url = (
        f'iscsi://{info["auth_username"]}%{info["auth_password"]}@{info["target_portal"]}/'
        f'{info["target_iqn"]}/{info["target_lun"]}'
    )
    done = subprocess.run(
        ['iscsi-inq', '-i', info['initiator'], url], capture_output=True, text=True, check=False, timeout=20
    )
    return done.returncode == 0 and 'DISK' in done.stdout.upper().replace('DIRECT_ACCESS', 'DISK')


def test_sigterm_leaves_nothing_and_a_new_start_finds_everything(service):
    volume_id = service.make_volume()
    code, reply = attach(service, volume_id, 'a')
    assert code == 200
    info = {**reply['attachment']['connection_info'], 'initiator': make_connector('a')['initiator']}
    assert log_in(service, info)
    assert len(service.tgtd_pids()) == 1
    assert service.stop() == 0
    assert service.tgtd_pids() == []
    with socket.socket() as probe:
        assert probe.connect_ex(('127.0.0.1', service.portal)) != 0
    service.start()
    assert service.status(volume_id) == 'attaching'
    assert log_in(service, info), 'exported again, with the same credentials'
    assert service.ask('DELETE', f'/v3/attachments/{reply["attachment"]["id"]}')[0] == 200
    assert not log_in(service, info)


def test_a_killed_tgtd_comes_back_with_every_export(service):
    volume_id = service.make_volume()
    info = {
        **attach(service, volume_id, 'a')[1]['attachment']['connection_info'],
        'initiator': make_connector('a')['initiator'],
    }
    [pid] = service.tgtd_pids()
    os.kill(pid, signal.SIGKILL)
    service.wait(lambda: service.tgtd_pids() not in ([], [pid]))
    service.wait(lambda: log_in(service, info))


@pytest.mark.parametrize('frozen', [True, False])
def test_kill_9_during_an_attach(service, frozen):
    """The attachment ends attached or cleanly gone, and a new attach works."""
    volume_id = service.make_volume()
    if frozen:  # the export hangs in the middle
        os.kill(service.tgtd_pids()[0], signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pending = [pool.submit(_attach_until_cut, service, volume_id, f'h{i}') for i in range(4)]
        if frozen:
            service.wait(lambda: service.status(volume_id) == 'attaching')
        else:
            threading.Event().wait(0.05)
        service.kill()
        [future.result() for future in pending]
    service.wait(lambda: service.tgtd_pids() == [])
    service.start()
    service.wait(
        lambda: all(
            a['status'] in ('reserved', 'attaching') and (a['connection_info'] or a['status'] == 'reserved')
            for a in connected(service, volume_id)
        )
    )
    for row in connected(service, volume_id):
        if row['connection_info']:
            initiator = make_connector('x')['initiator'].removesuffix('x')
            assert row['connection_info']['target_iqn'].endswith(volume_id)
            assert initiator
    code, reply = attach(service, volume_id, 'new')
    assert code == 200
    assert service.ask('POST', f'/v3/attachments/{reply["attachment"]["id"]}/action', {'os-complete': None})[0] == 204
    assert service.status(volume_id) == 'in-use'
    for row in connected(service, volume_id):
        assert service.ask('DELETE', f'/v3/attachments/{row["id"]}')[0] == 200
    assert service.status(volume_id) == 'available'


def _attach_until_cut(service, volume_id, host):
    with contextlib.suppress(OSError, http.client.HTTPException):  # no reply, or the half of one
        attach(service, volume_id, host)


def test_kill_9_during_a_detach(service):
    volume_id = service.make_volume()
    rows = [attach(service, volume_id, f'h{i}')[1]['attachment'] for i in range(3)]
    os.kill(service.tgtd_pids()[0], signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as pool:

        def cut(row):
            with contextlib.suppress(OSError, http.client.HTTPException):
                service.ask('DELETE', f'/v3/attachments/{row["id"]}')

        pending = [pool.submit(cut, row) for row in rows[:2]]
        service.wait(lambda: len([a for a in connected(service, volume_id) if a['status'] == 'detaching']) == 2)
        service.kill()
        [future.result() for future in pending]
    service.wait(lambda: service.tgtd_pids() == [])
    service.start()
    service.wait(lambda: [a['id'] for a in connected(service, volume_id)] == [rows[2]['id']])
    info = {**rows[2]['connection_info'], 'initiator': make_connector('h2')['initiator']}
    assert log_in(service, info)


def test_32_sharers_at_once_over_http(service):
    volume_id = service.make_volume()

    def one(index):
        code, reply = attach(service, volume_id, f'h{index}')
        if code == 200:
            code, _ = service.ask('POST', f'/v3/attachments/{reply["attachment"]["id"]}/action', {'os-complete': None})
        return code

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert set(pool.map(one, range(32))) == {204}
    _, reply = service.ask('GET', f'/v3/volumes/{volume_id}')
    assert len(reply['volume']['attachments']) == 32


def test_16_race_for_one_over_http(service):
    volume_id = service.make_volume(multiattach=False)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda i: attach(service, volume_id, f'h{i}')[0], range(16)))
    assert sorted(codes) == [200] + [400] * 15
    assert len(connected(service, volume_id)) == 1


def test_the_state_folder_is_for_one(service):
    second = subprocess.run(
        [BIN / 'multiattach-standalone', '--state-dir', service.state, '--listen', '127.0.0.1:0'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 2
    assert '--state-dir' in second.stderr
    assert 'Traceback' not in second.stderr


@pytest.mark.parametrize(
    ('words', 'config', 'named'),
    [
        (['--listen', 'nonsense'], '', '--listen'),
        (['--listen', '127.0.0.1:99999'], '', '--listen'),
        (['--config-file', '/does/not/exist'], '', '--config-file'),
        ([], '[tgt]\nportal = 203.0.113.1:3260\n', 'portal'),
        ([], '[tgt]\ndriver_threads = many\n', 'driver_threads'),
        ([], '[api]\nauth_strategy = hope\n', 'auth_strategy'),
        ([], '[volume]\nenabled_backends = file,file\n', 'enabled_backends'),
        ([], '[file]\ndirectory = /proc/no/such\n', 'directory'),
        ([], '[file]\ndriver = tape\n', 'driver'),
        ([], '[nova]\nauth_type = handshake\n', 'auth_type'),
        ([], '[DEFAULT]\ntransport_url = pigeon://x/\n', 'transport_url'),
        ([], '[database]\nconnection = sqlite:////no/such/folder/x.sqlite\n', 'connection'),
        ([], '[host_agent]\nenabled = yes\nlibvirt_uri = qemu+unix:///system?socket=/none\n', 'libvirt'),
    ],
)
def test_a_wrong_option_stops_with_a_message_that_names_it(tmp_path, words, config, named):
    file = tmp_path / 'x.conf'
    portal = '' if 'portal' in config else f'[tgt]\nportal = 127.0.0.1:{pick_port()}\n'
    file.write_text(portal + config)
    done = subprocess.run(
        [
            BIN / 'multiattach-standalone',
            '--state-dir',
            tmp_path / 's',
            '--listen',
            f'127.0.0.1:{pick_port()}',
            '--config-file',
            file,
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=make_environment(),
    )
    assert done.returncode in (1, 2)
    assert named in done.stderr
    assert 'Traceback' not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3


@pytest.mark.parametrize('program', ['standalone', 'api', 'volume', 'host', 'manage', 'status'])
def test_help(program):
    done = subprocess.run(
        [BIN / f'multiattach-{program}', '--help'], capture_output=True, text=True, check=False, env=make_environment()
    )
    assert done.returncode == 0
    assert 'usage' in done.stdout.lower()
    assert f'multiattach-{program}' in done.stdout or program == 'status'


def test_nothing_is_left_in_the_run_folder(tmp_path):
    made = Standalone(tmp_path / 'state')
    made.start()
    [pid] = made.tgtd_pids()
    words = pathlib.Path(f'/proc/{pid}/cmdline').read_text().split('\0')
    own = 'socket.' + words[words.index('-C') + 1] + '*'
    folder = pathlib.Path('/var/run/tgtd')
    before = {path: path.stat().st_ino for path in folder.glob(own)}
    assert before
    made.stop()
    # Another test's tgtd may have taken the number meanwhile, with files of its own.
    assert not [path for path in folder.glob(own) if path.stat().st_ino == before.get(path)]


def test_a_look_at_a_tgtd_that_hangs_is_answered_in_ten_seconds(service):
    """Whoever looks because something hangs is told what, soon; also while the worker's own round waits."""
    volume_id = service.make_volume()
    assert attach(service, volume_id, 'a')[0] == 200
    os.kill(service.tgtd_pids()[0], signal.SIGSTOP)
    for _ in range(2):
        began = time.monotonic()
        code, reply = service.ask('POST', '/v3/multiattach/doctor', {'doctor': {'fix': False}})
        assert code == 200
        assert time.monotonic() - began < 10
        assert any(
            'did not answer' in one['reason'] or 'has not ended' in one['reason']
            for one in reply['doctor']['unanswered']
        ), reply
    for path in ('/v3/multiattach/targets', f'/v3/multiattach/targets/{volume_id}'):
        began = time.monotonic()
        code, reply = service.ask('GET', path)
        assert time.monotonic() - began < 10
        assert 'did not answer' in json.dumps(reply), (code, reply)
    os.kill(service.tgtd_pids()[0], signal.SIGCONT)
    assert service.ask('POST', '/v3/multiattach/doctor', {'doctor': {'fix': False}})[1]['doctor']['unanswered'] == []
