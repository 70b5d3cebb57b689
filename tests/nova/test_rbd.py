# SPDX-License-Identifier: Apache-2.0
"""The disk that Nova's libvirt driver gives to a server for an image of Ceph, with the operator's own user."""

import base64
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from multiattach.drivers.ceph.pool import MONITORS
from tests.nova import clouds
from tests.nova.client import Nova
from tests.nova.clouds import Cloud
from tests.nova.test_flows import Mapping, attach, detach
from tests.testbed import Guest, Libvirtd
from tests.testbed.ceph import Ceph

POOL = USER = 'volumes'
SECRET = '3d2b4f0a-4c55-4b0e-8a57-0f1b7d0d4c11'


@pytest.fixture(scope='module')
def ceph() -> Iterator[Ceph]:
    with tempfile.TemporaryDirectory(prefix='ma-ceph-') as name, Ceph(pathlib.Path(name) / 'c') as cluster:
        cluster.make_pool(POOL)
        # As doc/source/install/ceph.rst says for images that hosts open themselves.
        caps = ['mon', MONITORS, 'osd', f'profile rbd pool={POOL}']
        cluster.ask('auth add', entity=f'client.{USER}', caps=caps)
        cluster.write_conf(USER, cluster.ask('auth get', entity=f'client.{USER}')[0]['key'])
        yield cluster


@pytest.fixture(scope='module')
def cloud(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory, nova_python: pathlib.Path) -> Iterator[Cloud]:
    more = (
        '[volume]\nenabled_backends = ceph\n[ceph]\ndriver = rbd\ntarget_driver = rbd\n'
        f'rbd_pool = {POOL}\nrbd_user = {USER}\nrbd_secret_uuid = {SECRET}\n'
        f'rbd_ceph_conf = {ceph.folder}/client.{USER}.conf\n'
    )
    with clouds.run_without_keystone(tmp_path_factory.mktemp('rbd'), nova_python, more) as running:
        yield running


@pytest.fixture(scope='module')
def nova(cloud: Cloud) -> Iterator[Nova]:
    with cloud.run_nova() as running:
        yield running


def render(nova: Nova, mapping: Mapping) -> ElementTree.Element:
    info = mapping['connection_info']
    return ElementTree.fromstring(nova.order('render_disk', connection_info=info, dev='vdb', cachemodes={}))


def test_nova_writes_the_disk_of_an_image(nova: Nova, ceph: Ceph, shared: str, server: str) -> None:
    mapping = attach(nova, shared, server)
    assert mapping['connection_info']['driver_volume_type'] == 'rbd'
    assert 'keyring' not in mapping['connection_info']['data']
    disk = render(nova, mapping)
    [monitor] = ceph.ask('mon dump')['mons']
    address, _, port = monitor['addr'].partition('/')[0].rpartition(':')
    found = {element.tag: dict(element.attrib) or element.text for element in disk}
    assert (disk.attrib, found) == (
        {'type': 'network', 'device': 'disk'},
        {
            'driver': {'name': 'qemu', 'type': 'raw', 'cache': 'none', 'discard': 'unmap'},
            'source': {'protocol': 'rbd', 'name': f'{POOL}/volume-{shared}'},
            'auth': {'username': USER},
            'target': {'dev': 'vdb', 'bus': 'virtio'},
            'serial': shared,
            'shareable': None,
            'alias': {'name': f'ua-{shared}'},
        },
    )
    hosts = [host.attrib for host in disk.findall('./source/host')]
    assert hosts == [{'name': address, 'port': port}]
    secret = disk.find('./auth/secret')
    assert secret is not None
    assert secret.attrib == {'type': 'ceph', 'uuid': SECRET}
    detach(nova, mapping)


@pytest.mark.slow
def test_a_guest_has_what_nova_wrote(nova: Nova, ceph: Ceph, shared: str, server: str) -> None:
    mapping = attach(nova, shared, server)
    disk = ElementTree.tostring(render(nova, mapping), encoding='unicode')
    key: Any = ceph.ask('auth get', entity=f'client.{USER}')[0]['key']
    with tempfile.TemporaryDirectory(prefix='ma-lv-') as name, Libvirtd(pathlib.Path(name) / 'lv') as daemon:
        connection = daemon.connect()
        secret = connection.secretDefineXML(
            f"<secret ephemeral='yes' private='yes'><uuid>{SECRET}</uuid>"
            f"<usage type='ceph'><name>client.{USER} secret</name></usage></secret>"
        )
        secret.setValue(base64.b64decode(key))
        guest = Guest.define(connection, 'guest', pathlib.Path(name) / 'guest')
        guest.start()
        guest.wait_ready()
        guest.domain.attachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        path = guest.wait_for_disk(shared)
        guest.write_block(path, 5, b'as Nova has it')
        assert guest.read_block(path, 5).startswith(b'as Nova has it')
        guest.destroy()
        connection.close()
    detach(nova, mapping)
