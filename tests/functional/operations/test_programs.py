# SPDX-License-Identifier: Apache-2.0
"""Each program at work with what operators switch on: JSON log, metrics, a report at SIGUSR2."""

import contextlib
import json
import signal
import subprocess
import urllib.request

import pytest

from tests.deployments.programs import BIN, make_environment
from tests.functional.operations import openmetrics
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

SECRET = 's3cretword'
GLOBAL = 'req-11111111-2222-3333-4444-555555555555'


def wait(condition, seconds=60):
    return wait_until(condition, seconds, 'what the test waits for')


def fetch(url, method='GET', body=None):
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            'Content-Type': 'application/json',
            'X-OpenStack-Request-ID': GLOBAL,
            'OpenStack-API-Version': 'volume 3.71',
            'X-Auth-Token': 'admin',
        },
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.read().decode(), reply.headers


class Program:
    """A program with a configuration in a folder."""

    def __init__(self, name, folder):
        self.name, self.folder, self.child = name, folder, None
        self.port, self.metrics_port = pick_port(), pick_port()
        self.log = folder / 'log.json'
        self.config = folder / 'multiattach.conf'
        self.config.write_text(
            f"""[DEFAULT]
state_path = {folder}
host = thishost
transport_url = {'inproc://' if name == 'standalone' else f'fake://u:{SECRET}@x/'}
log_file = {self.log}
use_json = true
report_interval = 0.5
[database]
connection = sqlite:///{folder}/x.sqlite?x={SECRET}
[oslo_reports]
log_dir = {folder}/reports
[metrics]
listen = 127.0.0.1:{self.metrics_port}
[api]
auth_strategy = noauth
listen_port = {self.port}
[file]
target_driver = null
directory = {folder}/volumes
[host_agent]
enabled = no
connector = qemu
libvirt_uri = test:///default
[nova]
auth_type = password
auth_url = http://127.0.0.1:1/
username = nova
password = {SECRET}
""".replace(f'?x={SECRET}', '')
        )
        (folder / 'reports').mkdir()

    def start(self):
        words = ['--config-file', self.config]
        env = make_environment()
        if self.name == 'standalone':
            words += ['--state-dir', self.folder, '--listen', f'127.0.0.1:{self.port}']
        else:
            subprocess.run(
                [BIN / 'multiattach-manage', '--config-file', self.config, 'db', 'sync'],
                check=True,
                env=env,
                timeout=60,
                stdout=subprocess.DEVNULL,
            )
        self.child = subprocess.Popen(
            [BIN / f'multiattach-{self.name}', *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait(self.answers)

    def answers(self):
        assert self.child.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError):
            return self.scrape()

    def scrape(self):
        return fetch(f'http://127.0.0.1:{self.metrics_port}/metrics')[0]

    def scrape_strictly(self):
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.metrics_port}/metrics', headers={'Accept': openmetrics.ACCEPT}
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.read().decode()

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def report(self):
        self.child.send_signal(signal.SIGUSR2)
        [path] = wait(lambda: list((self.folder / 'reports').iterdir()))
        return wait(lambda: 'Configuration' in path.read_text() and path.read_text())


@pytest.fixture(params=['standalone', 'api', 'volume', 'host'])
def program(request, tmp_path):
    made = Program(request.param, tmp_path)
    made.start()
    yield made
    made.child.send_signal(signal.SIGTERM)
    assert made.child.wait(30) == 0


def test_a_program_at_work(program):
    text = program.scrape()
    assert f'program="multiattach-{program.name}"' in text
    assert 'process_cpu_seconds_total' in text
    if program.name in ('standalone', 'api'):
        _check_requests(program)
    openmetrics.check(program.scrape(), program.scrape_strictly())
    if program.name == 'standalone':  # all that a program reads, in one family
        assert {'multiattach_source_up{source="database"} 1.0', 'multiattach_source_up{source="targets"} 1.0'} <= set(
            program.scrape().splitlines()
        )
    wait(lambda: program.log.exists() and program.lines())
    report = program.report()
    assert 'Guru Meditation' in report
    assert 'transport_url = ***' in report
    assert 'connection = ***' in report
    if program.name == 'volume':  # which logs in to Nova
        assert 'password = ***' in report
    for text in (report, program.log.read_text(), program.scrape()):
        assert SECRET not in text
    assert {'message', 'levelname', 'context'} <= program.lines()[0].keys()


def _check_requests(program):
    base = f'http://127.0.0.1:{program.port}'
    wait(lambda: _answers(f'{base}/healthcheck'))
    _, headers = fetch(f'{base}/v3/volumes', 'POST', {'volume': {'size': 1}})
    own = headers['X-OpenStack-Request-ID']
    assert 'route="/v3/volumes"' in program.scrape()
    if program.name == 'standalone':
        # What the worker says carries the ids of the API's caller.
        [line] = wait(lambda: [line for line in program.lines() if 'is available' in line['message']])
        assert line['context']['request_id'] == own
        assert line['context']['global_request_id'] == GLOBAL
        assert line['name'] == 'multiattach.volume.storage'


def _answers(url):
    with contextlib.suppress(OSError):
        return fetch(url)[0]
