# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest

from multiattach.api.block.volumes.views import VolumeView
from multiattach.api.microversion import Version
from multiattach.api.request import CONTEXT, PROJECT, ROOT, VERSION, Request
from multiattach.api.settings import ApiSettings
from multiattach.db import models
from tests.contexts import make_context

MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5)
BASE = {
    'id',
    'status',
    'size',
    'availability_zone',
    'created_at',
    'updated_at',
    'name',
    'description',
    'volume_type',
    'snapshot_id',
    'source_volid',
    'metadata',
    'links',
    'user_id',
    'bootable',
    'encrypted',
    'replication_status',
    'consistencygroup_id',
    'multiattach',
    'attachments',
}
TENANT = {'os-vol-tenant-attr:tenant_id'}
EXTENDED = TENANT | {'os-vol-host-attr:host', 'os-vol-mig-status-attr:migstat', 'os-vol-mig-status-attr:name_id'}
ADMIN = {'migration_status'}
LATER = [
    (13, {'group_id'}, set()),
    (21, set(), {'provider_id'}),
    (48, {'shared_targets', 'service_uuid'}, set()),
    (61, set(), {'cluster_name'}),
    (63, {'volume_type_id'}, set()),
    (65, {'consumes_quota'}, set()),
]


class Rules:
    """The rules' defaults."""

    def __init__(self):
        self.asked = []

    def allows(self, ctx, rule, project):
        self.asked.append((rule, project))
        return ctx.is_admin or rule.endswith('tenant_attribute')


def make_volume(**values):
    return models.VolumeDetail(
        **{
            'id': 'v',
            'project_id': 'p',
            'user_id': 'u',
            'display_name': 'n',
            'display_description': None,
            'size': 1,
            'volume_type_id': 't',
            'multiattach': True,
            'bootable': False,
            'readonly': None,
            'host': 'h@b',
            'availability_zone': 'z',
            'service_uuid': 's',
            'status': 'in-use',
            'created_at': MOMENT,
            'updated_at': None,
            'source_volid': None,
            'snapshot_id': None,
            'migration_status': None,
            'name_id': None,
            'type_name': 'multi',
            'metadata': {'a': 'b'},
            'image_metadata': {},
            'attachments': [],
            **values,
        }
    )


def make_view(minor=71, *, url='http://example.org/v3/volumes', project=None, settings=None, rules=None, **who):
    req = Request.blank(url)
    req.environ['SCRIPT_NAME'], req.environ[ROOT] = '/v3', ''
    req.environ[CONTEXT] = make_context('p', **who)
    req.environ[VERSION] = Version(3, minor)
    req.environ[PROJECT] = project
    return VolumeView(req, settings or ApiSettings(), rules or Rules())


@pytest.mark.parametrize('minor', range(72))
def test_the_keys_of_each_version(minor):
    everybody, admin = set(BASE), set(ADMIN)
    for since, keys, more in LATER:
        if minor >= since:
            everybody |= keys
            admin |= more
    assert set(make_view(minor).detail(make_volume())) == everybody | admin | EXTENDED
    user = make_view(minor, admin=False, roles=('reader',))
    assert set(user.detail(make_volume())) == everybody | TENANT
    assert set(make_view(minor).detail(make_volume(), extended=False)) == everybody | admin


def test_the_values():
    view = make_view().detail(make_volume())
    assert view['created_at'] == '2024-01-02T03:04:05.000000'
    assert view['updated_at'] is None
    assert view['bootable'] == 'false'
    assert view['volume_type'] == 'multi'
    assert view['metadata'] == {'a': 'b'}


@pytest.mark.parametrize(
    ('project', 'endpoint', 'expected'),
    [
        (None, '', 'http://example.org/v3/volumes/v'),
        ('p', '', 'http://example.org/v3/p/volumes/v'),
        (None, 'https://cloud/x', 'https://cloud/x/v3/volumes/v'),
    ],
)
def test_links(project, endpoint, expected):
    view = make_view(project=project, settings=ApiSettings(public_endpoint=endpoint)).summary(make_volume())
    assert view['links'] == [
        {'rel': 'self', 'href': expected},
        {'rel': 'bookmark', 'href': expected.replace('/v3/', '/')},
    ]


def make_attachment(state, **values):
    return models.Attachment(
        id=state, volume_id='v', instance_uuid='i', state=state, attached_host='h', attached_at=MOMENT, **values
    )


def test_only_what_is_attached_is_shown():
    volume = make_volume()
    volume.attachments = [
        make_attachment(state)
        for state in (
            'reserved',
            'exporting',
            'exported',
            'connecting',
            'attached',
            'detaching',
            'unexporting',
            'error_attaching',
        )
    ]
    shown = make_view().detail(volume)['attachments']
    assert shown == [
        {
            'id': 'v',
            'attachment_id': 'attached',
            'volume_id': 'v',
            'server_id': 'i',
            'host_name': 'h',
            'device': 'na',
            'attached_at': '2024-01-02T03:04:05.000000',
        }
    ]


@pytest.mark.parametrize(
    ('who', 'host'),
    [
        ({}, 'h'),
        ({'admin': False, 'roles': ('reader',)}, None),
        ({'admin': False, 'roles': ('reader', 'service')}, 'h'),
        ({'admin': False, 'roles': ('reader',), 'service_roles': ('service',)}, 'h'),
    ],
)
def test_who_sees_the_host(who, host):
    volume = make_volume()
    volume.attachments = [make_attachment('attached', mountpoint='/dev/vdb')]
    (shown,) = make_view(**who).detail(volume)['attachments']
    assert (shown['host_name'], shown['device']) == (host, '/dev/vdb')


def test_rules_are_asked_once_for_a_project():
    rules = Rules()
    view = make_view(rules=rules)
    for _ in range(10):
        view.detail(make_volume())
    assert len(rules.asked) == len(set(rules.asked)) == 3
