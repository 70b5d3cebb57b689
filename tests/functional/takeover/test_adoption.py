# SPDX-License-Identifier: Apache-2.0
"""Targets that Cinder made, with hosts logged in, in the hands of this service: of tgt, or of the kernel."""

import uuid

import pytest
import sqlalchemy as sa

from multiattach.coordination import connect, disconnect
from multiattach.db import models
from multiattach.db.transitions import Actor
from multiattach.domain.drift import Action, Drift
from multiattach.domain.findings import DriftRules
from multiattach.takeover import source
from multiattach.takeover.imports import Imports
from multiattach.volume.fencing import Fencer
from multiattach.volume.locks import VolumeLocks
from tests.deployments import embedded
from tests.deployments.targets import IS_KERNEL
from tests.functional.drivers.targets.tgt.initiator import IoFailed, LoginRefused, Session
from tests.functional.reconcile.conftest import hands, make_bench, tgtd  # noqa: F401 - fixtures
from tests.functional.takeover import lio_targets, tgt_targets
from tests.functional.takeover.cinder_rows import CinderRows, new_id

pytestmark = pytest.mark.every_target
SECRET = 'CinderSecret0123'
SIZE = 16 * 1024 * 1024


def name_account(volume_id):
    """Cinder makes up one for each volume."""
    return f'u{volume_id[:8]}', SECRET


class TgtTargets:
    """Those of tgt: they let in whoever has the volume's account."""

    lun = 1

    def __init__(self, bench, folder):
        self._port = bench.tgtd.daemon.control_port
        self._folder = folder
        self._files = {}

    def make(self, ident, device):
        self._files[ident] = tgt_targets.make_target(self._port, self._folder, ident, device, name_account(ident))

    def admit(self, ident, initiator): ...

    def restart(self, ident, remove):
        remove()
        tgt_targets.restore(self._port, self._files[ident])


class LioTargets:
    """Those of the kernel: they let in who was named."""

    lun = 0

    def __init__(self, bench, folder):
        self._portal = bench.hands.portal
        self._file = folder / 'saveconfig.json'

    def make(self, ident, device):
        lio_targets.make_target(self._portal, ident, device, name_account(ident))

    def admit(self, ident, initiator):
        lio_targets.admit(ident, name_account(ident), initiator, file=self._file)  # as Cinder does each time

    def restart(self, ident, remove):
        remove()
        lio_targets.restore(self._file)


class Cloud:
    """A volume that Cinder had, shared by two hosts that are logged in, and the service that has it now."""

    def __init__(self, bench, folder):
        self.bench = bench
        self.deployed = bench.deployed
        self.folder = folder
        self.theirs = CinderRows(f'sqlite:///{folder}/cinder.sqlite', make=True)
        self.kind = self.theirs.add_type('shared', {'multiattach': '<is> True'})
        self.imports = Imports(self.deployed.db, 60, Actor('manage'))
        self.sessions = []
        self.targets = (LioTargets if IS_KERNEL else TgtTargets)(bench, folder)

    def make_volume(self):
        ident = self.theirs.add_volume(self.kind)
        device = self.folder / 'volumes' / f'volume-{ident}'
        device.parent.mkdir(exist_ok=True)
        with device.open('wb') as file:
            file.truncate(SIZE)
        self.targets.make(ident, device)
        return ident

    def attach(self, volume_id, host):
        """As Cinder and the host did; return the attachment and the session."""
        attachment = self.theirs.attach(volume_id, host, name_account(volume_id))
        known = {'target_portal': self.bench.hands.portal, 'target_lun': self.targets.lun}
        self.theirs.set_info(attachment, self.theirs.read_info(attachment) | known)
        self.targets.admit(volume_id, f'iqn.1994-05.com.example:{host}')
        return attachment, self.login(volume_id, host)

    def login(self, volume_id, host, *, comes_back=False):
        session = Session(
            self.bench.hands.portal,
            f'iqn.2010-10.org.openstack:volume-{volume_id}',
            f'iqn.1994-05.com.example:{host}',
            *name_account(volume_id),
            comes_back=comes_back,
            lun=self.targets.lun,
        )
        self.sessions.append(session)
        return session

    def bring(self):
        found = self.imports.run(source.read(self.theirs.url), [f'old@lvm#LVM={embedded.BACKEND}'], None, force=True)
        assert found.obstacles == []

    def restart(self):
        """As a worker does when it starts."""
        self.deployed.exporter.forget()
        self.deployed.exporter.watch()

    def shown(self, volume_id):
        return self.deployed.target.show(volume_id)

    def look(self):
        return [(str(one.kind), one.about) for one in self.bench.look()]

    def fence(self, attachment):
        return self.deployed.engine.fences.fence_attachment(self.deployed.ctx, attachment)[0].proof

    def delete(self, attachment):
        self.deployed.engine.attachments.delete(self.deployed.ctx, attachment)

    def close(self):
        for session in self.sessions:
            session._destroy() if session._context else None
        self.theirs.close()


@pytest.fixture
def cloud(make_bench, tmp_path):  # noqa: F811
    made = Cloud(make_bench(rules=DriftRules()), tmp_path)
    yield made
    made.close()


@pytest.fixture
def shared(cloud):
    """A volume with two hosts; each has written once."""
    volume = cloud.make_volume()
    held = {host: cloud.attach(volume, host) for host in ('h1', 'h2')}
    for number, (_attachment, session) in enumerate(held.values()):
        session.write(number, bytes([number + 1]) * 512)
    cloud.bring()
    return volume, held


def check_alive(held):
    """Both hosts write and read in the sessions that they had from the beginning."""
    for number, (_attachment, session) in enumerate(held.values()):
        session.write(number + 8, bytes([number + 7]) * 512)
        assert session.read(number + 8) == bytes([number + 7]) * 512
        assert session.read(number) == bytes([number + 1]) * 512


def test_a_start_changes_nothing(cloud, shared):
    """The worker starts, looks for drift, and has the targets as Cinder made them."""
    volume, held = shared
    before = cloud.shown(volume)
    assert before.is_foreign
    cloud.restart()
    assert cloud.look() == []
    assert cloud.bench.look(fix=True) == []
    assert cloud.shown(volume) == before
    check_alive(held)


def test_a_restart_brings_the_targets_back_by_cinders_files(cloud, shared):
    volume, _held = shared
    cloud.restart()
    cloud.targets.restart(volume, lambda: cloud.deployed.target.remove_export(volume))
    cloud.restart()
    assert cloud.shown(volume).is_foreign
    cloud.login(volume, 'h1').close()


def test_a_restart_by_cinders_files_lets_in_nobody_who_was_cut_off(cloud, shared):
    volume, held = shared
    cloud.restart()
    cloud.fence(held['h1'][0])
    cloud.targets.restart(volume, lambda: cloud.deployed.target.remove_export(volume))
    cloud.login(volume, 'h1').close()  # Cinder's files know of no fence
    cloud.restart()
    for _ in range(2):
        cloud.bench.look(fix=True)
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'h1')
    cloud.login(volume, 'h2').close()
    assert cloud.look() == []


def test_without_cinders_files_the_worker_makes_them_again(cloud, shared):
    volume, _held = shared
    cloud.deployed.target.remove_export(volume)
    cloud.restart()
    state = cloud.shown(volume)
    assert (state.is_foreign, {*state.accounts}) == (False, {name_account(volume)[0]})
    assert len(state.initiators) == 2
    for host in ('h1', 'h2'):  # with what Nova has stored
        cloud.login(volume, host).close()
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'h3')
    assert cloud.look() == []


def test_another_server_comes_and_goes(cloud, shared):
    volume, held = shared
    row = cloud.bench.attach(volume, 'h3')
    assert row.connection_info['auth_username'] != name_account(volume)[0]
    with cloud.bench.login(row) as third:
        third.write(3, b'3' * 512)
        check_alive(held)
    state = cloud.shown(volume)
    assert (state.addresses, len(state.initiators), len({*state.accounts})) == ((), 3, 2)
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'stranger')
    assert cloud.look() == []
    cloud.delete(row.id)
    check_alive(held)
    assert {*cloud.shown(volume).accounts} == {name_account(volume)[0]}
    assert cloud.look() == []


def test_another_server_of_the_same_host_has_the_hosts_session(cloud, shared):
    volume, held = shared
    row = cloud.bench.attach(volume, 'h1')
    assert row.connection_info['auth_username'] == name_account(volume)[0]
    assert cloud.look() == []
    cloud.delete(held['h1'][0])
    check_alive(held)
    cloud.delete(row.id)
    assert cloud.shown(volume).initiators == ('iqn.1994-05.com.example:h2',)
    assert cloud.look() == []


def test_a_detach_of_one_sharer_cuts_nobody_else(cloud, shared):
    volume, held = shared
    held['h1'][1].close()
    cloud.delete(held['h1'][0])
    _attachment, second = held['h2']
    second.write(9, b'x' * 512)
    assert second.read(9) == b'x' * 512
    state = cloud.shown(volume)
    assert (state.addresses, state.accounts) == ((), (name_account(volume)[0],))
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'h1')
    cloud.login(volume, 'h2').close()  # as after a short interruption of its network
    assert cloud.look() == []
    second.close()
    cloud.delete(held['h2'][0])
    assert cloud.shown(volume) is None
    assert cloud.look() == []


def test_a_fence_of_one_sharer_says_what_it_is_not(cloud, shared):
    """Others have its account: under their names it could be back, and the proof says so."""
    volume, held = shared
    held['h2'][1]._destroy()
    second = cloud.login(volume, 'h2', comes_back=True)
    proof = cloud.fence(held['h1'][0])
    assert (proof['scope'], proof['shared_account']) == ('initiator', True)
    assert proof['cut']['sessions']
    assert not any(proof['left'].values())
    with pytest.raises(IoFailed):
        held['h1'][1].write(0, b'y' * 512)
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'h1')
    second.write(9, b'x' * 512)
    assert cloud.shown(volume).accounts == (name_account(volume)[0],)
    assert cloud.look() == []
    last = cloud.fence(held['h2'][0])
    assert (last['scope'], 'shared_account' in last) == ('target', False)


def test_a_worker_that_slept_leaves_the_account_to_the_other(cloud, shared, tmp_path, monkeypatch):
    """Its lock ran out before it gave the target what it lacks; who was fenced meanwhile had the account of both."""
    volume, held = shared
    deployed, backend = cloud.deployed, cloud.deployed.exporter._backend
    coordinator = connect(f'file://{tmp_path}', 'other')
    other = Fencer(deployed.fencer._plans, deployed.target, VolumeLocks(coordinator), deployed.leases)
    path = backend.path

    def sleep(name):
        monkeypatch.undo()
        deployed.engine.fences._begin(deployed.ctx, held['h1'][0], force=False)
        other.fence(volume, held['h1'][0])
        return path(name)

    monkeypatch.setattr(backend, 'path', sleep)
    deployed.exporter.supply(volume)
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'h1')
    cloud.login(volume, 'h2').close()
    assert cloud.shown(volume).accounts == (name_account(volume)[0],)
    disconnect(coordinator)


def test_a_volume_that_nobody_uses(cloud):
    """What Cinder left of its target stays until somebody attaches it: then it is made anew."""
    volume = cloud.make_volume()
    cloud.bring()
    cloud.restart()
    assert cloud.look() == []
    row = cloud.bench.attach(volume, 'h1')
    state = cloud.shown(volume)
    assert state.luns[0].scsi_id == volume.replace('-', '')
    assert state.accounts == (row.connection_info['auth_username'],)
    cloud.bench.login(row).close()
    with pytest.raises(LoginRefused):
        cloud.login(volume, 'h1')
    assert cloud.look() == []


def test_the_last_step_restricts_every_target(cloud, shared):
    volume, held = shared
    idle = cloud.make_volume()
    cloud.bring()
    cloud.restart()
    cloud.imports.finish()
    assert cloud.look() != []
    cloud.bench.look(fix=True)
    state = cloud.shown(volume)
    assert (state.addresses, len(state.initiators), {*state.accounts}) == ((), 2, {name_account(volume)[0]})
    assert cloud.shown(idle) is None
    check_alive(held)
    assert cloud.look() == []


def test_the_way_back_leaves_targets_alone(cloud, shared):
    volume, held = shared
    cloud.restart()
    before = cloud.shown(volume)
    with cloud.deployed.db.writer() as session:
        session.execute(sa.update(models.Service).values(heartbeat_at=models.now().replace(year=2020)))
    cloud.imports.undo()
    assert cloud.shown(volume) == before
    check_alive(held)


def test_targets_of_another_service_are_nobodys_left_overs(make_bench, tmp_path):  # noqa: F811
    """A worker that starts beside Cinder before anything is imported, and would take targets of no volume away."""
    cloud = Cloud(make_bench(rules=DriftRules({Drift.NO_VOLUME: Action.REPAIR})), tmp_path)
    mine = cloud.deployed.make_volume('multi')
    cloud.bench.attach(mine, 'h9')
    volume = cloud.make_volume()
    _attachment, session = cloud.attach(volume, 'h1')
    for _ in range(3):
        # Its storage is not recorded either, and stays.
        (found, stored) = cloud.bench.look(fix=True)
        assert (stored.kind, stored.outcome) == (Drift.STRAY_STORAGE, 'reported')
    assert (found.kind, found.outcome) == ('no_volume', 'waiting')
    assert 'another one, such as Cinder' in found.error
    session.write(0, b'z' * 512)
    assert session.read(0) == b'z' * 512
    cloud.close()


def test_a_volume_that_was_left_in_cinder_keeps_its_target(cloud, shared):
    _volume, held = shared
    left = str(uuid.uuid4())
    cloud.theirs.add_volume(cloud.kind, left, encryption_key_id=new_id())
    device = cloud.folder / 'volumes' / f'volume-{left}'
    device.write_bytes(bytes(SIZE))
    cloud.targets.make(left, device)
    cloud.targets.admit(left, 'iqn.1994-05.com.example:h1')
    session = cloud.login(left, 'h1')
    assert [(one.kind, one.outcome) for one in cloud.bench.look(fix=True)] == [(Drift.STRAY_STORAGE, 'reported')]
    session.write(0, b'z' * 512)
    check_alive(held)


def test_an_extension_reaches_the_hosts(cloud, shared):
    volume, held = shared
    for _attachment, session in held.values():
        session._destroy()
    first = cloud.login(volume, 'h1', comes_back=True)
    second = cloud.login(volume, 'h2', comes_back=True)
    cloud.deployed.engine.actions.extend(cloud.deployed.ctx, volume, 2, in_use_allowed=True)
    cloud.deployed.wait(lambda: cloud.deployed.status(volume) == 'in-use')
    for session in (first, second):
        session.write(0, b'e' * 512)
        assert session.capacity() == 2 * 1024**3
    assert cloud.look() == []
