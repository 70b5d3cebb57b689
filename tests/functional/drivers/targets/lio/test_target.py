# SPDX-License-Identifier: Apache-2.0
"""The driver against the kernel's target, where it is another one than tgtd; seen by a real initiator (libiscsi)."""

import contextlib
import dataclasses
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multiattach.domain.connection import wwn
from multiattach.drivers.errors import TargetError, TargetUnavailable
from multiattach.drivers.targets import login
from multiattach.drivers.targets.base import Cut, Export, Grant, generate_secret
from multiattach.drivers.targets.lio.configfs import ROOT
from multiattach.drivers.targets.lio.target import LioTarget
from tests.functional.drivers.stores import FileStore, Store
from tests.functional.drivers.targets.tgt.conftest import Volume
from tests.functional.drivers.targets.tgt.initiator import BLOCK, REGISTER, IoFailed, LoginRefused, Session

pytestmark = [pytest.mark.kernel_target, pytest.mark.slow]


def data(number: int) -> bytes:
    return bytes([number]) * BLOCK


def test_identity_is_that_of_tgtd(target: LioTarget, volume: Volume) -> None:
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    assert info.iqn == f'iqn.2010-10.org.openstack:volume-{volume.id}'
    assert info.lun == 1
    with volume.login(info, grant) as session:
        page = session.vital_page(0x83)
        inquiry = session._ask(bytes([0x12, 0, 0, 0, 252, 0]))
    names = []
    while page:
        if (page[0] & 0x0F, page[1] & 0x3F) == (1, 3):
            names.append(page[4 : 4 + page[3]].hex())
        page = page[4 + page[3] :]
    assert names == [wwn(volume.id)]
    assert inquiry[8:16].split()[0] == b'IET'
    assert inquiry[16:32].split()[0] == b'VIRTUAL-DISK'


@pytest.mark.parametrize('name', ['fake', 'iqn.1994-05.com.example:A_b-c.d:e', 'h' * 223])
def test_a_name_of_any_form_is_told_as_it_is(target: LioTarget, volume: Volume, name: str) -> None:
    grant = dataclasses.replace(volume.grant(1), initiator=name)
    info = target.grant(volume.id, volume.device, grant)
    with volume.login(info, grant) as session:
        assert session.read(0) == bytes(BLOCK)
        assert target.list_exports()[volume.id].sessions[0].initiator == name
    assert target.list_exports()[volume.id].initiators == (name,)


@pytest.mark.parametrize('initiator', ['', '.', '..', 'a/b', '../x', 'iqn.x:a b', 'iqn.' + 'x' * 300])
def test_odd_initiator_names_reach_nobody(target: LioTarget, volume: Volume, initiator: str) -> None:
    with pytest.raises(TargetError):
        target.grant(volume.id, volume.device, Grant(initiator, 'user', generate_secret()))
    assert not target.list_exports().get(volume.id, None) or not target.list_exports()[volume.id].initiators


def test_a_reader_cannot_write_whatever_it_does(target: LioTarget, volume: Volume, store: Store) -> None:
    writer, reader = volume.grant(1), dataclasses.replace(volume.grant(2), mode='ro')
    target.grant(volume.id, volume.device, writer)
    info = target.grant(volume.id, volume.device, reader)
    with volume.login(info, writer) as one, volume.login(info, reader) as two:
        one.write(3, data(7))
        assert two.read(3) == data(7)
        with pytest.raises(IoFailed, match='WRITE_PROTECTED'):
            two.write(3, data(8))
        assert store.read(volume.id, 3 * BLOCK, BLOCK) == data(7)
        # Given more it has it at once, and given less, too.
        target.grant(volume.id, volume.device, dataclasses.replace(reader, mode='rw'))
        two.write(3, data(8))
        target.ensure_export(Export(volume.id, volume.device, (writer, reader)))
        with pytest.raises(IoFailed, match='WRITE_PROTECTED'):
            two.write(3, data(9))
        one.write(3, data(10))


def test_a_secret_is_for_root_alone(target: LioTarget, volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with pytest.raises(TargetError) as refused:
        target.grant(volume.id, '/nonexistent/device', grant)
    assert grant.secret not in caplog.text + repr(info) + repr(refused.value) + repr(grant)
    folder = ROOT / 'iscsi' / info.iqn / 'tpgt_1' / 'acls' / grant.initiator / 'auth'
    assert (folder / 'password').read_text().strip() == grant.secret
    program = 'import os, sys; os.setgid(65534); os.setuid(65534); print(open(sys.argv[1]).read())'
    seen = subprocess.run([sys.executable, '-c', program, folder / 'password'], capture_output=True, check=False)
    assert seen.returncode != 0
    assert grant.secret.encode() not in seen.stdout


@pytest.mark.parametrize('left', ['store', 'store without its name', 'target', 'target without its unit', 'shut'])
def test_what_a_crash_left_half_made_is_finished(target: LioTarget, volume: Volume, left: str) -> None:
    one, two = volume.grant(1), volume.grant(2)
    group = target._group(volume.id)
    if left.startswith('store'):
        place = target._stores.make(volume.id, volume.device)
        if 'without' in left:
            target._stores.remove(volume.id)
            target._configfs.make(place)
    elif left == 'target':
        group.make()
        group.listen()
    else:
        target.grant(volume.id, volume.device, one)
        if left == 'shut':
            group.set_open(False)
        else:
            for link in target._configfs.list_links(group._lun):
                os.unlink(link)
    info = target.grant(volume.id, volume.device, two)
    with volume.login(info, two) as session:
        assert session.read(0) == bytes(BLOCK)
    if left in ('shut', 'target without its unit'):
        volume.login(info, one).close()


def test_another_device_is_shown_to_whoever_was_admitted(target: LioTarget, volume: Volume, store: Store) -> None:
    if not isinstance(store, FileStore) or volume.device.startswith('/dev'):
        pytest.skip('of files only')
    grant = volume.grant(1)
    target.grant(volume.id, volume.device, grant)
    moved = f'{volume.device}-moved'
    os.rename(volume.device, moved)
    with open(moved, 'r+b') as file:
        file.write(data(5))
    info = target.grant(volume.id, moved, volume.grant(2))
    with volume.login(info, grant) as session:
        assert session.read(0) == data(5)


def test_ensure_makes_exactly_the_grants(target: LioTarget, volume: Volume) -> None:
    stranger, keeps, comes = (volume.grant(number) for number in range(3))
    target.grant(volume.id, volume.device, stranger)
    info = target.grant(volume.id, volume.device, keeps)
    group = ROOT / 'iscsi' / info.iqn / 'tpgt_1'
    (group / 'attrib' / 'generate_node_acls').write_text('1')  # somebody opens it for everybody
    assert target.list_exports()[volume.id].addresses == ('ALL',)
    with volume.login(info, stranger) as out, volume.login(info, keeps) as stays:
        assert target.ensure_export(Export(volume.id, volume.device, (keeps, comes))) == info
        with pytest.raises(IoFailed):
            out.read(0)
        stays.read(0)
        state = target.list_exports()[volume.id]
        assert set(state.initiators) == {keeps.initiator, comes.initiator}
        assert set(state.accounts) == {keeps.username, comes.username}
        assert [session.initiator for session in state.sessions] == [keeps.initiator]
        assert state.addresses == ()
        for initiator in ('iqn.2010-10.org.openstack.test:x', stranger.initiator, comes.initiator):
            with pytest.raises(LoginRefused):
                volume.login(info, keeps, initiator=initiator)
    for grant in (keeps, comes):
        volume.login(info, grant).close()


def test_one_that_admits_everybody_is_restricted_and_nobody_notices(target: LioTarget, volume: Volume) -> None:
    grants = [volume.grant(number) for number in range(2)]
    info = volume.grant_all(target, grants[:1])  # type: ignore[arg-type]
    group = ROOT / 'iscsi' / info.iqn / 'tpgt_1'
    (group / 'attrib' / 'generate_node_acls').write_text('1')
    with volume.login(info, grants[0]) as session:
        target.restrict(volume.id, grants)
        session.read(0)
    assert set(target.list_exports()[volume.id].initiators) == {grant.initiator for grant in grants}
    assert target.list_exports()[volume.id].addresses == ()


def test_remove_leaves_nothing(target: LioTarget, volume: Volume) -> None:
    grants = [volume.grant(number) for number in range(3)]
    info = volume.grant_all(target, grants)  # type: ignore[arg-type]
    session = volume.login(info, grants[1])
    target.remove_export(volume.id)
    with pytest.raises(IoFailed):
        session.read(0)
    session._destroy()
    assert target.list_exports() == {}
    assert not (ROOT / 'iscsi' / info.iqn).exists()
    assert target._stores.find(volume.id) is None


def test_twenty_volumes_by_eight_threads(target: LioTarget, make_volume: Callable[[], Volume]) -> None:
    volumes = [make_volume() for _ in range(20)]
    foreign = ROOT / 'iscsi' / 'iqn.2001-01.org.example:foreign'
    foreign.mkdir()

    def live(volume: Volume) -> None:
        grants = [volume.grant(number) for number in range(3)]
        info = volume.grant_all(target, grants)  # type: ignore[arg-type]
        target.revoke(volume.id, grants[0].initiator, grants[0].username)
        volume.login(info, grants[1]).close()

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(live, volumes))
        states = target.list_exports()
        assert set(states) == {volume.id for volume in volumes}
        assert all(len(state.accounts) == 2 == len(state.initiators) for state in states.values())
        again = target.list_exports()
        assert all(again[ident] is state for ident, state in states.items())
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda volume: target.remove_export(volume.id), volumes))
        assert target.list_exports() == {}
        assert foreign.exists()
    finally:
        foreign.rmdir()


@pytest.mark.parametrize('write_cache', [True, False])
def test_write_cache_is_told_to_the_initiator(
    make_target: Callable[..., LioTarget], store: Store, write_cache: bool
) -> None:
    target = make_target(write_cache=write_cache)
    volume = Volume.make(store, target._portal)
    if volume.device.startswith('/dev'):
        pytest.skip('a block device has its own')
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with volume.login(info, grant) as session:
        page = session.mode_page(8)
    assert bool(page[2] & 0x04) is write_cache


# Logins that are held open, and a kernel that hangs -----------------------------------------


def begin_login(volume: Volume, iqn: str, initiator: str) -> socket.socket:
    """Begin to log in, and stop before the account is asked for."""
    host, _, port = volume.portal.rpartition(':')
    connection = socket.create_connection((host, int(port)), 10)
    keys = f'InitiatorName={initiator}\0SessionType=Normal\0TargetName={iqn}\0AuthMethod=CHAP\0'.encode()
    request = bytearray(login._make_request()[: login._HEADER.size])
    request[1] = 0x00  # stay at the security stage
    request[5:8] = len(keys).to_bytes(3)
    connection.sendall(bytes(request) + keys + bytes(-len(keys) % 4))
    assert connection.recv(48)
    return connection


def test_a_login_that_is_held_open_half_way_keeps_no_export(target: LioTarget, volume: Volume) -> None:
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with begin_login(volume, info.iqn, grant.initiator):
        cut = target.fence(volume.id, grant.initiator, grant.username, alone=True)
    assert (cut.acl, cut.account, cut.is_left) == (True, True, False)
    assert target.list_exports() == {}


def test_a_login_that_is_held_open_half_way_ends_with_the_fence(target: LioTarget, volume: Volume) -> None:
    grant, other = volume.grant(1), volume.grant(2)
    info = volume.grant_all(target, [grant, other])  # type: ignore[arg-type]
    with volume.login(info, other, comes_back=True) as stays, begin_login(volume, info.iqn, grant.initiator) as half:
        started = time.monotonic()
        cut = target.fence(volume.id, grant.initiator, grant.username)
        assert time.monotonic() - started < 20
        assert (cut.acl, cut.account, cut.is_left) == (True, True, False)
        half.settimeout(20)
        with contextlib.suppress(ConnectionError):
            while half.recv(4096):  # until the kernel hangs up
                pass
        stays.read(0)
    with pytest.raises(LoginRefused):
        volume.login(info, grant)


def write(session: Session) -> None:
    with contextlib.suppress(IoFailed):
        session.write(0, data(1))


@contextlib.contextmanager
def frozen(volume: Volume) -> Iterator[None]:
    """Have the disk of a volume, and of all that is kept beside it, not answer."""
    if volume.device.startswith('/dev'):
        pytest.skip('of files only')
    mount = next(one for one in Path(volume.device).parents if os.path.ismount(one))
    if str(mount) == '/':
        pytest.skip('the root is not to be frozen')
    # Whatever becomes of this process.
    thaw = subprocess.Popen(['sh', '-c', 'sleep 120; fsfreeze -u "$0"', mount])
    subprocess.run(['fsfreeze', '-f', mount], check=True)
    try:
        yield
    finally:
        thaw.kill()
        thaw.wait()
        subprocess.run(['fsfreeze', '-u', mount], check=True)


def fence_at_last(target: LioTarget, volume: Volume, grant: Grant) -> Cut:
    """Fence as a worker does, again and again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return target.fence(volume.id, grant.initiator, grant.username)
        except TargetUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_a_fence_waits_for_no_disk_that_hangs(make_target: Callable[..., LioTarget], store: Store) -> None:
    """Nothing is on its way to it, but it has what is registered, which is to be written anew."""
    target = make_target(timeout=2)
    volume = Volume.make(store, target._portal)
    grant, other = volume.grant(1), volume.grant(2)
    info = volume.grant_all(target, [grant, other])  # type: ignore[arg-type]
    with volume.login(info, grant) as session:
        session.reserve_out(REGISTER, 0, 0xABC0)
    with frozen(volume):
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(TargetUnavailable, match=r'has not ended|earlier'):
                target.fence(volume.id, grant.initiator, grant.username)
        assert time.monotonic() - started < 15
    cut = fence_at_last(target, volume, grant)
    assert not cut.is_left
    assert [one.initiator for one in target._memory.read(volume.id)] == []
    volume.login(info, other).close()


def test_processes_of_a_machine_exclude_each_other(make_target: Callable[..., LioTarget], store: Store) -> None:
    one, two = make_target(), make_target(timeout=1)
    volume = Volume.make(store, one._portal)
    with one._changing(volume.id), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(two.fence, volume.id, volume.grant(1).initiator, 'user')
        with pytest.raises(TargetUnavailable, match='another process'):
            asked.result()
    assert not two.fence(volume.id, volume.grant(1).initiator, 'user').acl


def test_a_disk_that_hangs_is_no_proof_and_keeps_nobody_else_waiting(
    make_target: Callable[..., LioTarget], store: Store, tmp_path: Path
) -> None:
    """The write of the fenced one is on its way; the file system is frozen, as a disk that does not answer."""
    target = make_target(timeout=2)
    volume = Volume.make(store, target._portal)
    grant, other = volume.grant(1), volume.grant(2)
    info = volume.grant_all(target, [grant, other])  # type: ignore[arg-type]
    session = volume.login(info, grant)
    with frozen(volume):
        threading.Thread(target=write, args=(session,), daemon=True).start()
        time.sleep(1)
        started = time.monotonic()
        with pytest.raises(TargetUnavailable, match='has not ended'):
            target.fence(volume.id, grant.initiator, grant.username)
        with pytest.raises(TargetUnavailable):
            target.fence(volume.id, grant.initiator, grant.username)
        assert target.list_exports().get(volume.id) is None  # nobody waits to read it
        assert time.monotonic() - started < 15
    assert not fence_at_last(target, volume, grant).is_left
    session._destroy()
    with volume.login(info, other) as stays:
        stays.read(0)
