# SPDX-License-Identifier: Apache-2.0
"""A volume that Cinder migrated while servers had it: its storage and its target are named after another id."""

import contextlib

import pytest
import sqlalchemy as sa

from multiattach import conf as configuration
from multiattach.cmd import parts
from multiattach.coordination import disconnect
from multiattach.db import imports as db_imports, models
from multiattach.db.transitions import Actor
from multiattach.domain import errors
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.backends.file import FileBackend
from multiattach.engine.manageable import Takeover
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from multiattach.takeover import source
from multiattach.takeover.imports import Imports
from tests.deployments import embedded
from tests.functional.drivers.targets.tgt.initiator import IoFailed, LoginRefused, Session
from tests.functional.reconcile.conftest import hands, make_bench, tgtd  # noqa: F401 - fixtures
from tests.functional.takeover import tgt_targets
from tests.functional.takeover.cinder_rows import HOST, IQN, CinderRows, new_id

ACCOUNT = 'migrated', 'CinderSecret0123'
GIB = 1024**3
MARK = b'what Cinder left'


class Cloud:
    """A volume of that kind, in the hands of this service, with the hosts that are logged in since before."""

    def __init__(self, folder, tgtd, hosts):  # noqa: F811
        self.folder = folder
        self.volumes = folder / 'volumes'
        self.volumes.mkdir()
        self.tgtd = tgtd
        self.theirs = CinderRows(f'sqlite:///{folder}/cinder.sqlite', make=True)
        self.name = new_id()
        self.id = self.theirs.add_volume(
            self.theirs.add_type('shared', {'multiattach': '<is> True'}), _name_id=self.name
        )
        self.path = self.volumes / f'volume-{self.name}'
        with self.path.open('wb') as file:
            file.write(MARK)
            file.truncate(GIB)
        # Storage with the volume's own name is somebody else's.
        self.stranger = self.volumes / f'volume-{self.id}'
        self.stranger.write_bytes(b'strange')
        tgt_targets.make_target(tgtd.daemon.control_port, folder / 'cinder-targets', self.name, self.path, ACCOUNT)
        self.held = {host: self._attach(host) for host in hosts}

    def _attach(self, host):
        """As Cinder and the host did."""
        attachment = self.theirs.attach(self.id, host, ACCOUNT)
        info = self.theirs.read_info(attachment)
        told = {'target_portal': self.tgtd.portal, 'target_iqn': f'{IQN}{self.name}'}
        self.theirs.set_info(attachment, info | told)
        return attachment, self.login(host)

    def login(self, host, account=ACCOUNT):
        return Session(self.tgtd.portal, f'{IQN}{self.name}', f'iqn.1994-05.com.example:{host}', *account)

    def bring(self, make_bench):  # noqa: F811
        """Import it while no worker runs, and start one."""
        with embedded.deploy(self.folder, start_worker=False) as deployed:
            found = Imports(deployed.db, 60, Actor('manage')).run(
                source.read(self.theirs.url), [f'{HOST}={embedded.BACKEND}'], None, force=True
            )
            assert found.obstacles == []
        self.bench = make_bench(rules=DriftRules(), others={'other': FileBackend(self.folder / 'other')})
        self.deployed, self.engine, self.ctx = self.bench.deployed, self.bench.deployed.engine, self.bench.deployed.ctx
        return self

    def wait(self, status, ident=None):
        self.deployed.wait(lambda: self.deployed.status(ident or self.id) == status)

    def snapshot(self):
        ident = self.engine.snapshots.create(self.ctx, SnapshotWish(self.id)).id
        self.deployed.wait(lambda: self.engine.snapshots.show(self.ctx, ident).status == 'available')
        return ident

    def read(self, ident, folder='volumes'):
        with (self.folder / folder / f'volume-{ident}').open('rb') as file:
            return file.read(len(MARK))

    def close(self):
        for _attachment, session in self.held.values():
            session._destroy() if session._context else None
        self.theirs.close()


@pytest.fixture
def shared(make_bench, tgtd, tmp_path):  # noqa: F811
    """Two hosts have it."""
    made = Cloud(tmp_path, tgtd, ('h1', 'h2'))
    yield made.bring(make_bench)
    assert made.stranger.read_bytes() == b'strange'
    made.close()


@pytest.fixture
def idle(make_bench, tgtd, tmp_path):  # noqa: F811
    """Nobody has it."""
    made = Cloud(tmp_path, tgtd, ())
    yield made.bring(make_bench)
    assert made.stranger.read_bytes() == b'strange'
    made.close()


def check_alive(cloud):
    """Each host writes and reads in the session that it had from the beginning."""
    for number, (_attachment, session) in enumerate(cloud.held.values()):
        session.write(number + 8, bytes([number + 7]) * 512)
        assert session.read(number + 8) == bytes([number + 7]) * 512


def test_it_is_shown_as_what_it_is(shared):
    view = shared.engine.volumes.show(shared.ctx, shared.id)
    assert (view.status, view.name_id) == ('in-use', shared.name)
    assert shared.deployed.target.list_exports().keys() == {shared.id}
    assert shared.deployed.target.show(shared.id).iqn.endswith(shared.name)
    assert shared.bench.look(fix=True) == []
    check_alive(shared)


def test_hosts_come_and_go(shared):
    row = shared.bench.attach(shared.id, 'h3')
    info = row.connection_info
    assert (info['target_iqn'], info['volume_id'], info['name_id']) == (f'{IQN}{shared.name}', shared.id, shared.name)
    with shared.bench.login(row) as third:
        assert third.read(0)[: len(MARK)] == MARK
        third.write(3, b'3' * 512)
        check_alive(shared)
    assert shared.bench.look() == []
    attachment, session = shared.held.pop('h1')
    session.close()
    shared.engine.attachments.delete(shared.ctx, attachment)
    check_alive(shared)
    with pytest.raises(LoginRefused):
        shared.login('h1')
    attachment, session = shared.held['h2']
    proof = shared.engine.fences.fence_attachment(shared.ctx, attachment)[0].proof
    assert proof['left'] == {'acl': False, 'account': False, 'sessions': []}
    with pytest.raises(IoFailed):
        session.write(0, b'y' * 512)
    shared.engine.attachments.delete(shared.ctx, row.id)
    assert shared.deployed.target.list_exports() == {}
    assert shared.bench.look() == []


def test_it_is_extended_in_use(shared):
    attachment, session = shared.held['h2']
    session._destroy()
    with Session(
        shared.tgtd.portal, f'{IQN}{shared.name}', 'iqn.1994-05.com.example:h2', *ACCOUNT, comes_back=True
    ) as back:
        shared.engine.actions.extend(shared.ctx, shared.id, 2, in_use_allowed=True)
        shared.wait('in-use')
        back.write(0, b'e' * 512)
        assert back.capacity() == 2 * GIB
    assert shared.path.stat().st_size == 2 * GIB
    assert attachment


def test_a_target_that_is_lost_is_made_again_by_that_name(shared):
    """With what Nova has stored of it the hosts come back."""
    shared.deployed.target.remove_export(shared.id)
    shared.deployed.exporter.forget()
    shared.deployed.exporter.watch()
    for host in shared.held:
        shared.login(host).close()
    assert shared.bench.look() == []


def test_snapshots_copies_and_the_end(idle):
    snapshot = idle.snapshot()
    with idle.path.open('r+b') as file:
        file.write(b'x' * len(MARK))
    copies = [
        idle.engine.volumes.create(idle.ctx, VolumeWish(None, snapshot_id=snapshot)).id,
        idle.engine.volumes.create(idle.ctx, VolumeWish(None, source_volid=idle.id)).id,
    ]
    for ident in copies:
        idle.wait('available', ident)
    assert [idle.read(ident) for ident in copies] == [MARK, b'x' * len(MARK)]
    idle.engine.snapshots.revert(idle.ctx, idle.id, snapshot)
    idle.wait('available')
    assert idle.read(idle.name) == MARK
    assert idle.bench.look(fix=True) == []
    with idle.deployed.db.writer() as session:
        [entry] = [one for one in list_storage(idle) if one.name == idle.path.name]
        assert (entry.volume_id, entry.reason) == (idle.id, 'already managed')
        assert session.scalar(sa.select(models.Volume.name_id).where(models.Volume.id == idle.id)) == idle.name
    with pytest.raises(errors.InvalidInput, match='already managed'):
        idle.engine.manageable.manage(idle.ctx, Takeover((embedded.BACKEND, None), idle.path.name))
    idle.engine.volumes.delete(idle.ctx, idle.id, cascade=True)
    idle.wait(None)
    assert not idle.path.exists()
    assert {path.name for path in idle.volumes.iterdir()} == {f'volume-{ident}' for ident in (*copies, idle.id)}


def list_storage(cloud):
    found = cloud.engine.manageable._workers.list_manageable(embedded.BACKEND, None)
    return cloud.engine.manageable._judge(embedded.BACKEND, found)


def test_its_storage_is_neither_stray_nor_missing(idle):
    """Drafts and trash of it go; what only has its id in the name is left alone."""
    others = [idle.volumes / f'{kind}-{idle.id}.1f' for kind in ('draft', 'trash')]
    remnants = [idle.volumes / f'trash-{idle.name}.2e', idle.volumes / f'draft-{idle.name}']
    for path in (*others, *remnants):
        path.write_bytes(b'half')
    found = idle.bench.look(fix=True)
    assert [(one.kind, one.volume_id, one.outcome) for one in found] == [(Drift.REMNANT, idle.id, 'repaired')]
    assert [path.exists() for path in (*others, *remnants)] == [True, True, False, False]
    idle.path.rename(idle.volumes / 'elsewhere')
    [lost] = idle.bench.look()
    assert (lost.kind, lost.volume_id, lost.about) == (Drift.NO_STORAGE, idle.id, idle.path.name)
    (idle.volumes / 'elsewhere').rename(idle.path)
    assert idle.bench.look() == []


def test_it_keeps_its_name_at_another_backend(idle):
    idle.worker = idle.deployed.others['other']
    idle.worker.beat()
    idle.engine.migrations.migrate(idle.ctx, idle.id, ('testhost@other', None), locked=True)
    idle.deployed.wait(lambda: idle.engine.volumes.show(idle.ctx, idle.id).migration_status == 'success')
    assert idle.read(idle.name, 'other') == MARK
    idle.deployed.wait(lambda: not idle.path.exists())


def test_what_is_managed_no_more_may_be_managed_anew(idle):
    idle.engine.manageable.unmanage(idle.ctx, idle.id)
    idle.wait(None)
    made = idle.engine.manageable.manage(idle.ctx, Takeover((embedded.BACKEND, None), idle.path.name)).id
    idle.wait('available', made)
    assert idle.read(made) == MARK


def test_a_program_tells_its_drivers_the_names(tmp_path):
    """As it does when it starts; a backend without such a volume is served by the same program."""
    ident, name = new_id(), new_id()
    file = tmp_path / 'multiattach.conf'
    file.write_text(
        f'[DEFAULT]\nhost = here\nstate_path = {tmp_path}\n[volume]\nenabled_backends = one,two\n'
        f'[coordination]\nbackend_url = file://{tmp_path}/locks\n'
        f'[one]\ndriver = file\ntarget_driver = null\ndirectory = {tmp_path}/one\n'
        f'[two]\ndriver = file\ntarget_driver = null\ndirectory = {tmp_path}/two\n'
    )
    with embedded.deploy(tmp_path, start_worker=False) as deployed, contextlib.ExitStack() as stack:
        kind = deployed.make_type()
        conf = configuration.load(['--config-file', str(file)], program='test', description='test')
        with deployed.db.writer() as session:
            session.add(
                models.Volume(
                    id=ident,
                    name_id=name,
                    project_id='p',
                    size=1,
                    volume_type_id=kind,
                    status='available',
                    host='here@one',
                )
            )
        coordinator = parts.start_coordinator(conf, 'volume')
        stack.callback(disconnect, coordinator)
        targets = parts.TargetDrivers(conf)
        workers = parts.make_volume_workers(conf, deployed.db, deployed.rpc, targets, coordinator)
        assert [worker._offer.backend.path(ident) for worker in workers] == [
            f'{tmp_path}/{folder}/volume-{name}' for folder in ('one', 'two')
        ]
        assert {worker._exporter._target.locate(ident).iqn for worker in workers} == {f'{IQN}{name}'}
        assert workers[0].report()['names'] is True


# -- the import ----------------------------------------------------------------------------------------


def test_a_worker_that_runs_would_not_know_the_name(mover, db, theirs):
    kind = theirs.add_type('multi')
    volume = theirs.add_volume(kind, _name_id=new_id())
    tell_names(db, names=True)
    found = mover.check()
    assert (found.obstacles, ['migrated 1 volumes in use' in note for note in found.notes]) == ([], [True])
    with pytest.raises(errors.Conflict, match=r'new@lvm reports: stop multiattach-volume'):
        mover.run()
    stop(db)
    mover.run()
    # Nothing new comes: a worker may run.
    tell_names(db, names=True)
    mover.run()
    # It was migrated once more.
    theirs.set('volumes', volume, _name_id=new_id())
    with pytest.raises(errors.Conflict, match=r'new@lvm reports: stop multiattach-volume'):
        mover.run()
    stop(db)
    assert [item.ident for item in mover.run().comparison.changed] == [volume]


def test_a_worker_of_a_release_before(mover, db, theirs):
    kind = theirs.add_type('multi')
    renamed, plain = theirs.add_volume(kind, _name_id=new_id()), theirs.add_volume(kind)
    (obstacle,) = mover.check().obstacles
    assert (obstacle.ident, 'Upgrade multiattach-volume' in obstacle.remedy) == (renamed, True)
    found = mover.run(partial=True)
    assert [item.ident for item in found.comparison.new if item.kind == 'volume'] == [plain]


def test_storage_of_two_volumes(mover, db, theirs):
    """A migration in Cinder that is not done, or ended in the middle."""
    tell_names(db, names=True)
    kind, name = theirs.add_type('multi'), new_id()
    mine = theirs.add_volume(kind, _name_id=name)
    other = theirs.add_volume(kind, name)
    assert {one.ident for one in mover.check().obstacles} == {mine, other}
    assert 'is that of another volume, too' in mover.check().obstacles[0].reason


def test_an_import_of_the_release_before_is_the_same(mover, db, theirs):
    """It had no such column, and its fingerprints were made without."""
    theirs.add_volume(theirs.add_type('multi'), 'c0000000-0000-4000-8000-000000000000')
    found = mover.run()
    [item] = [item for item in found.comparison.new if item.kind == 'volume']
    with db.reader() as session:
        fingerprint = session.scalar(
            sa.select(models.ImportedItem.fingerprint).where(models.ImportedItem.ident == item.ident)
        )
    rows = {'volumes': [{k: v for k, v in item.rows['volumes'][0].items() if k != 'name_id'}]}
    assert fingerprint == db_imports._make_fingerprint(item.kind, rows)


def tell_names(db, **report):
    """Have the worker report, as that of this release does."""
    with db.writer() as session:
        row = session.scalars(sa.select(models.Service)).one()
        row.report = {**row.report, **report}
        row.heartbeat_at = models.now()


def stop(db):
    with db.writer() as session:
        session.execute(sa.update(models.Service).values(heartbeat_at=models.now().replace(year=2020)))
