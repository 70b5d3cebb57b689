# SPDX-License-Identifier: Apache-2.0
"""What Ceph knows beside what is recorded: drift of the blocklist and of watchers, seen and put right."""

import uuid

import pytest
import sqlalchemy as sa

from multiattach.coordination import connect as connect_coordinator, disconnect
from multiattach.db import models
from multiattach.db.transitions import Actor
from multiattach.domain.blocklist import Cause, Reason
from multiattach.domain.drift import Account, Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.ceph.users import User, Users
from multiattach.drivers.targets.null import NullTarget
from multiattach.steps.reconciliation import Reconciliation
from multiattach.volume.blocklist import BlocklistKeeper
from multiattach.volume.ceph_accounts import CephAccounts
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.reconciler import VolumeReconciler
from tests.functional.drivers.ceph.conftest import Client
from tests.functional.drivers.ceph.test_entries import ADDRESS, BACKEND, add, bench  # noqa: F401

STRAY = {Drift.NO_ENTRY, Drift.STRAY_ENTRY, Drift.STRAY_WATCHER}


@pytest.fixture
def make_reconciler(bench, tmp_path):  # noqa: F811
    coordinator = connect_coordinator(f'file://{tmp_path}', 'test')
    locks = VolumeLocks(coordinator)

    def make(pool=None, patience=0.0):
        pool = pool or bench.store.pool
        side = Reconciliation(bench.db, Actor('test'))
        made = VolumeReconciler(side, None, NullTarget(), locks, BACKEND, (DriftRules(), 60.0))
        made.ceph = CephAccounts(side, bench.rows, BlocklistKeeper(bench.rows, pool), pool, BACKEND, patience)
        return made

    yield make
    disconnect(coordinator)


def look(reconciler, **options):
    found = reconciler.run(**options)
    return [(one.kind, one.outcome, one.about) for one in found if one.kind in STRAY]


def test_an_entry_that_is_lost_is_made_again(bench, make_reconciler):  # noqa: F811
    reconciler = make_reconciler()
    add(bench, bench.attach('fenced'))
    assert look(reconciler) == []
    bench.store.ceph.ask('osd blocklist', blocklistop='rm', addr=ADDRESS)
    assert look(reconciler, fix=False) == [(Drift.NO_ENTRY, 'found', ADDRESS)]
    [told] = [one for one in reconciler.list_findings(bench.volume_id) if one['kind'] == Drift.NO_ENTRY]
    assert told['volume_id'] == bench.volume_id  # it is in the explanation
    assert look(reconciler) == [(Drift.NO_ENTRY, 'repaired', ADDRESS)]
    assert bench.is_listed()
    assert bench.find().until == bench.blocklist.read()[ADDRESS].replace(tzinfo=None)
    assert look(reconciler) == []


def test_an_entry_whose_fence_is_over_is_not_missed(bench, make_reconciler):  # noqa: F811
    add(bench, bench.attach('fenced', deleted_at=models.now()))
    bench.store.ceph.ask('osd blocklist', blocklistop='rm', addr=ADDRESS)
    assert look(make_reconciler()) == []


def test_an_entry_that_no_row_knows_is_told_and_left(bench, make_reconciler):  # noqa: F811
    add(bench, Reason(Cause.FENCE, 'multiattach-x', 'some-volume'))
    bench.blocklist.add(['127.0.0.1:0/4002'], 600)  # somebody else's is none of ours
    with bench.db.writer() as session:
        session.execute(sa.delete(models.BlocklistEntry))  # as in an older copy of the database
    assert look(make_reconciler(), fix=True) == [(Drift.STRAY_ENTRY, 'reported', ADDRESS)]
    assert bench.is_listed()
    # When it has ended, there is nothing to be told.
    bench.store.ceph.ask('osd blocklist', blocklistop='rm', addr=ADDRESS)
    assert look(make_reconciler()) == []
    assert bench.blocklist.read_notes() == {}
    bench.blocklist.remove('127.0.0.1:0/4002')


def make_volume_image(bench):  # noqa: F811
    with bench.store.ceph.open_pool(bench.store.name) as io:
        rbd = bench.store.pool.rbd
        name = f'volume-{bench.volume_id}'
        rbd.RBD().create(io, name, 64 << 20, old_format=False, features=rbd.RBD_FEATURE_LAYERING)
    return name


def test_a_watcher_is_explained_by_its_attachment_or_told(bench, make_reconciler, connect):  # noqa: F811
    image, reconciler = make_volume_image(bench), make_reconciler()
    ident = bench.attach('attached').owner.removeprefix('multiattach-')
    mine = connect(Users(bench.store.pool).make(ident, image, read_only=False))
    with mine.open(image):
        assert look(reconciler) == []
        stranger = Users(bench.store.pool).make(str(uuid.uuid4()), image, read_only=False)
        other = connect(stranger)
        with other.open(image):
            about = f'{stranger.entity} at {other.address}'
            assert look(reconciler, fix=True) == [(Drift.STRAY_WATCHER, 'reported', about)]
        assert look(reconciler) == []
        # An attachment that is gone explains nothing.
        bench.update(models.Attachment, state='detached', deleted_at=models.now())
        [(kind, _, about)] = look(reconciler)
        assert (kind, about) == (Drift.STRAY_WATCHER, f'client.multiattach-{ident} at {mine.address}')


def test_the_service_s_own_user_is_a_watcher_for_whoever_is_attached(bench, make_reconciler):  # noqa: F811
    image, reconciler = make_volume_image(bench), make_reconciler()
    key = bench.store.ceph.ask('auth get', entity=f'client.{bench.store.name}')[0]['key']
    # As a target daemon is, or a host of Nova.
    own = Client(bench.store, User(f'client.{bench.store.name}', key, {}))
    try:
        with own.open(image):
            assert [kind for kind, _, _ in look(reconciler)] == [Drift.STRAY_WATCHER]
            assert look(make_reconciler(patience=60.0)) == []  # a step may be at it
            bench.attach('attached', initiator='iqn.1994-05.com.example:one')
            assert look(reconciler) == []
    finally:
        own.stop()


def test_a_ceph_that_does_not_answer_is_no_drift(bench, make_reconciler):  # noqa: F811
    pool = bench.store.make_pool()
    reconciler = make_reconciler(pool)
    assert look(reconciler) == []
    with bench.store.ceph.frozen('mon.a'), reconciler.within(1.0):
        seen = reconciler.look(lambda _ident: True, False)
    assert 'Ceph cannot be read' in seen.unread[Account.CEPH]
    assert not STRAY & {one.kind for one in seen.seen}
