# SPDX-License-Identifier: Apache-2.0
"""The kernel's target, in a storage machine: this machine's kernel may have none."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multiattach.drivers.targets.base import Grant, TargetInfo, account_name, generate_secret
from tests.benchmarks.cinder import FILES
from tests.deployments import targets
from tests.deployments.lio import Service
from tests.functional.drivers import stores
from tests.functional.drivers.targets.tgt.initiator import BLOCK, REGISTER, RESERVE, IoFailed, LoginRefused, Session
from tests.functional.takeover import lio_targets
from tests.testbed import storage
from tests.testbed.environments import ensure_venv
from tests.testbed.network import Network
from tests.testbed.storage import StorageHost

pytestmark = pytest.mark.slow  # an emulated machine

KINDS = (1, 3, 5, 6, 7, 8)
STEPS = Path(__file__).with_name('lio_steps.py')


@pytest.fixture(scope='module')
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope='module')
def host(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageHost]:
    made = StorageHost(network, tmp_path_factory.mktemp('storage'))
    made.boot()
    yield made
    made.stop()


def run_tests(host: StorageHost, marks: str, *paths: str, **variables: str) -> None:
    told = {targets.KERNEL_VARIABLE: '1', **variables}
    words = ['-m', 'pytest', '-q', '-n', '0', '-p', 'no:cacheprovider', f'--basetemp={storage.DATA}/tests', '-m', marks]
    if any('drivers/targets/lio' in path for path in paths):
        words.append('--confcutdir=tests/functional/drivers')  # the rest takes an emulated processor minutes
    code, shown = host.try_python(*words, '--durations=10', *paths, timeout=1500, variables=told)
    print(shown)
    assert code == 0
    assert ' passed' in shown.splitlines()[-1]


def test_what_the_kernel_does_otherwise(host: StorageHost) -> None:
    run_tests(host, 'kernel_target', 'tests/functional/drivers/targets/lio')


def test_what_every_target_keeps_to(host: StorageHost) -> None:
    """The tests of the driver that this machine runs on tgtd."""
    run_tests(host, 'every_target', 'tests/functional/drivers/targets/tgt')


def test_logical_volumes(host: StorageHost) -> None:
    host.make_group()
    group = {stores.GROUP_VARIABLE: storage.VOLUME_GROUP}
    run_tests(host, 'every_target and every_store', 'tests/functional/drivers/targets/tgt', **group)
    run_tests(host, 'kernel_target', 'tests/functional/drivers/targets/lio/test_reservations.py', **group)


def test_drift(host: StorageHost) -> None:
    """What drifts between a target and the database; an older copy of it cuts no login."""
    run_tests(host, 'every_target', 'tests/functional/reconcile')


def test_targets_that_cinder_made(host: StorageHost) -> None:
    """Hosts stay logged in at them while this service has them."""
    host.check('mkdir -p /etc/target')  # as the package of rtslib has it
    programs = ensure_venv(None, 'cinder', FILES / 'requirements.txt')
    told = {lio_targets.PROGRAMS_VARIABLE: str(programs)}
    run_tests(host, 'kernel_target', 'tests/functional/drivers/targets/lio/test_adopted.py', **told)
    run_tests(host, 'every_target', 'tests/functional/takeover/test_adoption.py', **told)


def test_fences_and_steps_that_fail(host: StorageHost) -> None:
    """Fences, exports and leases of the service, whose target answers, refuses, or does not answer."""
    run_tests(host, 'every_target', 'tests/component/engine/test_fences.py', 'tests/component/volume')


def test_kills(host: StorageHost) -> None:
    """kill -9 at each failpoint of a worker that changes a target."""
    run_tests(host, 'kernel_target', 'tests/functional/kernel_target/test_kills.py')


def test_histories(host: StorageHost) -> None:
    """Random histories of clients, while the service is killed and stopped."""
    run_tests(host, 'kernel_target', 'tests/functional/kernel_target/test_histories.py')


class Volume:
    """A volume that the driver in the storage machine exports, and three initiators outside of it."""

    def __init__(self, host: StorageHost, kind: int) -> None:
        self.host = host
        self.kind = kind
        self.id = str(uuid.uuid4())
        names = [f'iqn.2010-10.org.openstack.test:host-{number}' for number in range(3)]
        self.grants = [Grant(name, account_name(self.id, name), generate_secret()) for name in names]

    @property
    def portal(self) -> str:
        return f'{self.host.address}:3260'

    @property
    def info(self) -> TargetInfo:
        return TargetInfo(f'iqn.2010-10.org.openstack:volume-{self.id}', self.portal, 1, 1)

    def tell(self) -> dict[str, Any]:
        return {'id': self.id, 'grants': [(one.initiator, one.username, one.secret, one.mode) for one in self.grants]}

    def login(self, number: int) -> Session:
        grant = self.grants[number]
        with self.host.network.inside():
            return Session(self.portal, self.info.iqn, grant.initiator, grant.username, grant.secret, isid=number + 1)

    def may_write(self, number: int) -> bool:
        with self.login(number) as session:
            try:
                session.write(number, bytes([number]) * BLOCK)
            except IoFailed as exc:
                if 'RESERVATION CONFLICT' not in str(exc):
                    raise
                return False
            return True


def take_step(host: StorageHost, step: str, volumes: list[Volume]) -> Any:
    """Have the driver there do something with volumes."""
    host.put_file('/run/volumes.json', json.dumps([one.tell() for one in volumes]).encode(), 0o600)
    host.drop_caches()
    return json.loads(host.run_python(str(STEPS), step, volumes[0].portal).splitlines()[-1])


def test_a_loss_of_power_ends_no_reservation(host: StorageHost) -> None:
    """The power goes the moment after the initiator was answered, and nobody asked for APTPL."""
    volumes = [Volume(host, kind) for kind in KINDS]
    take_step(host, 'make', volumes)
    take_step(host, 'grant', volumes)
    for volume in volumes:
        with volume.login(0) as first, volume.login(1) as second:
            first.reserve_out(REGISTER, 0, 0xABC0)
            second.reserve_out(REGISTER, 0, 0xABC1)
            first.reserve_out(RESERVE, 0xABC0, kind=volume.kind)
    host.power_off()
    host.boot()
    # Whoever is not registered comes first: it is kept off before the others are back.
    for volume in volumes:
        volume.grants.reverse()
    told = take_step(host, 'grant', volumes)
    for volume in volumes:
        volume.grants.reverse()
        found = told[volume.id]
        assert found['kind'] == volume.kind
        assert {one[0]: one[1] for one in found['registrations']} == {
            volume.grants[0].initiator: f'{0xABC0:016x}',
            volume.grants[1].initiator: f'{0xABC1:016x}',
        }
        assert not volume.may_write(2)
        assert volume.may_write(0)
        assert volume.may_write(1) is (volume.kind not in (1, 3))
    take_step(host, 'remove', volumes)


def play_losses(host: StorageHost, service: Service) -> None:
    """The service itself: its worker dies, the holder of a reservation is fenced, and the machine loses its power."""
    service.start()
    volume_id = service.make_volume()
    one, two, reader = (service.attach(volume_id, name) for name in ('one', 'two', 'reader'))
    with service.login(one) as first, service.login(two) as second:
        first.reserve_out(REGISTER, 0, 0xABC0)
        second.reserve_out(REGISTER, 0, 0xABC1)
        first.reserve_out(RESERVE, 0xABC0, kind=5)
        first.write(0, b'1' * BLOCK)
        assert second.read(0) == b'1' * BLOCK
        service.kill()
        first.write(0, b'2' * BLOCK)  # the kernel needs no worker
    service.start()
    [proof] = service.fence(one)
    assert proof['left'] == {'acl': False, 'account': False, 'sessions': [], 'registration': False}
    assert proof['cut']['registration']
    with pytest.raises(LoginRefused):
        service.login(one)
    host.power_off()
    host.boot()
    service.start()
    with service.login(two) as second, service.login(reader) as third:
        second.write(0, b'3' * BLOCK)
        with pytest.raises(IoFailed, match='RESERVATION CONFLICT'):
            third.write(0, b'4' * BLOCK)
    with pytest.raises(LoginRefused):
        service.login(one)
    for attachment in (two, reader):
        service.detach(attachment)
    service.delete_volume(volume_id)
    assert host.check('ls /sys/kernel/config/target/iscsi | grep -c ^iqn || true') == '0'


def test_a_worker_exports_fences_and_restores(host: StorageHost) -> None:
    service = Service(host)
    play_losses(host, service)
    assert host.check(f'ls {storage.DATA}/target/pr {service.volumes}').split() == [
        f'{service.volumes}:',
        f'{storage.DATA}/target/pr:',
    ]
    service.stop()
