# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest

from multiattach.api.compute import servers, volume_attachments
from multiattach.api.microversion import Version
from multiattach.api.request import PROJECT, ROOT, VERSION, Request
from multiattach.api.settings import ApiSettings
from multiattach.db.models import Attachment, Server

ATTACHMENT = Attachment(
    id='a', volume_id='v', instance_uuid='s', mountpoint='/dev/vdb', tag='data', delete_on_termination=True
)


def server(**fields):
    return Server(
        **{
            'id': 's',
            'name': 'web',
            'project_id': 'p',
            'host': 'h',
            'power_state': 'running',
            'created_at': datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
            'updated_at': None,
            **fields,
        }
    )


def request(minor=89, project=None, **environ):
    req = Request.blank('/servers', base_url='http://api.example/compute/v2.1')
    req.environ.update({VERSION: Version(2, minor), PROJECT: project, ROOT: '', **environ})
    return req


def show(minor=89, alone=False, volumes=(ATTACHMENT,), **kwargs):
    shown = servers.ServerView(request(minor), ApiSettings(), **kwargs)
    return shown.detail(server(), list(volumes), alone=alone)


@pytest.mark.parametrize(
    ('minor', 'keys'),
    [
        (1, {'id', 'volumeId', 'serverId', 'device'}),
        (69, {'id', 'volumeId', 'serverId', 'device'}),
        (70, {'id', 'volumeId', 'serverId', 'device', 'tag'}),
        (78, {'id', 'volumeId', 'serverId', 'device', 'tag'}),
        (79, {'id', 'volumeId', 'serverId', 'device', 'tag', 'delete_on_termination'}),
        (88, {'id', 'volumeId', 'serverId', 'device', 'tag', 'delete_on_termination'}),
        (89, {'volumeId', 'serverId', 'device', 'tag', 'delete_on_termination', 'attachment_id', 'bdm_uuid'}),
    ],
)
def test_attachments_by_microversion(minor, keys):
    assert set(volume_attachments.detail(ATTACHMENT, minor)) == keys


def test_the_reply_to_a_creation_keeps_the_id():
    """Nova forgot to apply 2.89 there, and clients read it."""
    assert volume_attachments.created(ATTACHMENT, 89) == {
        'id': 'v',
        'volumeId': 'v',
        'serverId': 's',
        'device': '/dev/vdb',
        'tag': 'data',
        'delete_on_termination': True,
    }


@pytest.mark.parametrize(
    ('key', 'since'),
    [
        ('locked', 9),
        ('description', 19),
        ('tags', 26),
        ('trusted_image_certificates', 63),
        ('locked_reason', 73),
        ('host_status', 16),
        ('server_groups', 71),
        ('OS-EXT-SRV-ATTR:hostname', 3),
        ('OS-EXT-SRV-ATTR:host', 1),
    ],
)
def test_keys_of_servers_by_microversion(key, since):
    for minor in range(1, 90):
        shown = show(minor, alone=True, sees_hosts=True, hosts={'h': 'UP'})
        assert (key in shown) == (minor >= since), minor


def test_a_list_has_no_server_groups():
    assert 'server_groups' not in show(89)


def test_hosts_are_for_those_who_may_see_them():
    shown = show(89, alone=True)
    assert not [key for key in shown if key.startswith('OS-EXT-SRV-ATTR') or key == 'host_status']


def test_volumes_of_a_server():
    key = 'os-extended-volumes:volumes_attached'
    assert show(2)[key] == [{'id': 'v'}]
    assert show(3)[key] == [{'id': 'v', 'delete_on_termination': True}]


def test_flavors():
    assert show(46)['flavor']['id'] == 'libvirt'
    assert show(46)['flavor']['links'][0]['href'].endswith('/flavors/libvirt')
    # What novaclient and the openstack client read without asking.
    assert set(show(47)['flavor']) == {'original_name', 'vcpus', 'ram', 'disk', 'ephemeral', 'swap'}


def test_times_are_as_nova_writes_them():
    shown = show()
    assert shown['created'] == shown['updated'] == '2026-01-02T03:04:05Z'


@pytest.mark.parametrize(
    ('power_state', 'status', 'number'),
    [
        ('running', 'ACTIVE', 1),
        ('paused', 'PAUSED', 3),
        ('shutdown', 'SHUTOFF', 4),
        ('crashed', 'ERROR', 6),
        ('suspended', 'SUSPENDED', 7),
        ('nostate', 'UNKNOWN', 0),
        ('another', 'UNKNOWN', 0),
    ],
)
def test_power_states(power_state, status, number):
    shown = servers.ServerView(request(), ApiSettings()).detail(server(power_state=power_state), [])
    assert shown['status'] == status
    assert shown['OS-EXT-STS:power_state'] == number
    assert ('progress' in shown) == (status == 'ACTIVE')


@pytest.mark.parametrize(
    ('endpoint', 'base'),
    [('', 'http://api.example/compute'), ('https://proxy.example/x/', 'https://proxy.example/x/compute')],
)
def test_links(endpoint, base):
    req = request(project='p')
    links = servers.ServerView(req, ApiSettings(public_endpoint=endpoint)).summary(server())['links']
    assert links == [
        {'rel': 'self', 'href': f'{base}/v2.1/p/servers/s'},
        {'rel': 'bookmark', 'href': f'{base}/p/servers/s'},
    ]
