# SPDX-License-Identifier: Apache-2.0
import uuid

import pytest

from multiattach.drivers.ceph.pool import PREFIX
from multiattach.drivers.ceph.users import Users
from multiattach.drivers.errors import StorageError, StorageUnavailable

from .conftest import SHORT


def make_id():
    return str(uuid.uuid4())


def test_a_user_reaches_one_image_and_nothing_else(store, connect):
    image, other = store.make_image(), store.make_image()
    user = Users(store.pool).make(make_id(), image, read_only=False)
    assert user.image == (store.name, image)
    client = connect(user)
    with client.open(image) as mine:
        mine.write(b'mine', 0)
        assert mine.read(0, 4) == b'mine'
    with pytest.raises(client.rbd.PermissionError):
        client.open(other, read_only=True)
    with pytest.raises(client.rbd.PermissionError):
        client.rbd.RBD().list(client.io)
    # Neither users nor other clients are within its reach.
    for command in ('"auth ls"', '"osd blocklist", "blocklistop": "add", "addr": "127.0.0.1:0/1"'):
        code, _, _ = client.connection.mon_command(f'{{"prefix": {command}}}', b'')
        assert code == -13, command


def test_a_user_that_may_only_read(store, connect):
    image = store.make_image()
    client = connect(Users(store.pool).make(make_id(), image, read_only=True))
    with client.open(image, read_only=True) as mine:
        assert mine.read(0, 4) == bytes(4)
    with client.open(image) as mine, pytest.raises(client.rbd.PermissionError):  # to write, as QEMU does
        mine.write(b'by the way', 0)
    with store.ceph.open_pool(store.name) as io, client.rbd.Image(io, image, read_only=True) as found:
        data = f'{found.block_name_prefix()}.{0:016x}'
    with pytest.raises(client.rados.PermissionError):
        client.io.write(data, b'by the way')


@pytest.mark.parametrize('is_gone', [False, True], ids=['parent', 'parent in the trash'])
def test_a_clone_reads_what_it_shares(store, connect, is_gone):
    source = store.make_image()
    with store.ceph.open_pool(store.name) as io, store.pool.rbd.Image(io, source) as image:
        image.write(b'shared', 0)
    middle = store.make_image(source)
    clone = store.make_image(middle)
    if is_gone:
        with store.ceph.open_pool(store.name) as io:
            store.pool.rbd.RBD().trash_move(io, source)
    client = connect(Users(store.pool).make(make_id(), clone, read_only=False))
    with client.open(clone) as mine:
        assert mine.read(0, 6) == b'shared'
        mine.write(b'own', 3)
        assert mine.read(0, 6) == b'shaown'
    for other in [middle] if is_gone else [middle, source]:
        with pytest.raises(client.rbd.PermissionError):
            client.open(other)


def test_made_again_it_is_the_same_with_what_it_needs_now(store):
    users, ident = Users(store.pool), make_id()
    source = store.make_image()
    clone = store.make_image(source)
    first = users.make(ident, clone, read_only=False)
    assert users.make(ident, clone, read_only=False) == first
    with store.ceph.open_pool(store.name) as io, store.pool.rbd.Image(io, clone) as image:
        image.flatten()
    again = users.make(ident, clone, read_only=False)
    assert (again.key, again.entity) == (first.key, first.entity)
    assert 'rbd_directory' in first.capabilities['osd']
    assert 'rbd_directory' not in again.capabilities['osd']
    assert users.find(ident) == again


def test_a_user_that_is_removed_does_not_come_back(store, connect):
    users, ident, image = Users(store.pool), make_id(), store.make_image()
    user = users.make(ident, image, read_only=False)
    with connect(user).open(image):
        users.remove(ident)
        users.remove(ident)
    assert users.find(ident) is None
    with pytest.raises(store.pool.rados.Error):
        connect(user)
    assert users.make(ident, image, read_only=False).key != user.key
    with pytest.raises(store.pool.rados.Error):
        connect(user)  # with the key that it had


def test_users_are_told_by_prefix_and_pool(make_store):
    store, other = make_store(), make_store()
    mine, its = store.make_image(), other.make_image()
    user = Users(store.pool).make(make_id(), mine, read_only=False)
    Users(other.pool).make(make_id(), its, read_only=True)
    assert Users(store.pool).list_users() == [user]
    assert 'key' not in repr(user)
    assert user.key not in repr(user)


def test_an_image_that_is_not_there(store):
    with pytest.raises(StorageError, match=f'no image {store.name}/volume-x'):
        Users(store.pool).make(make_id(), 'volume-x', read_only=False)
    assert Users(store.pool).list_users() == []


def test_a_user_without_the_capability_is_told_the_line(make_store):
    store = make_store(monitors='profile rbd')
    users, image = Users(store.pool), store.make_image()
    for step in (
        lambda: users.make(make_id(), image, read_only=False),
        lambda: users.find(make_id()),
        lambda: users.remove(make_id()),
        users.list_users,
    ):
        with pytest.raises(StorageError, match=f'"auth .*ceph auth caps client.{store.name} mon ') as caught:
            step()
    line = str(caught.value).partition('ceph ')[2]
    words = line.replace("'", '').split(' ', 2)
    assert words[:2] == ['auth', 'caps']
    # What the message says is enough, at once.
    mon, osd = line.split("'")[1::2]
    store.ceph.ask('auth caps', entity=f'client.{store.name}', caps=['mon', mon, 'osd', osd])
    users.make(make_id(), image, read_only=False)


def test_no_user_of_another_name_is_within_reach(store):
    def make(entity):
        return store.pool.run('try', lambda _io, _progress: store.pool.ask('auth get-or-create', entity=entity))

    with pytest.raises(StorageError, match='no capability for "auth get-or-create"'):
        make('client.other')
    make(f'{PREFIX}x')
    store.ceph.ask('auth rm', entity=f'{PREFIX}x')


def test_a_monitor_that_does_not_answer(store):
    users = Users(store.make_pool(SHORT))
    users.list_users()
    with store.ceph.frozen('mon.a'), pytest.raises(StorageUnavailable, match='Ceph did not list users'):
        users.list_users()
