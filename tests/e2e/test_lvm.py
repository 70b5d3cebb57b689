# SPDX-License-Identifier: Apache-2.0
"""The lvm backend, on a volume group of a compute host (this machine may lack device-mapper)."""

import contextlib
import pathlib
import shlex
import sys
import uuid
from collections.abc import Iterator

import pytest

from multiattach.drivers.backends.base import GIB
from tests.deployments import programs, two_hosts
from tests.e2e import facts
from tests.functional.drivers import stores
from tests.testbed.guest import BLOCK_SIZE
from tests.testbed.kernel import find_cache
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.vm import ComputeHost

TOP = pathlib.Path(__file__).parents[2]
STEPS = pathlib.Path(__file__).with_name('lvm_steps.py')

# Each takes minutes: what is deleted is written over, a GiB each.
_FOLDER = 'tests/functional/drivers/backends'
FILES = {
    'volumes': [f'{_FOLDER}/test_{name}.py' for name in ('backends', 'imports')],
    **{name: [f'{_FOLDER}/test_{name}.py'] for name in ('manageable', 'moving', 'snapshots')},
}
REST = 'rest'
PARTS = [*FILES, REST]

pytestmark = pytest.mark.slow  # a volume group inside an emulated machine


@pytest.fixture(scope='module')
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeHost]:
    """A host with a volume group, and nothing else."""
    folder = tmp_path_factory.mktemp('lvm')
    with contextlib.ExitStack() as stack:
        network = Network()
        network.start()
        stack.callback(network.stop)
        host = ComputeHost(network, folder, 1, cache=find_cache(None), memory=1536, disks=(two_hosts.DISK_MB,))
        stack.callback(host.stop)
        host.start()
        host.wait_ready()
        host.check(f'vgcreate --yes {two_hosts.VOLUME_GROUP} /dev/vda')
        yield host


def test_each_step_may_be_repeated(storage: ComputeHost) -> None:
    command = f'{sys.executable} {STEPS} {two_hosts.VOLUME_GROUP} {uuid.uuid4()}'
    variables = ' '.join(shlex.quote(f'{key}={value}') for key, value in programs.ENVIRONMENT.items())
    assert storage.check(f'env {variables} {command}', 600).endswith('all steps done')


@pytest.mark.parametrize('part', PARTS)
def test_what_all_storage_keeps_to(storage: ComputeHost, part: str) -> None:
    """The tests that this machine runs on files and on Ceph, on logical volumes."""
    variables = {**programs.ENVIRONMENT, stores.GROUP_VARIABLE: two_hosts.VOLUME_GROUP}
    words = ['env', *(f'{key}={value}' for key, value in variables.items()), sys.executable, '-m', 'pytest', '-v']
    words += ['-n', '0', '-p', 'no:cacheprovider', '-m', 'every_store']
    words += ['-o', 'console_output_style=times']  # one that ends too late, or never, tells how far it was
    if part == REST:
        words += ['tests/functional/drivers', *(f'--ignore={path}' for paths in FILES.values() for path in paths)]
    else:
        words += FILES[part]
    shown = storage.check(f'cd {TOP} && {shlex.join(words)}', 1500)
    print(shown)
    assert ' passed' in shown.splitlines()[-1]
    assert 'skipped' not in shown


def test_a_volume_is_written_extended_and_deleted(cloud: two_hosts.Deployment) -> None:
    """The worker and its own tgtd are on one host, the initiator and its guest on the other."""
    initiator = cloud.hosts[0]
    cloud.lvm_worker.wait_ready()
    volume = cloud.make_volume('lvm')
    name = f'volume-{volume}'

    def show(columns: str) -> str:
        return cloud.lvm_host.check(
            f'lvs --noheadings --nosuffix --units b -o {columns} {two_hosts.VOLUME_GROUP}'
        ).strip()

    assert show('lv_name,lv_size').split() == [name, str(GIB)]
    device = cloud.attach(cloud.one, volume)
    facts.check_disk(initiator, cloud.one, volume)
    cloud.one.write_block(device, 5, b'on a logical volume')
    cloud.lvm_host.check(
        f'dd if=/dev/{two_hosts.VOLUME_GROUP}/{name} bs=4096 skip=5 count=1 iflag=direct '
        '2>/dev/null | grep -q "on a logical volume"'
    )
    cloud.ask('POST', f'/v3/volumes/{volume}/action', {'os-extend': {'new_size': 2}})
    wait_until(lambda: cloud.show_volume(volume)['size'] == 2, 60, 'the larger volume', 0.2)
    cloud.wait_status(volume, 'in-use')
    assert show('lv_size') == str(2 * GIB)
    # The agent has the initiator look again, and libvirt tell the running guest.
    sectors = f'cat /sys/block/{device.rpartition("/")[2]}/size'
    wait_until(lambda: cloud.one.run(sectors)[1] == str(2 * GIB // 512), 60, 'the size in the guest', 0.2)
    beyond = GIB // BLOCK_SIZE + 7
    cloud.one.write_block(device, beyond, b'beyond the first end')
    assert cloud.one.read_block(device, beyond).startswith(b'beyond the first end')
    assert cloud.one.read_block(device, 5).startswith(b'on a logical volume')
    cloud.detach(cloud.one, volume)
    cloud.delete_volume(volume)
