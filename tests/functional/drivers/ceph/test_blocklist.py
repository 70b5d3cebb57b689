# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import datetime
import errno
import json
import uuid

import pytest

from multiattach.drivers.ceph.blocklist import NOTES, Blocklist
from multiattach.drivers.ceph.images import list_watchers
from multiattach.drivers.ceph.placement import cover_groups
from multiattach.drivers.ceph.sessions import read_sessions
from multiattach.drivers.ceph.users import Users
from multiattach.drivers.errors import StorageError, StorageUnavailable

from .conftest import SHORT


def make_user(store, image, **options):
    return Users(store.pool).make(str(uuid.uuid4()), image, **{'read_only': False, **options})


def list_instances(store, user):
    return {one.address for one in read_sessions(store.pool).list_of(user.entity)}


def test_a_writer_is_cut_off_and_another_one_notices_nothing(store, connect):
    image = store.make_image()
    first, second = make_user(store, image), make_user(store, image)
    fenced, other = connect(first), connect(second)
    twin = connect(first)  # another instance of the same user
    fenced.write(image, 0)
    other.write(image, 1 << 20)
    twin.write(image, 2 << 20)
    assert list_instances(store, first) == {fenced.address, twin.address}
    assert {one.address for one in list_watchers(store.pool, image)} == {fenced.address, other.address, twin.address}

    blocklist = Blocklist(store.pool)
    Users(store.pool).remove(first.attachment_id)
    until = blocklist.add([fenced.address], 600)
    seen = blocklist.settle()

    with store.ceph.open_pool(store.name) as io, store.pool.rbd.Image(io, image, read_only=True) as found:
        last = found.read(0, 4096)
        twin.go_on()
        other.go_on()
        assert found.read(0, 4096) == last
    fenced.end()
    assert fenced.error.errno == errno.ESHUTDOWN
    # All that was answered had landed by then; of one more the answer may have been lost.
    assert int(last) in (fenced.written - 1, fenced.written)
    assert seen.entries[fenced.address] == until[fenced.address]
    left = until[fenced.address] - datetime.datetime.now(datetime.UTC)
    assert 500 < left.total_seconds() < 601
    assert (seen.groups, seen.up, seen.down) == (8, (0,), ())
    assert fenced.address not in {one.address for one in list_watchers(store.pool, image)}
    blocklist.remove(fenced.address)


def test_an_entry_ends_when_it_was_first_said_to_unless_it_is_renewed(store):
    blocklist, address = Blocklist(store.pool), '127.0.0.1:0/4711'
    short = blocklist.add([address], 60)[address]
    assert blocklist.add([address], 600)[address] == short  # so Ceph has it
    assert blocklist.renew(address, 600) > short + datetime.timedelta(seconds=500)
    assert address in blocklist.read()
    assert blocklist.read_notes() == {}
    blocklist.remove(address)  # of which there is no note, as no reason was given
    blocklist.remove(address)
    assert address not in blocklist.read()
    assert blocklist.add([], 60) == {}


def test_a_whole_host_is_never_named(store):
    blocklist = Blocklist(store.pool)
    before = blocklist.read()
    for address in ('127.0.0.1', '127.0.0.1:0/0', '127.0.0.1:0'):
        with pytest.raises(ValueError, match='not the address of one client'):
            blocklist.add(['127.0.0.1:0/1', address], 60)
        with pytest.raises(ValueError, match='not the address of one client'):
            blocklist.remove(address)
    assert blocklist.read() == before


def test_many_at_once_take_one_round_of_the_monitors(store):
    addresses = [f'127.0.0.1:0/{5000 + number}' for number in range(40)]
    blocklist = Blocklist(store.pool)
    before = blocklist.settle().epoch
    assert set(blocklist.add(addresses, 600)) == set(addresses)
    assert blocklist.settle().epoch - before < len(addresses) / 2
    for address in addresses:
        blocklist.remove(address)


def test_a_probe_is_in_each_group_as_ceph_has_it(store):
    for number, name in enumerate(cover_groups(8)):
        found = store.ceph.ask('osd map', pool=store.name, object=name)
        assert int(found['pgid'].partition('.')[2], 16) == number


def test_an_osd_that_hangs_is_named_and_nothing_is_said_to_hold(store):
    blocklist = Blocklist(store.make_pool(SHORT))
    blocklist.settle()
    with store.ceph.frozen('osd.0'):
        blocklist.add(['127.0.0.1:0/4712'], 60)
        with pytest.raises(StorageUnavailable, match=r'8 of 8 placement groups of pool .* at osd\.0'):
            blocklist.settle()
    blocklist = Blocklist(store.pool)
    assert '127.0.0.1:0/4712' in blocklist.settle().entries
    blocklist.remove('127.0.0.1:0/4712')


def test_a_monitor_that_does_not_answer(store):
    pool = store.make_pool(SHORT)
    blocklist = Blocklist(pool)
    blocklist.read()
    steps = (
        blocklist.read,
        blocklist.settle,
        lambda: blocklist.add(['127.0.0.1:0/1'], 60),
        lambda: read_sessions(pool),
    )
    with store.ceph.frozen('mon.a'), concurrent.futures.ThreadPoolExecutor() as threads:
        for done in [threads.submit(step) for step in steps]:
            with pytest.raises(StorageUnavailable, match='Ceph did not'):
                done.result()


def test_a_user_without_the_capability_is_told_the_line(make_store):
    store = make_store(monitors='allow r')
    with pytest.raises(StorageError, match=r'"osd blocklist".*ceph auth caps .*allow command "osd blocklist"'):
        Blocklist(store.pool).add(['127.0.0.1:0/1'], 60)
    with pytest.raises(StorageError, match=r'"sessions".*ceph auth caps .*allow command "sessions"'):
        read_sessions(store.pool)


def test_watchers_of_an_image_that_is_not_there_and_of_who_only_reads(store, connect):
    assert list_watchers(store.pool, 'volume-x') is None
    image = store.make_image()
    with connect(make_user(store, image, read_only=True)).open(image, read_only=True):
        assert list_watchers(store.pool, image) == []


def test_all_notes_are_read_however_many_there_are(store):
    reason = json.dumps({'cause': 'gateway', 'owner': 'gateway-a', 'volume_id': None}).encode()
    addresses = tuple(f'192.0.2.1:0/{number}' for number in range(1, 2501))
    with store.ceph.open_pool(store.name) as io, store.pool.rados.WriteOpCtx() as operation:
        io.set_omap(operation, addresses, (reason,) * len(addresses))
        io.operate_write_op(operation, NOTES)
    assert set(Blocklist(store.pool).read_notes()) == set(addresses)
