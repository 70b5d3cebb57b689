# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with Ceph, and what is said of it."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

from multiattach.domain import errors
from multiattach.drivers.backends.base import GIB
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.pool import MONITORS
from multiattach.drivers.errors import CopyAborted, StorageError, StorageUnavailable
from tests.functional.drivers.stores import make_backend, wait_for_capacity
from tests.guides.text import TOP, read_blocks
from tests.testbed.polling import wait_until

from .images import check_filled, fill, go_on, list_snapshots, slow_osd
from .waiting import SHORT, make_hasty, repeat


def test_options_that_cannot_be_used(tmp_path):
    for wrong in ({'rbd_pool': 'a/b'}, {'rbd_user': 'a:b'}, {'rbd_ceph_conf': 'ceph.conf'}, {'rbd_user': None}):
        with pytest.raises(errors.ConfigurationError, match=f'Option {next(iter(wrong))} in .fast.'):
            make_backend(wrong, tmp_path)
    with pytest.raises(errors.ConfigurationError, match='power of two, not 3'):
        make_backend({'rbd_store_chunk_size': 3}, tmp_path)


@pytest.fixture
def check(make_rbd, ceph, tmp_path):
    """Check a backend with other options than those that do."""
    good = make_rbd()

    def run(**options):
        named = {
            'rbd_pool': good.pool,
            'rbd_user': good.pool,
            'rbd_ceph_conf': f'{ceph.folder}/client.{good.pool}.conf',
        }
        make_backend({**named, **options}, tmp_path).check()

    run()
    return run


def test_a_configuration_file_that_is_not_there(check):
    with pytest.raises(StorageError, match=r'Option rbd_ceph_conf: /nowhere/ceph.conf is not there'):
        check(rbd_ceph_conf='/nowhere/ceph.conf')


def test_a_pool_that_is_not_there(check):
    with pytest.raises(StorageError, match='Option rbd_pool: the cluster has no pool nothing'):
        check(rbd_pool='nothing')


def test_a_user_without_a_key(check, ceph):
    conf = ceph.write_conf('nobody', '')
    (ceph.folder / 'client.nobody.keyring').unlink()
    with pytest.raises(StorageError, match=r'no key of client.nobody in .*nobody.keyring: options rbd_user'):
        check(rbd_user='nobody', rbd_ceph_conf=str(conf))


def test_a_user_that_is_not_there_and_a_wrong_key(check, ceph):
    key = 'AQDn0YBm8UjbHhAAyhxx0000000000000000zw=='
    for name in ('stranger', 'admin'):
        conf = ceph.write_conf(name, key)
        with pytest.raises(
            StorageError, match=f'The monitors refuse client.{name}: .*key in .*{name}.keyring'
        ) as caught:
            check(rbd_user=name, rbd_ceph_conf=str(conf))
        assert key not in str(caught.value)


def test_a_user_that_may_only_read(check, ceph):
    conf = ceph.make_user('reader', 'profile rbd-read-only')
    with pytest.raises(StorageError, match=r'client.reader has no capability for that in pool'):
        check(rbd_user='reader', rbd_ceph_conf=str(conf))


@pytest.mark.slow
def test_volumes_that_share_blocks_of_a_pool_that_may_only_be_read(rbd, ceph):
    """As Cinder made them of Glance's images, for a user with the capabilities that Ceph's manual gives it."""
    ceph.make_pool('library')
    with ceph.open_pool('library') as theirs, rbd.io() as io:
        rbd.rbd.RBD().create(theirs, 'image', 1 << 26, old_format=False, features=1)
        with rbd.rbd.Image(theirs, 'image') as image:
            image.write(b'of the image', 0)
            image.create_snap('snap')
            image.protect_snap('snap')
        volumes = [str(uuid.uuid4()) for _ in range(6)]
        for one in volumes:
            rbd.rbd.RBD().clone(theirs, 'image', 'snap', io, f'volume-{one}', features=1)

    def grant(profile):
        osd = f'profile rbd pool={rbd.pool}, {profile} pool=library'
        ceph.ask('auth caps', entity=f'client.{rbd.pool}', caps=['mon', MONITORS, 'osd', osd])
        rbd.backend.pool._forget()

    def use(source):
        snapshot, (copy, other) = f's-{source}', (str(uuid.uuid4()) for _ in range(2))
        rbd.backend.extend(source, 1)
        rbd.backend.create_snapshot(snapshot, source, go_on)
        rbd.backend.clone_snapshot(copy, snapshot, source, 1, go_on)
        rbd.backend.clone(other, source, 1, go_on)
        rbd.backend.delete_snapshot(snapshot, source, go_on)
        for one in (source, copy, other):
            assert rbd.read(one, 0, 12) == b'of the image'
            rbd.backend.discard(one)
            rbd.backend.clear(one, go_on)

    grant('allow r')
    with pytest.raises(StorageError, match=r'has no capability for that in pool .*, or in that of an image whose'):
        rbd.backend.create_snapshot('s', volumes[0], go_on)
    grant('profile rbd-read-only')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(use, volumes))
    assert rbd.names() == []


def test_a_monitor_that_does_not_answer(rbd, tmp_path):
    hasty, other = make_hasty(rbd, tmp_path), make_backend({**rbd.options, 'rados_connect_timeout': SHORT}, tmp_path)
    rbd.backend.create('v', 1)
    with rbd.ceph.frozen('mon.a'):
        with pytest.raises(StorageError, match=f'No monitor of Ceph answers client.* within {SHORT} s'):
            other.check()
        with pytest.raises(StorageUnavailable):
            hasty.capacity()
    repeat(other.check)
    wait_for_capacity(hasty)
    assert rbd.names() == ['volume-v']


def test_an_osd_that_does_not_answer(rbd, tmp_path):
    hasty = make_hasty(rbd, tmp_path)
    fill(rbd, 'v', 4)
    with rbd.ceph.frozen('osd.0'):
        for step in (
            lambda: hasty.create('new', 1),
            lambda: hasty.extend('v', 2),
            lambda: hasty.discard('v'),
            lambda: hasty.clear('v', go_on),
        ):
            with pytest.raises(StorageUnavailable, match='Ceph did not'):
                step()
    repeat(lambda: hasty.create('new', 1))
    repeat(lambda: hasty.extend('v', 2))
    assert rbd.size('v') == 2 * GIB
    check_filled(rbd, 'v', 4)
    for volume_id in ('new', 'v'):
        repeat(lambda volume_id=volume_id: hasty.discard(volume_id))
        repeat(lambda volume_id=volume_id: hasty.clear(volume_id, go_on))
    assert rbd.names() == []


def test_a_full_pool(rbd, tmp_path):
    fill(rbd, 'v', 4)
    rbd.backend.create('other', 1)
    rbd.limit(1)
    with pytest.raises(StorageError, match=f'make image volume-new: pool {rbd.pool} has reached its'):
        rbd.backend.create('new', 1)
    with pytest.raises(StorageError, match='has reached its quota'):
        rbd.backend.clone('clone', 'v', 1, go_on)
    make_backend(rbd.options, tmp_path).check()  # a worker starts, and deletes
    assert wait_for_capacity(rbd.backend).free_gb == 0
    rbd.backend.discard('other')
    rbd.backend.clear('other', go_on)
    rbd.limit(0)
    assert rbd.names() == ['volume-v']
    repeat(lambda: rbd.backend.clone('clone', 'v', 1, go_on))
    check_filled(rbd, 'clone', 4)


def test_a_pool_that_was_full_from_the_beginning_loses_nothing(rbd, tmp_path):
    """librbd then says of an image that is there that it is not."""
    rbd.backend.create('v', 1)
    with rbd.io() as io:
        io.write_full('something', b'large')
        io.remove_object('rbd_trash')
    rbd.limit(1)
    with pytest.raises(StorageError, match=f'Image {rbd.pool}/volume-v cannot be moved to the trash: is the pool full'):
        rbd.backend.discard('v')
    assert rbd.names() == ['volume-v']


def test_a_quota_is_the_capacity(rbd):
    before = wait_for_capacity(rbd.backend)
    rbd.ceph.ask('osd pool set-quota', pool=rbd.pool, field='max_bytes', val=str(2 * GIB))
    room = rbd.backend.capacity()
    assert (round(room.total_gb, 2), round(room.free_gb, 2)) == (2, 2)
    assert before.total_gb > 3


def test_a_worker_that_was_blocklisted_comes_back_as_another_client(rbd, tmp_path):
    hasty = make_hasty(rbd, tmp_path)
    fill(rbd, 'v', 4)
    address = hasty._pool._connection.get_addrs()
    rbd.ceph.ask('osd blocklist', blocklistop='add', addr=address.removeprefix('v2:').split(',')[0])
    with pytest.raises(StorageUnavailable, match='is blocklisted'):
        hasty.extend('v', 2)
    repeat(lambda: hasty.extend('v', 2))
    assert rbd.size('v') == 2 * GIB


# In a process of its own

PROGRAM = """
import multiattach.cmd
import os, pathlib, sys, threading, time
from multiattach.conf import plugins, volume
from multiattach.drivers.backends.rbd import RbdBackend
from multiattach.drivers.errors import StorageUnavailable
values = {opt.dest: opt.default for opt in volume.RBD_OPTS}
conf, name = sys.argv[1:]
values |= {'rbd_ceph_conf': conf, 'rbd_user': name, 'rbd_pool': name, 'rados_connect_timeout': 30}
where = plugins.Surroundings('fast', 'host', pathlib.Path('/nowhere'))
backend = RbdBackend.from_options(type('Options', (), values)(), where)
backend.check()
backend.create('source', 1)
backend.clone('clone', 'source', 1, lambda: True)
"""
HANGING = (
    PROGRAM
    + """
values['rados_connect_timeout'] = 5
backend = RbdBackend.from_options(type('Options', (), values)(), where)
backend.check()
print('ready', flush=True)
sys.stdin.readline()
ticks = []
def tick():
    while True:
        ticks.append(1)
        time.sleep(0.05)
threading.Thread(target=tick, daemon=True).start()
before = len(ticks)
try:
    backend.create('new', 1)
except StorageUnavailable as exc:
    print(len(ticks) - before, exc, flush=True)
"""
)


@pytest.mark.parametrize('mode', ['threading', 'eventlet'])
def test_a_call_that_hangs_holds_up_neither_other_threads_nor_the_end(rbd, mode):
    environment = {**os.environ, 'MULTIATTACH_CONCURRENCY': mode, 'PYTHONWARNINGS': 'ignore'}
    argv = [sys.executable, '-c', HANGING, rbd.options['rbd_ceph_conf'], rbd.pool]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        try:
            assert child.stdout.readline() == 'ready\n'
            with rbd.ceph.frozen('osd.0'):
                child.stdin.write('\n')
                child.stdin.flush()
                ticks, _, text = child.stdout.readline().partition(' ')
                assert int(ticks) > 5
                assert 'Ceph did not make image volume-new' in text
                assert child.wait(60) == 0
        finally:
            child.kill()
    assert set(rbd.names()) - {'volume-new'} == {'volume-clone', 'volume-source'}


@pytest.mark.slow  # a watcher that died is one for 30 s
def test_a_clone_whose_worker_was_killed_is_made_anew(make_rbd):
    store = make_rbd(rbd_max_clone_depth=0)
    fill(store, 'source', 200)
    program = PROGRAM.replace(
        "backend.clone('clone'", "backend._depth = 0; print('go', flush=True); backend.clone('clone'"
    )
    argv = [sys.executable, '-c', program, store.options['rbd_ceph_conf'], store.pool]
    with slow_osd(store.ceph), subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == 'go\n'
        wait_until(lambda: 'draft-clone' in store.names(), 30, 'the draft', 0.01)
        child.send_signal(signal.SIGKILL)
    assert store.names() == ['draft-clone', 'volume-source']

    def clone():
        try:
            store.backend.clone('clone', 'source', 1, go_on)
        except CopyAborted:
            return False
        return True

    wait_until(clone, 60, 'the end of the watcher', 1)
    check_filled(store, 'clone', 200)
    assert store.names() == ['volume-clone', 'volume-source']
    assert list_snapshots(store, 'source') == []


def test_only_two_modules_come_from_the_distribution():
    code = (
        'import sys; before = list(sys.path)\n'
        'from multiattach.drivers.ceph import library\n'
        'rados, rbd = library.load()\n'
        'assert sys.path == before\n'
        'print(rados.__file__, rbd.__file__, sys.modules["rados"] is rados)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    rados, rbd, same = done.stdout.split()
    assert same == 'True'
    assert {pathlib.Path(path).parent for path in (rados, rbd)} == {pathlib.Path(library.FOLDERS[0])}


# As an operator sees it


def run_program(name, config, *words):
    argv = [str(pathlib.Path(sys.executable).parent / f'multiattach-{name}'), '--config-file', str(config), *words]
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_checked_before_programs_start(rbd, tmp_path):
    config = tmp_path / 'multiattach.conf'
    config.write_text(
        f'[DEFAULT]\ntransport_url = inproc://\nstate_path = {tmp_path}\n'
        f'[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n'
        f'[volume]\nenabled_backends = fast\n[fast]\ndriver = rbd\nrados_connect_timeout = 5\n'
        + ''.join(f'{name} = {value}\n' for name, value in rbd.options.items())
    )
    done = run_program('manage', config, 'config', 'check', '--connect')
    assert '[fast]' not in done.stderr
    with rbd.ceph.frozen('mon.a'):
        done = run_program('status', config, 'upgrade', 'check')
    assert '[fast] The pool of an rbd backend cannot be used. No monitor of Ceph answers client.' in ' '.join(
        done.stdout.replace('|', ' ').split()
    )


def test_the_guide_s_commands_are_enough(ceph, tmp_path):
    commands = [b.text for b in read_blocks(TOP / 'doc/source/install/ceph.rst') if b.section == 'In the cluster']
    script = commands[0].replace('/etc/ceph', str(tmp_path))
    environment = {**os.environ, 'CEPH_CONF': str(ceph.conf)}
    done = subprocess.run(['sh', '-ec', script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    conf = tmp_path / 'ceph.conf'
    conf.write_text(ceph.conf.read_text() + f'keyring = {tmp_path}/$cluster.$name.keyring\n')
    options = {'rbd_user': 'multiattach', 'rbd_pool': 'volumes', 'rbd_ceph_conf': str(conf)}
    backend = make_backend(options, tmp_path)
    backend.check()
    backend.create('source', 1)
    backend.clone('clone', 'source', 1, go_on)
    backend.discard('source')
    backend.clear('source', go_on)
    wait_for_capacity(backend)
    ceph.remove_pool('volumes')
