# SPDX-License-Identifier: Apache-2.0
"""Who is let in, and as whom (contract 1.1, 1.3, 1.5, 7.2)."""

import pathlib
import uuid

import pytest

from tests.deployments.noauth import make_connector
from tests.deployments.nursery import open_nursery
from tests.deployments.standalone import Standalone
from tests.functional.keystone.conftest import Cloud, configure
from tests.testbed.servers import pick_port

_GOOD = """\
[keystone_authtoken]
auth_type = password
auth_url = http://127.0.0.1:{port}/v3
username = multiattach
password = secret-of-nobody
project_name = service
user_domain_id = default
project_domain_id = default
"""


@pytest.mark.parametrize('path', ['/v3', '/v3/', '/v3/volumes', '/v3/types', '/v3/nowhere', '/compute/v2.1/servers'])
@pytest.mark.parametrize('token', [None, 'nonsense', 'admin', 'admin:project'])
def test_no_token_no_entry(cloud: Cloud, path: str, token: str | None) -> None:
    reply = cloud(None, 'GET', path, token=token)
    assert reply.status == 401
    assert reply.headers['www-authenticate'] == f'Keystone uri="{cloud.keystone.url}"'
    assert reply.headers['x-openstack-request-id'].startswith('req-')


@pytest.mark.parametrize(('path', 'status'), [('/', 300), ('/healthcheck', 200), ('/compute/', 200)])
def test_open_to_everybody(cloud: Cloud, path: str, status: int) -> None:
    assert cloud(None, 'GET', path).status == status


def test_discovery_with_a_token(cloud: Cloud) -> None:
    reply = cloud('reader', 'GET', '/v3')
    assert (reply.status, reply.headers['location']) == (302, f'http://127.0.0.1:{cloud.service.port}/v3/')
    assert cloud('reader', 'GET', '/v3/').json['versions'][0]['version'] == '3.71'


def test_a_revoked_token(cloud: Cloud) -> None:
    token = cloud.keystone.issue_token('member')
    cloud.keystone.identity.revoke(token)
    assert cloud(None, 'GET', '/v3/volumes', token=token).status == 401


def test_headers_of_a_client_say_nothing(cloud: Cloud) -> None:
    forged = {
        'X-Roles': 'admin',
        'X-Is-Admin': 'True',
        'X-Identity-Status': 'Confirmed',
        'X-User-Id': 'root',
        'X-Project-Id': cloud.keystone.accounts['root'].project_id,
        'X-Service-Roles': 'service',
    }
    assert cloud(None, 'GET', '/v3/os-services', headers=forged).status == 401
    assert cloud('reader', 'GET', '/v3/os-services', headers=forged).status == 403


def test_the_project_of_the_url(cloud: Cloud) -> None:
    mine = cloud.keystone.accounts['member'].project_id
    foreign = cloud.keystone.accounts['foreign-member'].project_id
    assert cloud('member', 'GET', f'/v3/{mine}/volumes').status == 200
    for persona in ('member', 'admin'):
        reply = cloud(persona, 'GET', f'/v3/{foreign}/volumes')
        assert (reply.status, reply.json['badRequest']['message']) == (400, 'Malformed request url')


def test_a_token_of_the_whole_system(cloud: Cloud) -> None:
    """It has no project: its admin sees everything, and can own nothing."""
    token = cloud.keystone.identity.issue_system_token()
    volume_id = cloud.make_volume()
    assert cloud(None, 'GET', f'/v3/volumes/{volume_id}', token=token).status == 200
    assert cloud(None, 'GET', '/v3/volumes', token=token).json == {'volumes': []}
    reply = cloud(None, 'GET', '/v3/volumes?all_tenants=1', token=token)
    assert volume_id in [volume['id'] for volume in reply.json['volumes']]
    assert cloud(None, 'POST', '/v3/volumes', {'volume': {'size': 1}}, token=token).status == 400


def test_a_service_token_must_be_of_a_service(cloud: Cloud) -> None:
    assert cloud('member', 'GET', '/v3/volumes', service='nova').status == 200
    for persona in ('member', 'admin'):
        assert cloud('member', 'GET', '/v3/volumes', service=persona).status == 401


def test_it_starts_without_keystone(tmp_path: pathlib.Path) -> None:
    service = Standalone(tmp_path)
    configure(tmp_path, _GOOD.format(port=pick_port()) + 'http_request_max_retries = 0\n')
    cloud = Cloud(service)
    service.start()
    try:
        assert cloud(None, 'GET', '/').status == 300
        assert cloud(None, 'GET', '/v3/volumes').status == 401
        assert cloud(None, 'GET', '/v3/volumes', token='anything').status == 503
    finally:
        service.stop()


_WRONG = [
    ('', 'auth_type'),
    ('[keystone_authtoken]\nauth_type = hope\n', 'auth_type'),
    ('[keystone_authtoken]\nauth_type = password\n', 'auth_url'),
    (f'{_GOOD}insecure = perhaps\n', 'insecure'),
    (f'{_GOOD}http_connect_timeout = soon\n', 'http_connect_timeout'),
    (f'{_GOOD}service_token_roles_required = 17\n', 'service_token_roles_required'),
    (f'{_GOOD}memcache_security_strategy = HOPE\n', 'memcache_security_strategy'),
    ('[keystone_authtoken]\nauth_section = keystone\n', '[keystone]'),
    (f'{_GOOD}[nova]\ninsecure = perhaps\n', 'insecure'),
    (f'{_GOOD}[nova]\ninterface = back door\n', 'interface'),
]


@pytest.mark.parametrize(('section', 'named'), _WRONG)
def test_a_wrong_option_stops_the_start(tmp_path: pathlib.Path, section: str, named: str) -> None:
    conf = write_configuration(tmp_path, 'inproc')
    configure(tmp_path, section.format(port=pick_port()))
    refuses(
        named,
        'standalone',
        '--config-file',
        conf,
        '--state-dir',
        tmp_path / 'state',
        '--listen',
        f'127.0.0.1:{pick_port()}',
    )


def test_a_wrong_option_stops_the_start_of_the_api(tmp_path: pathlib.Path) -> None:
    conf = write_configuration(tmp_path, 'fake')
    with conf.open('a') as file:
        file.write(f'[database]\nconnection = sqlite:///{tmp_path}/x.sqlite\n')
    assert open_nursery().call('multiattach-manage', '--config-file', conf, 'db', 'sync').returncode == 0
    section, named = _WRONG[2]
    configure(tmp_path, section)
    refuses(named, 'api', '--config-file', conf)


def write_configuration(folder: pathlib.Path, transport: str) -> pathlib.Path:
    conf = folder / 'multiattach.conf'
    conf.write_text(
        f'[DEFAULT]\ntransport_url = {transport}://\n'
        f'[tgt]\nportal = 127.0.0.1:{pick_port()}\n[host_agent]\nenabled = no\n'
    )
    return conf


def refuses(named: str, program: str, *words: str | pathlib.Path) -> None:
    done = open_nursery().call(f'multiattach-{program}', *words)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith('multiattach-')]
    assert len(lines) == 1
    assert named in lines[0]
    assert 'Traceback' not in done.stderr
    assert 'secret-of-nobody' not in done.stderr


def test_the_timeline_tells_admins_who_did_it_through_which_service(cloud: Cloud) -> None:
    volume = cloud.make_volume()
    reply = cloud('member', 'POST', '/v3/attachments', {'attachment': {'volume_uuid': volume}}, service='nova')
    ident = reply.json['attachment']['id']
    path = f'/v3/multiattach/attachments/{ident}/explain'
    [step] = cloud('admin', 'GET', path).json['explanation']['timeline']
    accounts = cloud.keystone.accounts
    assert (step['user_id'], step['project_id'], step['address']) == (
        accounts['member'].user_id,
        accounts['member'].project_id,
        '127.0.0.1',
    )
    assert step['service_id'] == accounts['nova'].user_id
    [step] = cloud('member', 'GET', path).json['explanation']['timeline']
    assert (step['user_id'], step['service_id'], step['address']) == (accounts['member'].user_id, None, None)
    assert cloud('member', 'DELETE', f'/v3/attachments/{ident}').status == 200


def test_what_opens_the_target_of_a_server_is_told_a_user_once(cloud: Cloud) -> None:
    """Nova connects with the user's token and its own; who repeats the call is not told the secret."""
    volume = cloud.make_volume()
    ident = cloud.reserve(volume, str(uuid.uuid4()))
    body = {'attachment': {'connector': make_connector('one')}}
    path = f'/v3/attachments/{ident}'
    mine = cloud('member', 'PUT', path, body, service='nova').json['attachment']['connection_info']
    assert mine['auth_password']
    again = cloud('member', 'PUT', path, body, service='nova').json['attachment']['connection_info']
    assert again == mine
    told = cloud('member', 'PUT', path, body).json['attachment']['connection_info']
    hidden = ('auth_username', 'auth_password')
    assert told == {key: value for key, value in mine.items() if key not in hidden}
    legacy = cloud(
        'member',
        'POST',
        f'/v3/volumes/{volume}/action',
        {'os-initialize_connection': {'connector': make_connector('one')}},
    )
    assert legacy.status == 200
    assert mine['auth_password'] not in str(legacy.json)
    assert cloud('member', 'DELETE', path, service='nova').status == 200
