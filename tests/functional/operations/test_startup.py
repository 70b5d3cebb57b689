# SPDX-License-Identifier: Apache-2.0
"""Each program with each thing that may be wrong: it stops with a line that names option and remedy."""

import socket
import subprocess

import pytest

from tests.deployments.nursery import open_nursery
from tests.deployments.programs import BIN

SECRET = 's3cretword'
PROGRAMS = ('multiattach-api', 'multiattach-volume', 'multiattach-host', 'multiattach-standalone', 'multiattach-wsgi')


@pytest.fixture(scope='module')
def nursery():
    return open_nursery()


@pytest.fixture
def files(tmp_path, nursery):
    """A configuration that would do, and how to write another section into it."""

    class Files:
        path = tmp_path / 'multiattach.conf'
        options = {
            'DEFAULT': {'state_path': tmp_path, 'host': 'h', 'transport_url': 'inproc://'},
            'database': {'connection': f'sqlite:///{tmp_path}/x.sqlite'},
            'api': {'auth_strategy': 'noauth'},
            'tgt': {'private': 'true', 'portal': '127.0.0.1:1'},
            'host_agent': {'connector': 'qemu', 'libvirt_uri': 'qemu+unix:///system?socket=/none'},
            'file': {'target_driver': 'null', 'directory': tmp_path / 'volumes'},
        }

        def set(self, group, **values):
            self.options.setdefault(group, {}).update(values)
            self.path.write_text(
                ''.join(
                    f'[{group}]\n' + ''.join(f'{key} = {value}\n' for key, value in options.items())
                    for group, options in self.options.items()
                )
            )

        def sync(self):
            assert nursery.run('multiattach-manage', '--config-file', self.path, 'db', 'sync')[0] == 0

        def start(self, program):
            words = ['--config-file', self.path]
            if program == 'multiattach-standalone':
                words += ['--state-dir', tmp_path, '--listen', '127.0.0.1:0']
            return nursery.run(program, *words)

    Files.options = {group: dict(options) for group, options in Files.options.items()}
    found = Files()
    found.set('DEFAULT')
    return found


@pytest.fixture
def closed_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        yield probe.getsockname()[1]


def check(result, program, *texts):
    code, said = result
    assert code in (2, 254) if program == 'multiattach-wsgi' else code == 2, said
    for text in texts:
        assert text in said
    assert SECRET not in said
    assert 'Traceback' not in said
    errors = [line for line in said.splitlines() if line.startswith((program, 'ConfigurationError'))]
    assert len(errors) == 1, said


@pytest.mark.parametrize('program', PROGRAMS)
def test_a_transport_url_that_is_none(files, program):
    files.sync()
    files.set('DEFAULT', transport_url=f'pigeon://u:{SECRET}@x/')
    check(files.start(program), program, 'Option transport_url in [DEFAULT]', 'rabbit://USER:PASSWORD@HOST')


@pytest.mark.parametrize('program', ['multiattach-api', 'multiattach-volume', 'multiattach-host', 'multiattach-wsgi'])
def test_no_broker_for_several_programs(files, program):
    files.sync()
    check(files.start(program), program, 'Option transport_url in [DEFAULT]', 'multiattach-standalone')


@pytest.mark.parametrize('program', ['multiattach-volume', 'multiattach-host'])
def test_a_broker_that_is_down(files, program, closed_port):
    """The API starts, and /healthcheck says it (test_health.py)."""
    files.sync()
    files.set('DEFAULT', transport_url=f'rabbit://u:{SECRET}@127.0.0.1:{closed_port}/')
    check(
        files.start(program),
        program,
        'Option transport_url in [DEFAULT]',
        f'127.0.0.1:{closed_port}',
        'check that it runs',
    )


@pytest.mark.parametrize('program', PROGRAMS)
def test_a_database_that_is_down(files, program, closed_port):
    files.set(
        'database', connection=f'mysql+pymysql://u:{SECRET}@127.0.0.1:{closed_port}/x', max_retries=1, retry_interval=0
    )
    check(files.start(program), program, 'Option connection in [database]', 'Check the URL')


@pytest.mark.parametrize('program', PROGRAMS)
@pytest.mark.parametrize('url', ['', 'nonsense', f'oracle9://u:{SECRET}@x/y'])
def test_a_database_url_that_is_none(files, program, url):
    if program == 'multiattach-standalone' and not url:
        return  # it has a database of its own
    files.set('database', connection=url)
    check(files.start(program), program, 'Option connection in [database]')


@pytest.mark.parametrize('program', [name for name in PROGRAMS if name != 'multiattach-standalone'])
def test_a_missing_migration(files, program):
    """The standalone program migrates by itself."""
    check(files.start(program), program, 'connection in [database]', 'multiattach-manage db sync')


@pytest.mark.parametrize('program', sorted(set(PROGRAMS) - {'multiattach-volume', 'multiattach-host'}))
def test_a_bad_policy_file(files, program, tmp_path):
    """Workers and agents ask no policy."""
    files.sync()
    (tmp_path / 'policy.yaml').write_text('"volume:get": [\n')
    files.set('oslo_policy', policy_file=tmp_path / 'policy.yaml')
    if program != 'multiattach-standalone':
        files.set('DEFAULT', transport_url='fake://')
    check(files.start(program), program, 'Option policy_file in [oslo_policy]', str(tmp_path / 'policy.yaml'))


@pytest.mark.parametrize('program', PROGRAMS)
@pytest.mark.parametrize(
    ('group', 'name', 'value'),
    [('api', 'auth_strategy', 'hope'), ('DEFAULT', 'report_interval', 'often'), ('metrics', 'stuck_after', 'never')],
)
def test_a_wrong_value(files, program, group, name, value):
    files.sync()
    files.set(group, **{name: value})
    check(files.start(program), program, name)


@pytest.mark.parametrize('program', ['multiattach-api', 'multiattach-wsgi'])
def test_nobody_said_how_callers_are_known(files, program):
    files.sync()
    del files.options['api']
    files.set('DEFAULT', transport_url='fake://')
    check(files.start(program), program, 'Option auth_strategy in [api] is not set', '"keystone"', '"noauth"')


@pytest.mark.parametrize('program', ['multiattach-api', 'multiattach-standalone'])
def test_no_authentication_is_said_aloud(files, program, tmp_path):
    files.sync()
    words = ['--config-file', files.path]
    if program == 'multiattach-standalone':
        del files.options['api']  # its default
        files.set('host_agent', enabled='no')
        words += ['--state-dir', tmp_path, '--listen', '127.0.0.1:0']
    else:
        files.set('DEFAULT', transport_url='fake://')
        files.set('api', listen_port=0)
    child = subprocess.Popen([BIN / program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = []
        while not said or ' is ready' not in said[-1]:
            said.append(child.stdout.readline())
            assert said[-1], said
    finally:
        child.kill()
        child.wait(30)
    [line] = [line for line in said if line.startswith(f'{program}: No authentication')]
    assert 'whoever reaches the API is an administrator' in line


@pytest.mark.parametrize(
    ('group', 'values', 'named'),
    [
        ('metrics', {'listen': 'nonsense'}, 'Option listen in [metrics]'),
        ('oslo_messaging_notifications', {'driver': 'messagingv2'}, 'Option driver in [oslo_messaging_notifications]'),
    ],
)
def test_what_operators_switch_on(files, group, values, named):
    files.set(group, **values)
    check(files.start('multiattach-standalone'), 'multiattach-standalone', named)


def test_a_wsgi_server_process_with_all_of_it(files, tmp_path, nursery):
    files.sync()
    files.set('DEFAULT', transport_url='fake://')
    files.set('metrics', multiprocess_dir=tmp_path / 'metrics')
    files.set('oslo_messaging_notifications', driver='log')
    files.set('oslo_reports', file_event_handler=tmp_path / 'report')
    (tmp_path / 'report').touch()
    code, said = files.start('multiattach-wsgi')
    assert code == 0, said
    assert list((tmp_path / 'metrics').glob('*.db'))


def test_a_folder_for_metrics_that_cannot_be(files):
    files.sync()
    files.set('DEFAULT', transport_url='fake://')
    files.set('metrics', multiprocess_dir='/proc/no/such')
    check(files.start('multiattach-wsgi'), 'multiattach-wsgi', 'Option multiprocess_dir in [metrics]')
