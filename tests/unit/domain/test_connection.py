# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest

from multiattach.domain import connection, errors
from multiattach.drivers.targets.tgt import protocol

GOOD = {'host': 'h1', 'initiator': 'iqn.1994-05.com.redhat:abc', 'mountpoint': '/dev/vdb'}


def test_a_connector():
    parsed = connection.parse_connector({**GOOD, 'mode': 'ro', 'anything': [1]})
    assert (parsed.host, parsed.initiator, parsed.mountpoint, parsed.mode) == (
        'h1',
        GOOD['initiator'],
        '/dev/vdb',
        'ro',
    )


@pytest.mark.parametrize(
    'change',
    [
        {'host': None},
        {'host': ''},
        {'host': ' '},
        {'host': 7},
        {'host': 'x' * 256},
        {'initiator': None},
        {'initiator': ''},
        {'initiator': 'ALL'},
        {'initiator': '10.0.0.1'},
        {'initiator': 'fe80::1'},
        {'initiator': '::'},
        {'initiator': 'address:192.0.2.7'},
        {'initiator': ['iqn']},
        {'initiator': 'iqn.1994-05.com.redhat:' + 'x' * 223},
        {'initiator': 'iqn.1994-05.com.redhat:a b'},
        {'initiator': 'iqn.1994-05.com,x:a'},
    ],
)
def test_a_connector_that_no_target_could_use_is_refused(change):
    with pytest.raises(errors.InvalidConnector) as caught:
        connection.name_initiator('iscsi', 'UUID', connection.parse_connector({**GOOD, **change}))
    assert caught.value.code == 400


@pytest.mark.parametrize('name', ['eui.02004567A425678D', 'naa.52004567BA64678D', 'iqn.2001-04.com.example'])
def test_all_kinds_of_iscsi_names(name):
    assert connection.parse_connector({**GOOD, 'initiator': name}).initiator == name


def test_secrets_are_hidden_and_the_rest_stays():
    info = {'auth_password': 'p', 'auth_username': 'u', 'auth_method': 'CHAP', 'target_lun': 1}
    assert connection.hide_secrets(info) == {'auth_method': 'CHAP', 'target_lun': 1}
    assert 'p' not in repr(connection.parse_connector({**GOOD, 'password': 'p4ssw0rd'})).split()


ADDRESS = connection.TargetAddress('iqn.2010-10.org.openstack:volume-v', '192.0.2.7:3260', 1)


@pytest.mark.parametrize(
    'more', [{}, {'target_iqns': [ADDRESS.iqn], 'target_portals': [ADDRESS.portal], 'target_luns': [1]}]
)
@pytest.mark.parametrize(
    'change', [{}, {'portal': '192.0.2.8:3260'}, {'iqn': 'iqn.2010-10.org.example:volume-v'}, {'lun': 2}]
)
def test_another_address_and_the_same_credentials(more, change):
    info = {**ADDRESS.tell(), **more, 'auth_username': 'u', 'auth_password': 'p', 'qos_specs': None}
    new = dataclasses.replace(ADDRESS, **change)
    found = connection.relocate(info, new)
    if not change:
        assert found is None
        return
    assert {**info, **new.tell(), **{key: found[key] for key in more}} == found
    assert all(found[key] == [found[key.removesuffix('s')]] for key in more)
    assert connection.relocate(found, new) is None


@pytest.mark.parametrize(('lun', 'kept'), [(connection.LIO_LUN, connection.LIO_LUN), (7, 1)])
def test_a_host_keeps_the_number_that_cinder_told_it(lun: int, kept: int) -> None:
    info = {'target_iqn': 'iqn.x:v', 'target_portal': '192.0.2.1:3260', 'target_lun': lun, 'target_luns': [lun]}
    found = connection.relocate(info, connection.TargetAddress('iqn.x:v', '192.0.2.2:3260', 1))
    assert found is not None
    assert (found['target_portal'], found['target_lun'], found['target_luns']) == ('192.0.2.2:3260', kept, [kept])
    assert connection.relocate(found, connection.TargetAddress('iqn.x:v', '192.0.2.2:3260', 1)) is None


@pytest.mark.parametrize('lun', [connection.LIO_LUN, 1])
def test_further_portals_of_cinder_are_no_other_address(lun: int) -> None:
    """``target_secondary_ip_addresses``: the first one is this service's."""
    portals = ['192.0.2.1:3260', '192.0.2.2:3260']
    info = {'target_iqn': 'iqn.x:v', 'target_portal': portals[0], 'target_lun': lun, 'target_portals': portals}
    info |= {'target_iqns': ['iqn.x:v'] * 2, 'target_luns': [lun] * 2}
    assert connection.relocate(info, connection.TargetAddress('iqn.x:v', portals[0], 1)) is None
    found = connection.relocate(info, connection.TargetAddress('iqn.x:v', '192.0.2.3:3260', 1))
    assert found is not None
    assert (found['target_portals'], found['target_luns']) == (['192.0.2.3:3260'], [lun])


@pytest.mark.parametrize('sign', [*'#/=@\'"%,\\ \t\n\0;&$`*?~+[]{}()|<>^!', '\u00e4', '\u0430', '\u2024', '\ud83d'])
@pytest.mark.parametrize('form', ['{}', 'iqn.1994-05.com.redhat:a{}b', 'fake{}', 'eui.{}0123456789abcdef'])
def test_signs_that_no_target_can_be_told(sign, form):
    with pytest.raises(errors.InvalidConnector, match='letters, digits'):
        connection.parse_connector({**GOOD, 'initiator': form.format(sign)})


@pytest.mark.parametrize(
    'name',
    [
        'fake',
        'h1',
        'cafe',
        '1',
        'a' * 223,
        'fake.initiator',
        'iqn.no:date_At-all',
        'ALL-of-them',
        'host:1',
        '10.0.0.1-host',
    ],
)
def test_names_of_any_form(name):
    assert connection.parse_connector({**GOOD, 'initiator': name}).initiator == name
    protocol.check_value('initiator-name', name)


def test_a_connector_has_a_bound():
    connector = {'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h'}
    fits = {**connector, 'x': 'y' * (16384 - len(json.dumps({**connector, 'x': ''})))}
    connection.parse_connector(fits)
    with pytest.raises(errors.InvalidConnector, match='16384 bytes'):
        connection.parse_connector({**fits, 'x': fits['x'] + 'y'})


@pytest.mark.parametrize('key', ['host', 'mountpoint'])
@pytest.mark.parametrize('text', ['a\x1b[2J', 'a\nb', 'a\x7f', 'a\u202eb', 'a\x9bb'])
def test_nothing_that_a_terminal_would_obey(key, text):
    with pytest.raises(errors.InvalidConnector):
        connection.parse_connector({'host': 'h', 'initiator': 'iqn.1994-05.com.redhat:h', key: text})


def name_for(protocol, **more):
    return connection.name_initiator(protocol, 'UUID', connection.parse_connector({'host': 'h', **more}))


def test_who_uses_a_volume_is_named_by_what_the_storage_knows():
    iqn = 'iqn.1994-05.com.redhat:h'
    assert name_for('iscsi', initiator=iqn, ip='192.0.2.7', cephx='attachment') == iqn
    assert name_for('rbd', initiator=iqn, ip='192.0.2.7', cephx='attachment') == 'multiattach-UUID'
    assert name_for('rbd', initiator=iqn, ip='192.0.2.7') == 'address:192.0.2.7'
    assert name_for('rbd', ip='2001:DB8:0::7') == 'address:2001:db8::7'
    assert connection.find_address('address:2001:db8::7') == '2001:db8::7'
    assert connection.find_address('multiattach-UUID') is None
    assert connection.find_address(iqn) is None


@pytest.mark.parametrize(
    ('protocol', 'more', 'missing'),
    [
        ('iscsi', {'cephx': 'attachment', 'ip': '192.0.2.7'}, '"initiator"'),
        ('rbd', {'initiator': 'iqn.x:h'}, '"ip"'),
        ('rbd', {'initiator': 'iqn.x:h', 'ip': 'here', 'cephx': 'host'}, '"ip"'),
        ('rbd', {'ip': None}, '"ip"'),
    ],
)
def test_a_connector_needs_what_its_backend_does(protocol, more, missing):
    with pytest.raises(errors.InvalidConnector, match=missing):
        name_for(protocol, **more)


def test_a_keyring_is_a_secret():
    assert connection.hide_secrets({'name': 'p/v', 'keyring': 'k', 'auth_username': 'u'}) == {'name': 'p/v'}
