# SPDX-License-Identifier: Apache-2.0
"""Guests on two compute hosts share an image of Ceph that their QEMU opens; one of them is fenced."""

import json
import pathlib
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.drivers.ceph.pool import MONITORS
from tests.deployments import programs, two_hosts
from tests.deployments.programs import Program
from tests.e2e import facts
from tests.e2e.test_fences import FAR, NEAR, SPAN, fence
from tests.testbed.ceph import Ceph, _load
from tests.testbed.guest import BLOCK_SIZE
from tests.testbed.polling import wait_until
from tests.testbed.vm import ComputeHost

BACKEND = POOL = USER = 'ceph'
BRICK = pathlib.Path(__file__).with_name('brick_images.py')
_WATCHED = 5  # s; a write that was on its way would have arrived long before


class Store:
    """The cluster, and volumes as its administrator sees them."""

    def __init__(self, ceph: Ceph) -> None:
        self.ceph = ceph

    def read(self, volume_id: str, block: int, count: int) -> bytes:
        with self.ceph.open_pool(POOL) as io, _load('rbd').Image(io, f'volume-{volume_id}', read_only=True) as image:
            return bytes(image.read(block * BLOCK_SIZE, count * BLOCK_SIZE))

    def list_users(self) -> list[str]:
        """List the users that were made for attachments."""
        names = [one['entity'] for one in self.ceph.ask('auth ls')['auth_dump']]
        return [name for name in names if name.startswith('client.multiattach-')]


@pytest.fixture(scope='module')
def store(running: two_hosts.Deployment) -> Iterator[Store]:
    """A Ceph that the hosts reach, and a volume worker with a pool there."""
    with Ceph(running.folder / 'ceph', running.network) as ceph:
        ceph.make_pool(POOL)
        caps = ['mon', MONITORS, 'osd', f'profile rbd pool={POOL}']
        ceph.ask('auth add', entity=f'client.{USER}', caps=caps)
        conf = ceph.write_conf(USER, ceph.ask('auth get', entity=f'client.{USER}')[0]['key'])
        config = running.folder / 'images.conf'
        config.write_text(
            '[DEFAULT]\nhost = keeper\n'
            f'[volume]\ncluster = images\nenabled_backends = {BACKEND}\n[{BACKEND}]\ndriver = rbd\n'
            f'target_driver = rbd\nrbd_pool = {POOL}\nrbd_user = {USER}\nrbd_ceph_conf = {conf}\n'
        )
        worker = Program('multiattach-volume', config, ' is ready', common=running.config, wrap=running.network.wrap)
        worker.start()
        try:
            worker.wait_ready()
            running.make_type(BACKEND, {'multiattach': '<is> True', 'volume_backend_name': BACKEND})
            yield Store(ceph)
        finally:
            assert worker.stop() == 0
        # As "service remove" does when it is down: whoever asks all workers would wait for it.
        running.query('DELETE FROM services WHERE host = %s', f'keeper@{BACKEND}')


@pytest.fixture
def volume(cloud: two_hosts.Deployment, store: Store) -> Iterator[str]:
    ident = cloud.make_volume(BACKEND)
    yield ident
    cloud.delete_volume(ident)
    assert store.list_users() == []
    for host in cloud.hosts:
        assert list_secrets(host) == []


def list_secrets(host: ComputeHost) -> list[str]:
    connection = host.connect_libvirt()
    try:
        return sorted(secret.UUIDString() for secret in connection.listAllSecrets())
    finally:
        connection.close()


def read_info(cloud: two_hosts.Deployment, attachment_id: str) -> dict[str, Any]:
    ((text,),) = cloud.query('SELECT connection_info FROM attachments WHERE id = %s', attachment_id)
    found: dict[str, Any] = json.loads(text)
    return found


def use_brick(host: ComputeHost, kind: str, info: dict[str, Any], text: str) -> str:
    variables = ' '.join(shlex.quote(f'{key}={value}') for key, value in programs.ENVIRONMENT.items())
    code, said = host.run(
        f'env {variables} {sys.executable} {BRICK} {kind} {shlex.quote(text)} 2>/run/brick.log',
        300,
        json.dumps(info).encode(),
    )
    assert code == 0, host.run('tail -c 3000 /run/brick.log')[1]
    return said.splitlines()[-1].rstrip('.')


def test_guests_share_an_image_until_one_is_fenced(cloud: two_hosts.Deployment, store: Store, volume: str) -> None:
    one, far = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    for guest in (cloud.one, cloud.far):
        disk = facts.find_disk(guest, volume, live=True)
        assert disk is not None
        source, driver = disk.find('source'), disk.find('driver')
        assert source is not None
        assert driver is not None
        assert (disk.get('type'), source.get('protocol'), driver.get('cache')) == ('network', 'rbd', 'none')
        assert disk.find('shareable') is not None
    facts.share(cloud.one, one, cloud.far, far, 2000)
    facts.share(cloud.far, far, cloud.one, one, 2001)
    ident = cloud.find_attachment(cloud.far, volume)
    info, host = read_info(cloud, ident), cloud.hosts[1]
    assert list_secrets(host) == [ident]
    assert use_brick(host, 'library', info, 'by os-brick') == 'by os-brick'
    with facts.Writer(cloud.one, one, NEAR, 'one').running() as near:
        with facts.Writer(cloud.far, far, FAR, 'far').running(fails=True):
            told = fence(cloud, cloud.far, volume)
            at_answer = store.read(volume, FAR, SPAN)
            assert told['proof']['left'] == {'acl': False, 'account': False, 'sessions': []}
            assert told['proof']['cut']['sessions'], told
            end = time.monotonic() + _WATCHED
            while time.monotonic() < end:
                near.wait_progress()
                assert store.read(volume, FAR, SPAN) == at_answer
        # Its agent lives: it lets go by itself.
        wait_until(lambda: facts.find_disk(cloud.far, volume, live=True) is None, 120, 'the disk is gone', 0.5)
        wait_until(lambda: list_secrets(host) == [], 60, 'the secret is gone', 0.5)
        # Neither with its key nor in another way that it knows.
        for kind in ('library', 'kernel'):
            assert use_brick(host, kind, info, 'late').startswith('refused'), kind
        assert store.read(volume, FAR, SPAN) == at_answer
    found = set(facts.read_stamps(store.read(volume, NEAR, SPAN)))
    assert {('one', number) for number in range(max(0, near.count() - SPAN), near.count())} <= found
    cloud.ask('DELETE', f'/v3/attachments/{ident}')
    # With an attachment made anew it has the volume as before.
    far = cloud.attach(cloud.far, volume)
    facts.share(cloud.far, far, cloud.one, one, 2000)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)


@pytest.mark.slow
def test_the_kernel_of_a_host_opens_an_image(cloud: two_hosts.Deployment, store: Store, volume: str) -> None:
    """By os-brick, as clients without QEMU do, from the connection_info that the agent was given."""
    device = cloud.attach(cloud.one, volume)
    info, host = read_info(cloud, cloud.find_attachment(cloud.one, volume)), cloud.hosts[1]
    host.check('modprobe rbd')
    assert use_brick(host, 'kernel', info, 'by krbd') == 'by krbd'
    assert cloud.one.read_block(device, 0).startswith(b'by krbd')
    assert host.check('ls /sys/bus/rbd/devices') == '', 'it is mapped still'
    cloud.detach(cloud.one, volume)
