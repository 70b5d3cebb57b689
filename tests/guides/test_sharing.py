# SPDX-License-Identifier: Apache-2.0
"""Two servers on two hosts share a file system, and one of them is fenced at the storage, as the page says."""

import contextlib
import pathlib
import subprocess
from collections.abc import Callable, Iterator

import libvirt
import pytest

from multiattach.domain.explanations import SHARED_WARNING
from tests.deployments import file_system
from tests.deployments.programs import BIN, make_environment
from tests.deployments.storage_machines import TYPE
from tests.guides.sharing import Reader, find_places, read_steps
from tests.guides.text import Block
from tests.testbed.errors import TestbedError
from tests.testbed.guest import Guest
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.tgtd import Tgtd
from tests.testbed.vm import ComputeHost

CLUSTER = ('The cluster', 'The file system')
EXT4, FENCE, END = 'One more server, and ext4', 'Fence a server at the storage', 'The end'
PACEMAKER = 'Have Pacemaker fence'
LAST = (1 << 18) - 1  # of the blocks of a GiB
TARGET = 'iqn.2010-10.org.openstack:by-hand'
_LUN = """\
<disk type='block' device='lun'><driver name='qemu' type='raw' cache='none' io='native'/>
<source dev='{device}'><reservations managed='yes'/></source><target dev='sda' bus='scsi'/><shareable/></disk>"""


def test_each_block_is_typed_somewhere() -> None:
    steps = read_steps('What the servers need', 'The volume', *CLUSTER, EXT4, FENCE, PACEMAKER, END)
    assert len(steps) > 20
    for block, _ in steps:
        is_client = 'openstack' in block.text
        assert (find_places(block) == ['']) == is_client, block
    told = [line for _, shown in steps for line in shown]
    assert sum(SHARED_WARNING.startswith(line) for line in told) == 2


def follow_volume(reader: Reader) -> None:
    """Follow the section on the volume, and wait where the page waits."""
    make, *rest = read_steps('The volume')
    reader.type(*make)
    look = Block('', 'shell', 'openstack volume show shared -f value -c status\n', '', '')
    wait_until(lambda: reader.type(look) == ['available\n'], 120, 'the volume')
    for step in rest:
        reader.type(*step)


def follow_fence(reader: Reader, db: Guest, check: Callable[[], None] | None = None) -> None:
    """Follow the section on fences, and cut a server off where the page does.

    :param check: is run when its writes are refused.
    """
    for step in read_steps(FENCE):
        if 'preempt' in step[0].text:
            db.set_link(up=False)
        if '/mnt/shared/after' in step[0].text:
            # It writes no heartbeat, and restarts: its last act.
            wait_until(lambda: not db.domain.isActive(), 180, 'the end of db', 1)
            assert 'fencing this system by restarting' in db.read_log()
        reader.type(*step)
        if 'of=$DISK' in step[0].text and check:
            check()


def make_run(clouds: pathlib.Path, wrap: Callable[[list[str]], list[str]] = list) -> Callable[[str], tuple[int, str]]:
    """Make what runs scripts where the client is.

    :param clouds: its clouds.yaml.
    :param wrap: makes a command of another network namespace of a command.
    """

    def run(script: str) -> tuple[int, str]:
        env = make_environment(OS_CLIENT_CONFIG_FILE=str(clouds))
        env['PATH'] = f'{BIN}:{env["PATH"]}'
        argv = wrap(['bash', '-c', script])
        done = subprocess.run(
            argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.slow
def test_servers_share_a_file_system(tmp_path: pathlib.Path) -> None:
    with file_system.run_alone(tmp_path / 'state') as (service, servers):
        reader = Reader(servers, make_run(service.state / 'clouds.yaml'))
        reader.follow('What the servers need')
        follow_volume(reader)
        reader.follow(*CLUSTER, EXT4)
        # What ext4's program was kept from is whole.
        assert servers['db'].run('ls /mnt/shared')[1].split() == ['from-db', 'from-web', 'lost+found']
        reader.follow(END)
        service.wait(lambda: service.ask('GET', '/v3/volumes')[1]['volumes'] == [], 120)


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ComputeHost]]:
    """Two compute hosts with their libvirtd, logged in to one LUN of a tgtd."""
    folder = tmp_path_factory.mktemp('fence')
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network())
        tgtd = stack.enter_context(Tgtd(folder / 'tgtd', network=network))
        made = [ComputeHost(network, folder / f'compute{index}', index) for index in (1, 2)]
        for host in made:
            stack.callback(host.stop)
            host.start()
        image = folder / 'volume'
        with image.open('wb') as file:
            file.truncate(1 << 30)
        tgtd.export(1, TARGET, image, [host.initiator for host in made])
        for host in made:
            host.wait_ready()
            host.start_libvirtd()
            words = f'iscsiadm --mode node --targetname {TARGET} --portal {tgtd.portal}'
            host.check(f'{words} --op new && {words} --login && udevadm settle && test -b /dev/sda')
        yield made


@pytest.mark.slow
def test_servers_on_two_hosts_share_a_file_system_until_one_is_fenced(hosts: list[ComputeHost]) -> None:
    """By hand: the service offers tgt for no volume with reservations, as it forgets them."""
    web = file_system.start_server(hosts[0], hosts[1], 'web')
    db = file_system.start_server(hosts[1], hosts[0], 'db')
    servers = {'web': web, 'db': db}
    reader = Reader(servers, lambda script: (0, ''))
    # tgt has no PREEMPT AND ABORT.
    reader.replaced = {'/dev/vdb': '/dev/sda', '--preempt-abort': '--preempt'}
    for guest in servers.values():
        guest.wait_ready()
        guest.domain.attachDeviceFlags(_LUN.format(device='/dev/sda'), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        wait_until(lambda guest=guest: guest.run('test -b /dev/sda')[0] == 0, 60, f'disk of {guest.name}')
    (find,) = [step for step in read_steps('The volume') if 'export DISK' in step[0].text]
    reader.type(*find)
    reader.follow('What the servers need', *CLUSTER)
    follow_fence(reader, db)
    reader.follow(END, leave_out=['db', ''])


@pytest.fixture(scope='module')
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[file_system.Deployment]:
    with file_system.Deployment(tmp_path_factory.mktemp('lio')).run() as whole:
        yield whole


def make_reader(cloud: file_system.Deployment) -> Reader:
    return Reader(cloud.servers, make_run(cloud.folder / 'clouds.yaml', cloud.network.wrap))


def check_refused(cloud: file_system.Deployment, volume_id: str) -> None:
    """See that what ``db`` writes is refused, and is not there where the volume is."""
    with pytest.raises(TestbedError, match='Invalid exchange'):
        cloud.far.write_block('/dev/sda', LAST, b'cut off')
    assert cloud.read_block(volume_id, LAST) != 'cut off'


@pytest.mark.slow
def test_servers_of_the_service_share_until_one_is_fenced(cloud: file_system.Deployment) -> None:
    """All of the page, on a volume with reservations: ``web`` is an initiator by QEMU, ``db`` by its host's kernel."""
    reader, spec = make_reader(cloud), '--property multiattach="<is> True"'
    reader.replaced = {'/dev/vdb': '/dev/sda', spec: f'{spec} --property multiattach:reservations="<is> True"'}
    reader.follow('What the servers need')
    follow_volume(reader)
    reader.follow(*CLUSTER, EXT4)
    ((volume_id,),) = cloud.query('SELECT id FROM volumes WHERE deleted_at IS NULL')
    follow_fence(reader, cloud.far, lambda: check_refused(cloud, volume_id))
    told = cloud.read_reservations(volume_id)
    assert [one['server_id'] for one in told['registrations']] == [cloud.one.domain.UUIDString()]
    reader.follow(END, leave_out=['db'])
    wait_until(lambda: cloud.ask('GET', '/v3/volumes')['volumes'] == [], 120, 'the end of the volume', 0.2)
    cloud.check_nothing_left()


@pytest.mark.slow
def test_the_agent_of_pacemaker_fences(cloud: file_system.Deployment) -> None:
    cloud.make_type('pacemaker', TYPE)
    volume_id = cloud.make_volume('pacemaker')
    for guest in (cloud.one, cloud.far):
        guest.start()  # the one that was fenced has switched itself off
        guest.wait_ready()
        assert cloud.attach(guest, volume_id) == '/dev/sda'
    cloud.far.write_block('/dev/sda', LAST, b'before')
    assert cloud.read_block(volume_id, LAST) == 'before'
    reader = make_reader(cloud)
    reader.replaced = {'/dev/vdb': '/dev/sda'}
    (find,) = [step for step in read_steps('The volume') if 'export DISK' in step[0].text]
    reader.type(*find)
    for block, shown in read_steps(PACEMAKER):
        reader.type(block, shown)
        if shown == ('Invalid exchange',):
            check_refused(cloud, volume_id)
    cloud.far.write_block('/dev/sda', LAST, b'after')
    assert cloud.read_block(volume_id, LAST) == 'after'
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume_id)
    cloud.delete_volume(volume_id)
    cloud.check_nothing_left()
