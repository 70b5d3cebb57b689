# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.api.compute import servers, volume_attachments
from multiattach.domain import errors

VOLUME = '11111111-1111-4111-8111-111111111111'


def accepts(schema, value, minor):
    try:
        schema.check(value, minor)
    except errors.InvalidInput:
        return False
    return True


def attachment(**fields):
    return {'volumeAttachment': {'volumeId': VOLUME, **fields}}


@pytest.mark.parametrize(
    ('schema', 'fields', 'since'),
    [
        (volume_attachments.CREATE, {}, 1),
        (volume_attachments.CREATE, {'device': None}, 1),
        (volume_attachments.CREATE, {'device': '/dev/vdb'}, 1),
        (volume_attachments.CREATE, {'tag': 'data'}, 49),
        (volume_attachments.CREATE, {'delete_on_termination': True}, 79),
        (volume_attachments.CREATE, {'delete_on_termination': 'on'}, 79),
        (volume_attachments.UPDATE, {}, 1),
        (volume_attachments.UPDATE, {'delete_on_termination': False}, 85),
        (volume_attachments.UPDATE, {'device': '/dev/vdb'}, 85),
        (volume_attachments.UPDATE, {'id': VOLUME, 'serverId': VOLUME, 'tag': 'data'}, 85),
    ],
)
def test_fields_exist_from_their_microversion_on(schema, fields, since):
    for minor in range(1, 90):
        assert accepts(schema, attachment(**fields), minor) == (minor >= since), minor


@pytest.mark.parametrize('device', ['', 'vdb', '/dev/', '/dev/vd b', '/dev/vdb\n', '/dev/../vdb', '/dev/VDB', 5])
def test_odd_devices(device):
    assert not accepts(volume_attachments.CREATE, attachment(device=device), 89)


@pytest.mark.parametrize('tag', ['', 'a,b', 'a/b', 'a' * 61, None, 5])
def test_odd_tags(tag):
    assert not accepts(volume_attachments.CREATE, attachment(tag=tag), 89)


@pytest.mark.parametrize(
    ('key', 'since'),
    [
        ('name', 1),
        ('status', 1),
        ('uuid', 1),
        ('tenant_id', 1),
        ('deleted', 1),
        ('user_id', 1),
        ('vm_state', 1),
        ('availability_zone', 1),
        ('changes-since', 1),
        ('locked', 1),
        ('tags', 1),
    ],
)
def test_filters_of_nova_are_filters_at_every_microversion_that_lets_others_pass(key, since):
    for minor in (1, 38, 73, 75, 89):
        assert accepts(servers.QUERY, {key: 'x'}, minor) == (minor >= since)


def test_unknown_filters_are_refused_from_2_75():
    assert accepts(servers.QUERY, {'colour': 'red'}, 74)
    assert not accepts(servers.QUERY, {'colour': 'red'}, 75)
    assert accepts(volume_attachments.QUERY, {'colour': 'red'}, 74)
    assert not accepts(volume_attachments.QUERY, {'colour': 'red'}, 75)


@pytest.mark.parametrize(
    'query',
    [
        {'limit': '-1'},
        {'limit': ''},
        {'limit': '1\n'},
        {'limit': '9' * 30},
        {'sort_key': 'nonsense'},
        {'_private': '1'},
        {'system_metadata': '1'},
        {'name': 'x' * 256},
    ],
)
def test_odd_queries(query):
    for minor in (1, 89):
        assert not accepts(servers.QUERY, query, minor)
