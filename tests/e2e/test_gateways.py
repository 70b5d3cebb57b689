# SPDX-License-Identifier: Apache-2.0
"""Guests on two hosts, one with several paths and one with one, write through two gateways, of which one dies."""

import contextlib
import pathlib
import signal
import time
from collections.abc import Iterator

import pytest

from multiattach.domain.gateways import order_portals
from multiattach.drivers.ceph.addresses import strip_kind
from multiattach.drivers.ceph.pool import MONITORS
from tests.deployments import two_hosts
from tests.deployments.programs import HostProgram, Program
from tests.e2e import facts
from tests.e2e.test_fences import FAR, NEAR, SPAN
from tests.testbed.ceph import Ceph
from tests.testbed.guest import BLOCK_SIZE
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE
from tests.testbed.tgtd import Tgtd
from tests.testbed.vm import ComputeHost

pytestmark = pytest.mark.slow  # a third machine is emulated, and boots twice

BACKEND = POOL = 'gates'
TIMEOUT = 6  # s, gateway_timeout
_MULTIPATH = """\
defaults {
    find_multipaths no
    user_friendly_names no
    path_grouping_policy multibus
    no_path_retry queue
    polling_interval 2
}
blacklist {
    devnode "^vd"
}
"""


class Gates:
    """Two gateways: the left one beside the servers of the test bed, the right one on a machine of its own.

    The left one has a tgtd that outlives its worker; that of the right one ends with its worker.

    :param host: machine of the right one.
    """

    def __init__(self, cloud: two_hosts.Deployment, ceph: Ceph, host: ComputeHost) -> None:
        self.ceph = ceph
        self.host = host
        self._cloud = cloud
        self.tgtd = Tgtd(cloud.folder / 'left-tgtd', port=3270, network=cloud.network)
        self.left = Program(
            'multiattach-volume',
            self._configure_left(cloud.folder / 'left-gate.conf'),
            ' is ready',
            common=cloud.config,
            wrap=cloud.network.wrap,
        )
        self.right = HostProgram(host, 'multiattach-volume', 'gate.conf', ' is ready')

    @property
    def portal(self) -> str:
        return f'{self.host.address}:3260'

    @property
    def portals(self) -> list[str]:
        return [self.tgtd.portal, self.portal]

    def _make_user(self, name: str) -> pathlib.Path:
        conf = self.ceph.make_user(name, f'profile rbd pool={POOL}')
        self.ceph.ask('auth caps', entity=f'client.{name}', caps=['mon', MONITORS, 'osd', f'profile rbd pool={POOL}'])
        return conf

    def _describe(self, name: str, conf: pathlib.Path | str) -> str:
        return (
            f'[DEFAULT]\nhost = {name}\n'
            f'[volume]\ncluster = gates\nenabled_backends = {BACKEND}\ngateway_timeout = {TIMEOUT}\n'
            f'[{BACKEND}]\ndriver = rbd\nrbd_pool = {POOL}\nrbd_user = {name}\nrbd_ceph_conf = {conf}\n'
        )

    def _configure_left(self, config: pathlib.Path) -> pathlib.Path:
        text = self._describe('left-gate', self._make_user('left-gate'))
        config.write_text(
            f'{text}[tgt]\nvolumes_dir =\ncontrol_port = {self.tgtd.control_port}\nportal = {self.tgtd.portal}\n'
        )
        return config

    def start(self) -> None:
        """Start both and wait for them."""
        self.left.start()
        self.start_right()
        self.left.wait_ready()
        self.right.wait_ready()

    def start_right(self) -> None:
        """Start the right one, on a machine that has just been booted."""
        name = 'right-gate'
        if not (self.host.share / 'gate.conf').exists():
            conf = self._make_user(name)
            keyring = conf.with_suffix('.keyring').read_text()
            text = conf.read_text().replace(str(conf.with_suffix('.keyring')), str(SHARE / 'gate.keyring'))
            self.host.put_file(SHARE / 'gate.keyring', keyring.encode(), 0o600)
            self.host.put_file(SHARE / 'ceph.conf', text.encode(), 0o600)
            common = (
                self._cloud.config.read_text().partition('[api]')[0].replace(f'{self._cloud.folder}/state', '/run/ma')
            )
            settings = (
                f'{common}{self._describe(name, SHARE / "ceph.conf")}[tgt]\nprivate = yes\nportal = {self.portal}\n'
            )
            self.host.put_file(SHARE / 'gate.conf', settings.encode(), 0o600)
        self.host.check('mkdir -p /run/tgtd')
        self.right.start()

    def state(self) -> str:
        """Return the state of the right one."""
        ((state,),) = self._cloud.query('SELECT state FROM gateways WHERE portal = %s', self.portal)
        return str(state)

    def wait_lost(self) -> None:
        wait_until(lambda: self.state() == 'lost', 120, 'the loss', 0.2)

    def wait_exported(self, volume: str) -> None:
        wait_until(
            lambda: (
                self._cloud.query(
                    "SELECT count(*) FROM gateway_exports WHERE volume_id = %s AND state = 'exported'", volume
                )
                == [(2,)]
            ),
            240,
            'the export at both',
            0.5,
        )

    def check_served(self, volume: str) -> None:
        """See that what has a volume open now, at both, is not what was shut out."""
        with self.ceph.open_image(POOL, f'volume-{volume}') as image:
            watching = {strip_kind(one['addr']) for one in image.watchers_list()}
        assert len(watching) == 2
        assert not watching & {strip_kind(one) for one in self.ceph.ask('osd dump')['blocklist']}

    def read(self, volume: str, block: int, count: int) -> bytes:
        with self.ceph.open_image(POOL, f'volume-{volume}') as image:
            return bytes(image.read(block * BLOCK_SIZE, count * BLOCK_SIZE))


@pytest.fixture(scope='module')
def gates(running: two_hosts.Deployment) -> Iterator[Gates]:
    host = ComputeHost(running.network, running.folder / 'gate', 3, name='gate', memory=1024)
    host.start()
    try:
        with Ceph(running.folder / 'gate-ceph', running.network) as ceph:
            ceph.make_pool(POOL)
            made = Gates(running, ceph, host)
            with made.tgtd:
                host.wait_ready()
                made.start()
                running.make_type(BACKEND, {'multiattach': '<is> True', 'volume_backend_name': BACKEND})
                try:
                    yield made
                finally:
                    print(host.read_log()[-2000:])
                    if made.right.process is not None and host.is_on():
                        print(made.right.process.read_log()[-8000:])
                    ended = made.left.stop()
                assert ended == 0
        # As "service remove" does when they are down: whoever asks all workers would wait for them.
        for table, column in (('services', 'host'), ('gateways', 'name')):
            running.query(f'DELETE FROM {table} WHERE {column} LIKE %s', f'%-gate@{BACKEND}')
    finally:
        host.stop()


@pytest.fixture
def several_paths(cloud: two_hosts.Deployment) -> Iterator[ComputeHost]:
    """The host of guest "one", with multipathd, and an agent that uses it."""
    host, agent = cloud.hosts[0], cloud.agents[0]
    before = (host.share / 'agent.conf').read_bytes()
    host.put_file('/etc/multipath.conf', _MULTIPATH.encode())
    host.check('modprobe -a dm-multipath dm-service-time; multipathd')
    use(agent, before + b'\n[host_agent]\nuse_multipath = yes\nredirect_gateways = no\n')
    yield host
    use(agent, before)
    host.check('multipathd shutdown')


def use(agent: HostProgram, settings: bytes) -> None:
    """Give an agent another configuration."""
    agent.request_stop()
    agent.await_stop()
    agent.host.put_file(SHARE / 'agent.conf', settings, 0o600)
    agent.start()
    agent.wait_ready()


def attach_at(cloud: two_hosts.Deployment, gates: Gates) -> tuple[str, str]:
    """Attach a volume to guest "far", whose host has one path, so that it uses the right gateway.

    :returns: the volume, and its device in the guest.
    """
    host = cloud.hosts[1]
    for _ in range(20):
        volume = cloud.make_volume(BACKEND)
        if order_portals(f'{volume} {host.initiator}', gates.portals)[0] == gates.portal:
            device = cloud.attach(cloud.far, volume)
            if f'{gates.portal},' in host.check('iscsiadm -m session'):
                return volume, device
            cloud.detach(cloud.far, volume)  # an emulated gateway may take longer than an attach waits for it
        cloud.delete_volume(volume)
    raise AssertionError('no volume is reached at the right gateway first')


class Load:
    """A guest on each host that writes to one volume, and how long each had to wait.

    :param guests: the first one's host has several paths.
    """

    def __init__(self, *writers: facts.Writer) -> None:
        self.writers = writers
        self.pauses: dict[str, list[float]] = {}

    def note(self, what: str) -> None:
        """Wait until both have written more, and keep the longest pauses so far."""
        for writer in self.writers:
            writer.wait_progress(180)
        self.pauses[what] = [writer.longest_pause() for writer in self.writers]


@contextlib.contextmanager
def writing(cloud: two_hosts.Deployment, gates: Gates, several_paths: ComputeHost) -> Iterator[tuple[str, Load]]:
    """Have guests of both hosts write in the block; then see that what was acknowledged is there, and nothing late."""
    volume, far = attach_at(cloud, gates)
    one = cloud.attach(cloud.one, volume)
    assert facts.find_disk(cloud.one, volume, live=True) is not None
    assert len(two_hosts.list_sessions(several_paths)) == 2
    assert 'status=active' in several_paths.check(
        'multipathd show paths raw format "%o %t %T"; multipath -ll || true; echo status=active'
    )
    facts.share(cloud.one, one, cloud.far, far, 2000)
    load = Load(facts.Writer(cloud.one, one, NEAR, 'one'), facts.Writer(cloud.far, far, FAR, 'far'))
    with load.writers[0].running(), load.writers[1].running():
        load.note('before')
        try:
            yield volume, load
        finally:
            print('longest pauses so far, s, of "one" (several paths) and "far" (one path):', load.pauses)
    for writer, start, name in zip(load.writers, (NEAR, FAR), ('one', 'far'), strict=True):
        found = set(facts.read_stamps(gates.read(volume, start, SPAN)))
        count = writer.count()
        assert {(name, number) for number in range(max(0, count - SPAN), count)} <= found
        assert max(number for _, number in found) <= count
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)
    assert cloud.query('SELECT * FROM gateway_exports') == []
    cloud.delete_volume(volume)


@contextlib.contextmanager
def without_control_plane(cloud: two_hosts.Deployment, gates: Gates, load: Load) -> Iterator[None]:
    """Have no API and no other worker from the beginning of the block on; after it they are started again.

    Who has another path needs none of them meanwhile.
    """
    programs = [*cloud.apis, *cloud.workers, gates.left]
    for program in programs:
        program.send(signal.SIGKILL)
    yield
    for program in programs:
        program.kill()
    load.writers[0].wait_progress(180)
    for program in programs:
        program.start()
    for program in programs:
        program.wait_ready()


@pytest.mark.parametrize('dies', ['gateway', 'gateway and control plane'])
def test_writes_go_on(cloud: two_hosts.Deployment, gates: Gates, several_paths: ComputeHost, dies: str) -> None:
    with writing(cloud, gates, several_paths) as (volume, load):

        def beside() -> contextlib.AbstractContextManager[None]:
            return contextlib.nullcontext() if dies == 'gateway' else without_control_plane(cloud, gates, load)

        with beside():
            gates.host.check('pkill -9 -x tgtd')
        load.note('tgtd killed')
        gates.wait_exported(volume)
        with beside():
            gates.right.kill()
        gates.wait_lost()
        load.note('worker killed')
        gates.start_right()
        gates.right.wait_ready()
        gates.wait_exported(volume)
        load.note('worker back')
        time.sleep(15)  # paths come back
        with beside():
            gates.host.power_off()
        gates.wait_lost()
        load.note('no power')
        gates.host.start()
        gates.host.wait_ready()
        gates.start_right()
        gates.right.wait_ready()
        gates.wait_exported(volume)
        load.note('power back')
        time.sleep(15)  # paths come back
        gates.check_served(volume)
        load.note('paths back')
    assert gates.state() == 'serving'
