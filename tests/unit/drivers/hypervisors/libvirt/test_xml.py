# SPDX-License-Identifier: Apache-2.0
import base64
from typing import Any
from xml.etree import ElementTree

import pytest

from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.errors import HypervisorError
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt import xml

VOLUME = 'f3a1b2c3-d4e5-4f60-8718-293a4b5c6d7e'
ATTACHMENT = '0c2e2d01-58bf-42ec-bba6-52019e687c85'
PATH = '/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x-lun-1'
NETWORK = {
    'protocol': 'iscsi',
    'name': 'iqn.x/1',
    'host': '10.0.0.1',
    'port': 3260,
    'username': 'user',
    'password': 'chap-secret-1234',
    'initiator': 'iqn.y:1',
}


def make_disk(source: DeviceInfo | None = None, **changes: Any) -> Disk:
    return Disk(ATTACHMENT, VOLUME, source or DeviceInfo('block', PATH), '/dev/vdb', **changes)


def same(one: str, other: str) -> bool:
    return ElementTree.canonicalize(one, strip_text=True) == ElementTree.canonicalize(other, strip_text=True)


def test_disk_of_row_14() -> None:
    assert same(
        xml.build_disk(make_disk(multiattach=True), 'vdb'),
        f"""
        <disk type="block" device="disk">
          <driver name="qemu" type="raw" cache="none" io="native" discard="unmap"/>
          <source dev="{PATH}"/><target dev="vdb" bus="virtio"/>
          <shareable/><serial>{VOLUME}</serial><alias name="ua-{VOLUME}"/>
        </disk>""",
    )


def test_disk_of_qemus_own_initiator_names_the_secret_and_does_not_hold_it() -> None:
    text = xml.build_disk(make_disk(DeviceInfo('network', details=NETWORK), mode='ro'), 'vdc')
    assert same(
        text,
        f"""
        <disk type="network" device="disk">
          <driver name="qemu" type="raw" cache="none" discard="unmap"/>
          <source protocol="iscsi" name="iqn.x/1"><host name="10.0.0.1" port="3260"/>
            <auth username="user"><secret type="iscsi" uuid="{ATTACHMENT}"/></auth>
            <initiator><iqn name="iqn.y:1"/></initiator></source>
          <target dev="vdc" bus="virtio"/><readonly/>
          <serial>{VOLUME}</serial><alias name="ua-{VOLUME}"/>
        </disk>""",
    )


def test_disk_with_reservations() -> None:
    place = xml.DrivePlace(1, 3)
    assert same(
        xml.build_disk(make_disk(multiattach=True, reservations=True), 'sda', place),
        f"""
        <disk type="block" device="lun">
          <driver name="qemu" type="raw" cache="none" io="native" discard="unmap"/>
          <source dev="{PATH}"><reservations managed="yes"/></source><target dev="sda" bus="scsi"/>
          <shareable/><alias name="ua-{VOLUME}"/>
          <address type="drive" controller="1" bus="0" target="0" unit="3"/>
        </disk>""",
    )
    own = ElementTree.fromstring(
        xml.build_disk(make_disk(DeviceInfo('network', details=NETWORK), reservations=True), 'sda', place)
    )
    assert (own.get('device'), own.find('.//reservations'), own.find('serial')) == ('lun', None, None)


CONTROLLER = '<controller type="scsi" model="{}" index="{}"/>'
VIRTIO, OTHER = CONTROLLER.format('virtio-scsi', 0), CONTROLLER.format('lsilogic', 0)
SECOND = CONTROLLER.format('virtio-scsi', 1)
TAKEN = '<disk><target dev="sda"/><address type="drive" controller="0" bus="0" target="0" unit="0"/></disk>'


@pytest.mark.parametrize(
    ('live', 'config', 'controller', 'unit', 'has'),
    [
        ((), (), 0, 0, (False, False)),
        ((VIRTIO,), (VIRTIO,), 0, 0, (True, True)),
        ((VIRTIO, TAKEN), (VIRTIO,), 0, 1, (True, True)),
        ((OTHER, TAKEN), (OTHER,), 1, 0, (False, False)),
        ((OTHER, SECOND), (OTHER,), 1, 0, (True, False)),
        ((OTHER,), (VIRTIO, SECOND), 1, 0, (False, True)),
        (None, (VIRTIO,), 0, 0, (False, True)),
    ],
)
def test_place_of_a_disk_with_reservations(
    live: tuple[str, ...] | None, config: tuple[str, ...], controller: int, unit: int, has: tuple[bool, bool]
) -> None:
    states = [None if one is None else domain(*one) for one in (live, config)]
    place = xml.choose_place(*states)
    assert place == xml.DrivePlace(controller, unit)
    assert tuple(xml.has_controller(one, place) for one in states) == has
    assert same(xml.build_controller(place), CONTROLLER.format('virtio-scsi', controller))


IMAGE = {
    'protocol': 'rbd',
    'name': f'volumes/volume-{VOLUME}',
    'hosts': (('10.0.0.1', '3300'), ('fd00::1', '6789')),
    'discard': True,
    'conf': '/etc/ceph/ceph.conf',
    'username': f'multiattach-{ATTACHMENT}',
    'secret_uuid': ATTACHMENT,
    'key': 'AQBY2AxrFIxrNxAASqmhkd+a0wV8SgY42Z0OfA==',
}


def test_disk_of_an_image_names_monitors_user_and_secret() -> None:
    text = xml.build_disk(make_disk(DeviceInfo('network', details=IMAGE), multiattach=True), 'vdc')
    assert same(
        text,
        f"""
        <disk type="network" device="disk">
          <driver name="qemu" type="raw" cache="none" discard="unmap"/>
          <source protocol="rbd" name="volumes/volume-{VOLUME}"><host name="10.0.0.1" port="3300"/>
            <host name="fd00::1" port="6789"/><config file="/etc/ceph/ceph.conf"/>
            <auth username="multiattach-{ATTACHMENT}"><secret type="ceph" uuid="{ATTACHMENT}"/></auth></source>
          <target dev="vdc" bus="virtio"/><shareable/>
          <serial>{VOLUME}</serial><alias name="ua-{VOLUME}"/>
        </disk>""",
    )
    [found] = xml.list_own(f'<domain><devices>{text}</devices></domain>', None)
    assert (found.secret_id, found.is_network) == (ATTACHMENT, True)


def test_image_without_users_and_without_discard() -> None:
    details = {key: IMAGE[key] for key in ('protocol', 'name', 'hosts')} | {'discard': False}
    root = ElementTree.fromstring(xml.build_disk(make_disk(DeviceInfo('network', details=details)), 'vdb'))
    assert root.find('./driver[@discard]') is None
    assert root.find('.//auth') is None


def test_key_of_ceph_is_kept_as_what_it_encodes() -> None:
    disk = make_disk(DeviceInfo('network', details=IMAGE))
    assert base64.b64encode(xml.find_secret(disk) or b'').decode() == IMAGE['key']
    assert same(
        xml.build_secret(disk, ephemeral=True),
        f"""
        <secret ephemeral="yes" private="yes"><uuid>{ATTACHMENT}</uuid>
          <description>Key of Ceph of attachment {ATTACHMENT}</description>
          <usage type="ceph"><name>multiattach-{ATTACHMENT}</name></usage>
        </secret>""",
    )
    assert xml.find_secret(make_disk(DeviceInfo('network', details={**IMAGE, 'key': ''}))) is None


def test_the_source_of_an_image_is_its_user_and_not_its_monitors() -> None:
    moved = {**IMAGE, 'hosts': (('10.0.0.9', '3300'),)}
    other = {**IMAGE, 'username': 'multiattach-other'}
    one, same_one, another = (xml.source_of(make_disk(DeviceInfo('network', details=d))) for d in (IMAGE, moved, other))
    assert one == same_one != another


def test_rates_of_qos_specs() -> None:
    disk = make_disk(rates={'read_iops_sec': 7, 'total_bytes_sec': 0})
    found = ElementTree.fromstring(xml.build_disk(disk, 'vdb'))
    tune = found.find('iotune')
    assert tune is not None
    assert [(rate.tag, rate.text) for rate in tune] == [('read_iops_sec', '7'), ('total_bytes_sec', '0')]


@pytest.mark.parametrize('ephemeral', [True, False])
def test_secret(ephemeral: bool) -> None:
    assert same(
        xml.build_secret(make_disk(DeviceInfo('network', details=NETWORK)), ephemeral=ephemeral),
        f"""
        <secret ephemeral="{'yes' if ephemeral else 'no'}" private="yes"><uuid>{ATTACHMENT}</uuid>
          <description>CHAP of attachment {ATTACHMENT}</description>
          <usage type="iscsi"><target>multiattach-{ATTACHMENT}</target></usage>
        </secret>""",
    )


def domain(*disks: str) -> str:
    return f'<domain><devices>{"".join(disks)}</devices></domain>'


VDA = '<disk type="file"><source file="/a"/><target dev="vda" bus="virtio"/></disk>'


@pytest.mark.parametrize('reservations', [False, True])
@pytest.mark.parametrize('source', [DeviceInfo('block', '/dev/null'), DeviceInfo('network', details=NETWORK)])
def test_what_was_built_is_found_again(source: DeviceInfo, reservations: bool) -> None:
    disk = make_disk(source, reservations=reservations)
    found = xml.find_disk(domain(VDA, xml.build_disk(disk, 'vdd')), VOLUME)
    assert found is not None
    assert (found.target, found.alias) == ('vdd', f'ua-{VOLUME}')
    assert found.source == xml.source_of(disk)
    [own] = xml.list_own(domain(VDA, xml.build_disk(disk, 'vdd')), None)
    assert (own.volume_id, own.target) == (VOLUME, 'vdd')
    assert found.source != xml.source_of(make_disk(DeviceInfo('block', '/dev/zero')))
    assert xml.source_of(make_disk(DeviceInfo('network', details=NETWORK | {'initiator': 'iqn.y:2'}))) != found.source


def test_what_is_not_there() -> None:
    assert xml.find_disk(None, VOLUME) is None
    assert xml.find_disk(domain(VDA), VOLUME) is None
    assert xml.list_targets(None) == []
    cdrom = '<disk device="cdrom"><target dev="sda"/></disk>'
    text = domain(VDA, xml.build_disk(make_disk(), 'vdb'), cdrom)
    assert xml.list_targets(text) == ['vda', 'vdb', 'sda']
    assert xml.list_targets(text, without=VOLUME) == ['vda', 'sda']


@pytest.mark.parametrize(
    ('wished', 'taken', 'name'),
    [
        ('/dev/vdb', {'vda'}, 'vdb'),
        ('vdf', {'vda'}, 'vdf'),
        ('/dev/vdb', {'vda', 'vdb'}, 'vdc'),
        ('', set(), 'vdb'),
        ('/dev/sdb', {'vda'}, 'vdb'),
        ('', {f'vd{letter}' for letter in 'abcdefghijklmnopqrstuvwxyz'}, 'vdaa'),
    ],
)
def test_device_name(wished: str, taken: set[str], name: str) -> None:
    assert xml.choose_device(wished, taken) == name


def test_no_device_name_is_left() -> None:
    class Everything(set[str]):
        def __contains__(self, _name: object) -> bool:
            return True

    with pytest.raises(HypervisorError, match='no device name left'):
        xml.choose_device('/dev/vdb', Everything())


def test_odd_characters_do_no_harm() -> None:
    evil = DeviceInfo('network', details=NETWORK | {'name': '"/><x a="', 'username': '<&>'})
    root = ElementTree.fromstring(xml.build_disk(make_disk(evil), 'vdb'))
    source = root.find('source')
    assert source is not None
    assert source.get('name') == '"/><x a="'
    assert root.find('.//x') is None
