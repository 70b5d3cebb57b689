# SPDX-License-Identifier: Apache-2.0
"""Entries of the blocklist as rows: written down before, kept while they are needed, removed when they are not."""

import contextlib
import datetime
import threading
import time
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import migration, models
from multiattach.db.database import Database
from multiattach.domain.blocklist import Cause, EntryState, Reason
from multiattach.drivers.ceph.blocklist import HELD, Blocklist
from multiattach.drivers.ceph.users import Users
from multiattach.drivers.errors import StorageUnavailable
from multiattach.steps.blocklist import BlocklistRows
from multiattach.volume.blocklist import BlocklistKeeper
from tests.functional.drivers.ceph.conftest import SHORT

BACKEND = 'host@fast'
ADDRESS = '127.0.0.1:0/4001'
TYPE = str(uuid.uuid4())


class Bench:
    """A backend's rows beside its pool."""

    def __init__(self, db, store):
        self.db = db
        self.store = store
        self.rows = BlocklistRows(db, BACKEND)
        store.pool.book = self.rows
        self.blocklist = Blocklist(store.pool)
        self.volume_id = str(uuid.uuid4())
        with db.writer() as session:
            session.add(models.VolumeType(id=TYPE, name='t', live_name='t'))
            session.flush()
            session.add(
                models.Volume(
                    id=self.volume_id, project_id='p', size=1, volume_type_id=TYPE, status='in-use', host=BACKEND
                )
            )

    def attach(self, state, **values):
        """Write an attachment; return why it would be cut off."""
        ident = str(uuid.uuid4())
        values = {'initiator': f'multiattach-{ident}', 'attached_host': 'compute-1', **values}
        with self.db.writer() as session:
            session.add(models.Attachment(id=ident, volume_id=self.volume_id, state=state, **values))
        return Reason(Cause.FENCE, values['initiator'], self.volume_id)

    def update(self, table, **values):
        with self.db.writer() as session:
            session.execute(sa.update(table).values(**values))

    def find(self, address=ADDRESS):
        return next((one for one in self.rows.list_entries() if one.address == address), None)

    def tend(self):
        """Have a worker do a round, as after all pauses."""
        self.update(models.BlocklistEntry, state_at=models.now() - datetime.timedelta(hours=1))
        BlocklistKeeper(self.rows, self.store.pool).tend(lambda _address: True)

    def is_listed(self, address=ADDRESS):
        return address in self.blocklist.read()


@pytest.fixture
def bench(store, tmp_path):
    db = Database(f'sqlite:///{tmp_path}/db.sqlite')
    migration.sync(db)
    made = Bench(db, store)
    yield made
    for address in set(made.blocklist.read_notes()) | {ADDRESS}:
        made.blocklist.remove(address)
    db.close()


def add(bench, reason, address=ADDRESS, seconds=HELD):
    return bench.blocklist.add([address], seconds, {address: reason})[address].replace(tzinfo=None)


def test_what_is_done_is_written_down(bench):
    reason = bench.attach('fencing')
    until = add(bench, reason)
    found = bench.find()
    assert (found.reason, found.state, found.until, found.is_needed) == (reason, EntryState.HELD, until, True)
    assert bench.blocklist.read_notes() == {ADDRESS: reason}
    bench.blocklist.remove(ADDRESS)
    assert bench.find() is None
    assert bench.blocklist.read_notes() == {}


def test_the_intent_stays_when_ceph_does_not_answer(bench):
    reason = bench.attach('fencing')
    pool = bench.store.make_pool(SHORT)
    pool.book = bench.rows
    hasty = Blocklist(pool)
    hasty.read()
    pool.find_fsid()
    with bench.store.ceph.frozen('mon.a'), pytest.raises(StorageUnavailable):
        hasty.add([ADDRESS], reasons={ADDRESS: reason})
    found = bench.find()
    assert (found.state, found.until) == (EntryState.ADDING, None)
    bench.tend()
    assert bench.is_listed()
    assert bench.find().state == EntryState.HELD


@pytest.mark.parametrize(
    ('state', 'values', 'is_needed'),
    [
        ('fencing', {}, True),
        ('fenced', {}, True),
        ('attached', {}, False),
        ('fenced', {'deleted_at': models.now()}, False),
        # The host agent may still have the device open, also if the attachment was deleted.
        ('detached', {'deleted_at': models.now(), 'fenced_at': models.now(), 'agent_host': 'compute-1'}, True),
        (
            'detached',
            {
                'deleted_at': models.now(),
                'fenced_at': models.now(),
                'agent_host': 'compute-1',
                'swept_at': models.now(),
            },
            False,
        ),
    ],
)
def test_an_entry_goes_with_what_it_was_made_for(bench, state, values, is_needed):
    add(bench, bench.attach(state, **values))
    other = '127.0.0.1:0/4002'
    bench.blocklist.add([other], 600)  # of somebody else
    bench.tend()
    assert bench.is_listed() == is_needed
    assert (bench.find() is not None) == is_needed
    assert bench.is_listed(other)
    bench.blocklist.remove(other)


def test_a_host_that_is_fenced_as_a_whole_stays_out_until_it_is_let_in_again(bench):
    reason = bench.attach('detached', deleted_at=models.now(), fenced_at=models.now())
    with bench.db.writer() as session:
        session.add(models.FencedHost(host='compute-1'))
    add(bench, reason)
    bench.tend()
    assert bench.is_listed()
    with bench.db.writer() as session:
        session.execute(sa.delete(models.FencedHost))
    bench.tend()
    assert not bench.is_listed()


def test_who_still_runs_stays_out_though_its_fence_is_over(bench, connect):
    client = connect(Users(bench.store.pool).make(str(uuid.uuid4()), bench.store.make_image(), read_only=False))
    add(bench, bench.attach('fenced', deleted_at=models.now()), client.address)
    bench.tend()
    assert bench.is_listed(client.address)
    address = client.address
    client.stop()
    bench.tend()
    assert not bench.is_listed(address)


def test_an_entry_that_is_needed_is_renewed_before_it_ends(bench):
    until = add(bench, bench.attach('fenced'), seconds=HELD / 4)
    bench.tend()
    assert bench.find().until > until + datetime.timedelta(seconds=HELD / 2)
    before = bench.find().until
    bench.tend()
    assert bench.find().until == before


def test_an_entry_is_renewed_while_the_cut_off_and_others_write(bench, connect):
    """The cut off asks again and again; when a round is over nothing of him lands, and the others noticed nothing."""
    store, image = bench.store, bench.store.make_image()
    fenced, other = (connect(Users(store.pool).make(str(uuid.uuid4()), image, read_only=False)) for _ in range(2))
    fenced.write(image)
    other.write(image, 1 << 20)
    Users(store.pool).remove(fenced.user.attachment_id)
    add(bench, bench.attach('fenced', initiator=fenced.user.name), fenced.address, HELD / 4)
    bench.blocklist.settle()
    fenced.end()
    again = threading.Event()
    landed = []

    def insist():
        while not again.is_set():
            with contextlib.suppress(fenced.rbd.Error, fenced.rados.Error), fenced.open(image) as mine:
                mine.write(b'late', 0)
                landed.append(1)

    insisting = threading.Thread(target=insist)
    insisting.start()
    try:
        until = bench.find(fenced.address).until
        bench.tend()
        assert bench.find(fenced.address).until > until
        with store.ceph.open_pool(store.name) as io, store.pool.rbd.Image(io, image, read_only=True) as found:
            before = len(landed), found.read(0, 4096)
            other.go_on()
            time.sleep(1)
            assert (len(landed), found.read(0, 4096)) == before
        print(f'{len(landed)} writes landed while it was renewed')
    finally:
        again.set()
        insisting.join(60)
    assert other.error is None


def test_an_entry_that_somebody_made_anew_is_left_to_him(bench):
    add(bench, bench.attach('fenced', deleted_at=models.now()))
    bench.update(models.BlocklistEntry, until=models.now())
    bench.tend()
    assert bench.find() is None
    assert bench.is_listed()


def test_a_round_does_not_ask_ceph_for_nothing(bench):
    add(bench, bench.attach('fenced'))
    pool = bench.store.make_pool(SHORT)
    with bench.store.ceph.frozen('mon.a'):
        BlocklistKeeper(bench.rows, pool).tend(lambda _address: True)  # it would wait, and complain
    assert pool._connection is None


@pytest.mark.parametrize(
    ('state', 'minutes', 'is_kept'),
    [('lost', 90, True), ('losing', 90, True), ('serving', 30, True), ('serving', 90, False), (None, 0, False)],
)
def test_a_gateway_s_entry_stays_until_the_gateway_is_back_for_an_hour(bench, state, minutes, is_kept):
    if state is not None:
        values = {'name': 'storage-1@fast', 'backend': BACKEND, 'portal': '192.0.2.7:3260', 'cephx_user': 'one'}
        since = models.now() - datetime.timedelta(minutes=minutes)
        with bench.db.writer() as session:
            session.add(models.Gateway(**values, state=state, state_at=since))
    add(bench, Reason(Cause.GATEWAY, 'storage-1@fast'), seconds=HELD / 4)
    before = bench.find()
    assert before.is_needed == is_kept
    bench.tend()
    # While it is lost the others of its cluster renew it.
    assert (bench.find() is not None and bench.find().until == before.until) == is_kept
    assert bench.is_listed() == is_kept
