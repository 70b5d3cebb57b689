# SPDX-License-Identifier: Apache-2.0
"""The kernel's target over images of Ceph, which its kernel maps: the tests of every target and every storage."""

from collections.abc import Iterator

import pytest

from tests.deployments.lio import Service
from tests.e2e.test_lio import play_losses, run_tests
from tests.functional.drivers import stores
from tests.testbed import storage
from tests.testbed.ceph import Ceph
from tests.testbed.network import Network
from tests.testbed.storage import StorageHost

pytestmark = pytest.mark.slow  # an emulated machine

FOLDER = storage.DATA / 'ceph'


@pytest.fixture(scope='module')
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope='module')
def ceph(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with Ceph(tmp_path_factory.mktemp('ceph') / 'c', network) as cluster:
        cluster.ask('osd set-require-min-compat-client', version='mimic')
        yield cluster


@pytest.fixture(scope='module')
def host(network: Network, ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageHost]:
    made = StorageHost(network, tmp_path_factory.mktemp('storage'))
    made.boot()
    made.check(f'mkdir -p {FOLDER}')
    made.put_file(FOLDER / 'keyring', (ceph.folder / 'keyring').read_bytes(), 0o600)
    made.put_file(FOLDER / 'ceph.conf', ceph.conf.read_text().replace(str(ceph.folder), str(FOLDER)).encode())
    yield made
    made.stop()


def test_what_every_target_keeps_to(host: StorageHost) -> None:
    told = {stores.CEPH_VARIABLE: str(FOLDER / 'ceph.conf')}
    run_tests(host, 'every_target and every_store', 'tests/functional/drivers/targets/tgt', **told)
    assert host.check('ls /sys/bus/rbd/devices').split() == []


def test_reservations(host: StorageHost) -> None:
    told = {stores.CEPH_VARIABLE: str(FOLDER / 'ceph.conf')}
    run_tests(host, 'kernel_target', 'tests/functional/drivers/targets/lio/test_reservations.py', **told)
    assert host.check('ls /sys/bus/rbd/devices').split() == []


def test_a_worker_exports_fences_and_restores(host: StorageHost, ceph: Ceph) -> None:
    ceph.make_pool('volumes')
    ceph.make_user('multiattach', 'profile rbd pool=volumes')
    key = ceph.ask('auth get', entity='client.multiattach')[0]['key']
    host.put_file(FOLDER / 'own.keyring', f'[client.multiattach]\nkey = {key}\n'.encode(), 0o600)
    conf = f'{host.get_file(FOLDER / "ceph.conf").rstrip()}\nkeyring = {FOLDER}/own.keyring\n'
    host.put_file(FOLDER / 'own.conf', conf.encode())
    service = Service(
        host, driver='rbd', rbd_pool='volumes', rbd_user='multiattach', rbd_ceph_conf=str(FOLDER / 'own.conf')
    )
    play_losses(host, service)
    assert host.check('ls /sys/bus/rbd/devices').split() == []
    service.stop()
