# SPDX-License-Identifier: Apache-2.0
"""The disk that Nova's libvirt driver gives to a server for a volume of this service."""

from typing import Any
from xml.etree import ElementTree

import pytest

from tests.nova.client import Nova
from tests.nova.clouds import opens
from tests.nova.test_flows import Mapping, attach, detach

_WRITEBACK = {'block': 'writeback'}  # an operator's [libvirt]disk_cachemodes


def find_path(nova: Nova, mapping: Mapping) -> str:
    [path] = nova.order('find_paths', connection_info=mapping['connection_info'])
    return str(path)


def render(nova: Nova, mapping: Mapping, cachemodes: dict[str, str], dev: str = 'vdb', **bdm: str) -> dict[str, Any]:
    """Render it as for a device that os-brick has found; elements by their tag."""
    info = mapping['connection_info']
    info['data']['device_path'] = find_path(nova, mapping)
    text = nova.order('render_disk', connection_info=info, dev=dev, cachemodes=cachemodes, bdm=bdm)
    root = ElementTree.fromstring(text)
    return {'disk': root.attrib} | {element.tag: element.attrib or element.text for element in root}


def test_os_brick_looks_for_the_device_of_the_target(nova: Nova, shared: str, server: str) -> None:
    mapping = attach(nova, shared, server)
    portal = mapping['connection_info']['data']['target_portal']
    assert find_path(nova, mapping) == (
        f'/dev/disk/by-path/ip-{portal}-iscsi-iqn.2010-10.org.openstack:volume-{shared}-lun-1'
    )
    detach(nova, mapping)


@pytest.mark.parametrize('cachemodes', [{}, _WRITEBACK])
def test_a_shared_disk_is_never_cached(nova: Nova, shared: str, server: str, cachemodes: dict[str, str]) -> None:
    """Whatever the operator says; requirement row 14."""
    mapping = attach(nova, shared, server)
    assert render(nova, mapping, cachemodes) == {
        'disk': {'type': 'block', 'device': 'disk'},
        'driver': {'name': 'qemu', 'type': 'raw', 'cache': 'none', 'io': 'native'},
        'source': {'dev': mapping['connection_info']['data']['device_path']},
        'target': {'dev': 'vdb', 'bus': 'virtio'},
        'serial': shared,
        'shareable': None,
        'alias': {'name': f'ua-{shared}'},
    }
    detach(nova, mapping)


def test_a_disk_that_is_not_shared(nova: Nova, single: str, server: str) -> None:
    mapping = attach(nova, single, server)
    disk = render(nova, mapping, _WRITEBACK)
    assert disk['driver'] == {'name': 'qemu', 'type': 'raw', 'cache': 'writeback', 'io': 'threads'}
    assert disk['serial'] == single
    assert 'shareable' not in disk
    assert 'readonly' not in disk
    detach(nova, mapping)


def test_a_disk_that_is_read_only(nova: Nova, shared: str, server: str) -> None:
    """An attachment in mode ro is so down to the guest."""
    connector = {
        'platform': 'x86_64',
        'ip': '127.0.0.1',
        'host': 'one',
        'mode': 'ro',
        'initiator': 'iqn.1994-05.com.redhat:one',
    }
    ident = nova.call('attachment_create', shared, server)['id']
    info = nova.call('attachment_update', ident, connector, '/dev/vdb')['connection_info']
    assert info['data']['access_mode'] == 'ro'
    disk = render(nova, {'connection_info': {**info, 'serial': shared, 'multiattach': True}}, {})
    assert {'readonly', 'shareable'} <= set(disk)
    nova.call('attachment_delete', ident)


def test_the_connector_that_os_brick_makes_is_accepted(nova: Nova, shared: str, server: str) -> None:
    """Whole, with all that it found out of this machine."""
    connector = nova.order('get_connector')
    assert {'host', 'initiator', 'ip', 'multipath', 'enforce_multipath'} <= set(connector)
    ident = nova.call('attachment_create', shared, server)['id']
    info = nova.call('attachment_update', ident, connector, '/dev/vdb')['connection_info']
    assert info['data']['enforce_multipath'] is True
    assert opens(info, connector['initiator'])
    nova.call('attachment_delete', ident)


def test_reservations_are_not_novas(nova: Nova, shared: str, server: str) -> None:
    """What doc/source/user/reservations.rst says of Nova."""
    mapping = attach(nova, shared, server)
    mapping['connection_info']['data']['reservations'] = True  # as of a volume whose type asks for them
    # Nothing in connection_info makes a lun of a disk, and nobody who attaches a volume can ask for one …
    assert render(nova, mapping, {})['disk'] == {'type': 'block', 'device': 'disk'}
    assert nova.order('list_wishes') == ['delete_on_termination', 'device', 'tag', 'volumeId']
    # … whoever boots a server with the volume can; but the kernel lets only root reserve, and libvirt's way around
    # that, <reservations managed="yes"/>, is not Nova's.
    lun = render(nova, mapping, {}, 'sdb', device_type='lun', disk_bus='scsi')
    assert lun['disk'] == {'type': 'block', 'device': 'lun'}
    assert lun['target'] == {'dev': 'sdb', 'bus': 'scsi'}
    assert not {'serial', 'reservations'} & set(lun)
    assert lun['source'] == {'dev': mapping['connection_info']['data']['device_path']}
    assert lun['shareable'] is None
    detach(nova, mapping)
