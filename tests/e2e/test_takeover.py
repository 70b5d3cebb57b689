# SPDX-License-Identifier: Apache-2.0
"""A cloud with logical volumes moves from a real Cinder while hosts write: there, back, and there again for good.

Cinder's volume service, this service's worker and the target that both have, tgtd or the kernel, are on a storage host
with a volume group; the rest of both, and the hosts, are on this machine, in the network of that one.
"""

import contextlib
import pathlib
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.deployments.programs import HostProgram, Program
from tests.functional.takeover.cinder_service import PROJECT, Endpoint, LvmCinder
from tests.functional.takeover.test_scene import Cloud, Service, check_calm
from tests.initiators.wire import Claim, LoginRefused
from tests.initiators.writer import Writer
from tests.testbed import processes
from tests.testbed.network import Network
from tests.testbed.polling import wait_until
from tests.testbed.remote import SHARE
from tests.testbed.servers import pick_port
from tests.testbed.storage import VOLUME_GROUP, StorageHost

pytestmark = pytest.mark.slow  # an emulated machine

OURS = 'new@lvm'
_PATIENCE = 300.0  # s for a step on an emulated processor
_PAUSE = 0.05  # s between two stamps of one writer
_ROUNDS = 15  # s, in which the worker looks for drift several times
_TARGETS = {'tgtadm': 'tgt', 'lioadm': 'lio'}  # drivers here, by what Cinder calls its own


class LvmService(Service):
    """This service: the API here, the worker on the storage host."""

    mapping = f'old@lvm#lvm={OURS}'

    def __init__(self, folder: pathlib.Path, cinder: LvmCinder) -> None:
        folder.mkdir()
        self.folder = folder
        self.theirs = cinder.folder / 'cinder.conf'
        self.host = cinder.host
        network = self.host.network
        self.wrap = network.wrap  # type: ignore[method-assign]
        port = pick_port()
        common = (
            '[DEFAULT]\nhost = new\nreport_interval = 2\nservice_down_time = 20\nrpc_response_timeout = 90\n'
            f'transport_url = {cinder.transport_url}\nstate_path = {{state}}\n'
            f'[database]\nconnection = {cinder.make_database("multiattach")}\n'
            '[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\namqp_durable_queues = true\n'
            '[reconcile]\ninterval = 5\n'
        )
        self.conf = folder / 'multiattach.conf'
        self.conf.touch(0o600)
        self.conf.write_text(
            common.format(state=f'{folder}/state') + f'[coordination]\nbackend_url = file://{folder}/locks\n'
            f'[api]\nauth_strategy = noauth\nlisten_host = {network.address}\nlisten_port = {port}\n'
        )
        target = _TARGETS[cinder.helper]
        worker = (
            common.format(state='/srv/multiattach') + '[coordination]\nbackend_url = file:///srv/multiattach/locks\n'
            f'[volume]\nenabled_backends = lvm\n'
            f'[lvm]\ndriver = lvm\nvolume_group = {VOLUME_GROUP}\ntarget_driver = {target}\n'
            f'[{target}]\nportal = {self.host.address}:3260\n'
        )
        self.host.put_file(SHARE / 'worker.conf', worker.encode(), 0o600)
        self.api = Program('multiattach-api', self.conf, 'multiattach-api is ready', wrap=network.wrap)
        self.worker = HostProgram(self.host, 'multiattach-volume', 'worker.conf', ' is ready')
        endpoint = Endpoint(
            f'http://{network.address}:{port}/v3', f'admin:{PROJECT}', 60, {'X-Service-Roles': 'service'}
        )
        self.cloud = Cloud(endpoint, network, _PATIENCE)
        (folder / 'url').write_text(cinder.database_url)
        self.manage('db', 'sync')

    def stop(self) -> None:
        if self.worker.process is not None and self.worker.process.is_alive():
            self.worker.request_stop()
            self.worker.await_stop()
        self.api.stop()

    def cinder(self, verb: str, *words: str, status: int = 0) -> str:
        conf = ('--cinder-config', str(self.theirs)) if verb in ('check', 'import') else ()
        return str(super().cinder(verb, *conf, *words, status=status))

    def check_clean(self) -> None:
        """There is no drift: the doctor says so."""
        told = self.manage('doctor', '-f', 'json')
        assert '"left": 0' in told, told


@pytest.fixture(scope='module', params=_TARGETS)
def helper(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='module')
def host(helper: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageHost]:
    with Network() as network:
        made = StorageHost(network, tmp_path_factory.mktemp('storage'), memory=2048, group_mb=24 << 10)
        try:
            made.boot()
            made.make_group()
            if helper == 'tgtadm':
                made.check('mkdir -p /run/tgtd')
                made.spawn(f'tgtd -f --iscsi portal={made.address}:3260', 'tgtd')
            else:
                made.check('mkdir -p /etc/target')  # as the package of rtslib has it
            yield made
        finally:
            made.stop()


def test_a_cloud_on_lvm_moves(host: StorageHost, helper: str, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / 'cinder'
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        cinder = stack.enter_context(LvmCinder(folder, host, helper))
        try:
            Scene(stack, cinder, tmp_path).play()
        except BaseException:
            for log in sorted([*tmp_path.glob('*/*.log'), *host.share.glob('*.log')]):
                print(f'== {log}\n{processes.tail(log, 3000)}')
            print(host.run(f'tail -n 60 {cinder.there}/cinder.log')[1])
            raise


class Scene:
    """What is played: an operator, both services, and hosts that write."""

    def __init__(self, stack: contextlib.ExitStack, cinder: LvmCinder, folder: pathlib.Path) -> None:
        self.stack = stack
        self.cinder = cinder
        self.host = cinder.host
        self.network = cinder.host.network
        self.old = Cloud(cinder.endpoint, self.network, _PATIENCE)
        self.service = LvmService(folder / 'service', cinder)
        stack.callback(self.service.stop)
        self.new = self.service.cloud
        self.writers: dict[str, Writer] = {}
        self.held: dict[str, tuple[str, Claim]] = {}

    # -- hosts -----------------------------------------------------------------------------------

    def attach(self, cloud: Cloud, volume: str, name: str) -> None:
        """Attach a volume at a host, which writes from then on; those of one volume write beside each other."""
        self.held[name] = cloud.attach(volume, name)
        writer = Writer(self.held[name][1], first=int(name[1:]) * 256, depth=4, pause=_PAUSE)
        with self.network.inside():  # its thread stays there
            writer.start()
        self.writers[name] = writer
        self.stack.callback(writer.stop)

    def end(self, name: str) -> Writer:
        """End what a host writes, and see that all of its stamps are there."""
        writer = self.writers.pop(name).stop()
        with self.network.inside():
            assert writer.verify() == []
        return writer

    def detach(self, cloud: Cloud, name: str) -> None:
        attachment, claim = self.held.pop(name)
        cloud.detach(attachment)
        with self.network.inside(), pytest.raises(LoginRefused):
            Writer(claim, comes_back=False).start()

    def check_calm(self) -> None:
        check_calm(self.writers.values())

    def measure(self, name: str) -> int:
        """Return the size of a logical volume in GiB, 0 if there is none."""
        shown = self.host.run(f'lvs --noheadings --nosuffix --units g -o lv_size {VOLUME_GROUP}/{name} 2>/dev/null')[1]
        return int(float(shown)) if shown.strip() else 0

    # -- the scene -------------------------------------------------------------------------------

    def play(self) -> None:
        self.prepare()
        self.go_and_come_back()
        self.cinder.halt()
        self.service.cinder('import', '--force')
        self.service.start()
        self.service.check_clean()
        self.check_calm()
        self.use_shared()
        self.use_renamed()
        self.use_idle()
        self.finish()
        print('longest pauses', {name: round(one.longest_pause, 3) for name, one in self.writers.items()})
        for name in list(self.writers):
            self.end(name)

    def prepare(self) -> None:
        """Cinder has volumes in use, one of them migrated, and others."""
        old = self.old
        old.make_type('shared')
        self.shared, self.idle, self.doomed, self.renamed = (old.make_volume('shared') for _ in range(4))
        self.name = str(uuid.uuid4())
        self.cinder.name_storage(self.renamed, self.name)
        self.attach(old, self.idle, 'h8')
        self.writers['h8'].await_more(200)
        self.before = self.end('h8')
        old.detach(self.held.pop('h8')[0])
        old.wait(self.idle, 'available')
        self.snapshot = old.make_snapshot(self.idle)
        for name, volume in (('h1', self.shared), ('h2', self.shared), ('h3', self.renamed), ('h4', self.renamed)):
            self.attach(old, volume, name)
        assert self.held['h3'][1].target.endswith(f':volume-{self.name}')

    def go_and_come_back(self) -> None:
        service, old, new = self.service, self.old, self.new
        service.start()  # beside Cinder: it touches nothing
        told = service.cinder('check')
        assert 'cannot be imported' not in told, told
        assert 'migrated 1 volumes in use' in told
        assert 'Cinder runs' in service.cinder('import', status=1)
        time.sleep(_ROUNDS)
        self.check_calm()
        self.cinder.halt()
        service.stop()
        service.cinder('import', '--force')
        service.start()
        assert new.show(self.renamed)['os-vol-mig-status-attr:name_id'] == self.name
        assert new.show(self.shared)['status'] == 'in-use'
        service.check_clean()
        self.check_calm()
        # -- back
        assert 'stop multiattach-volume there first' in service.cinder('undo', status=1)
        service.stop()
        service.wait_down()
        service.cinder('undo')
        self.cinder.resume()
        for volume in (self.shared, self.renamed):
            self.attach(old, volume, 'h5')
            self.writers['h5'].await_more(20)
            self.end('h5')
            old.detach(self.held.pop('h5')[0])
        self.check_calm()

    def use_shared(self) -> None:
        """Another host comes, one goes; a snapshot is taken while they write."""
        new = self.new
        self.attach(new, self.shared, 'h5')
        self.check_calm()
        assert self.held['h5'][1].user != self.held['h1'][1].user
        self.end('h2')
        self.detach(new, 'h2')
        self.check_calm()
        snapshot = new.make_snapshot(self.shared, force=True)
        self.check_calm()
        new.delete(f'/snapshots/{snapshot}')
        self.check_calm()
        self.service.check_clean()

    def use_renamed(self) -> None:
        """What Cinder migrated keeps the name of its storage through all of it."""
        new, name = self.new, f'volume-{self.name}'
        self.attach(new, self.renamed, 'h6')
        assert self.held['h6'][1].target.endswith(f':{name}')
        self.end('h3')
        self.detach(new, 'h3')
        self.check_calm()
        new.act(self.renamed, **{'os-extend': {'new_size': 2}})  # a tgtd ends sessions for that, and they come back
        new.wait(self.renamed, 'in-use')
        assert self.measure(name) == 2
        for host in ('h4', 'h6'):
            self.writers[host].await_more(50)
            self.end(host)
            self.detach(new, host)
        new.wait(self.renamed, 'available')
        new.make_type('other')
        new.act(self.renamed, **{'os-retype': {'new_type': 'other', 'migration_policy': 'never'}})
        wait_until(lambda: new.show(self.renamed)['volume_type'] == 'other', 60, 'the retype')
        new.delete(f'/volumes/{self.renamed}')
        assert self.measure(name) == 0
        self.service.check_clean()

    def use_idle(self) -> None:
        """What Cinder's snapshot keeps is in a volume that is made of it."""
        new = self.new
        made = new.make_volume('shared', snapshot_id=self.snapshot)
        self.held['h8'] = new.attach(made, 'h8')
        self.before.claim = self.held['h8'][1]
        with self.network.inside():
            assert self.before.verify() == []
        self.detach(new, 'h8')
        new.delete(f'/snapshots/{self.snapshot}')
        new.act(self.idle, **{'os-extend': {'new_size': 2}})
        new.wait(self.idle, 'available')
        assert self.measure(f'volume-{self.idle}') == 2
        for volume in (self.doomed, made):
            new.delete(f'/volumes/{volume}')
            assert self.measure(f'volume-{volume}') == 0
        self.service.check_clean()

    def finish(self) -> None:
        """The last step, while hosts write, and an extension of what they have."""
        assert 'no way back' in self.service.cinder('finish')
        self.service.manage('doctor', '--fix')
        self.service.check_clean()
        self.check_calm()
        self.new.act(self.shared, **{'os-extend': {'new_size': 2}})
        self.new.wait(self.shared, 'in-use')
        for writer in self.writers.values():
            writer.await_more(50)
        self.service.check_clean()
