# SPDX-License-Identifier: Apache-2.0
"""The driver against a real tgtd, seen by a real initiator (libiscsi)."""

import dataclasses
import logging
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multiattach.domain import errors
from multiattach.domain.connection import wwn
from multiattach.drivers.errors import TargetError, TargetRequestInvalid, TargetUnavailable
from multiattach.drivers.targets.base import Export, Grant, generate_secret
from multiattach.drivers.targets.tgt.identity import scsi_id, scsi_serial
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.store import find_store
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.stores import Store
from tests.testbed.polling import look_until, wait_until

from .conftest import VOLUME_SIZE, Volume
from .initiator import BLOCK, IoFailed, LoginRefused, Session


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout


def url(volume: Volume, iqn: str, grant: Grant) -> str:
    return f'iscsi://{grant.username}%{grant.secret}@{volume.portal}/{iqn}/1'


def pattern(number: int) -> bytes:
    return bytes([number % 256]) * BLOCK


# Logging in -------------------------------------------------------------------------------


@pytest.mark.every_target
def test_right_chap_logs_in_and_reads(target: TgtTarget, volume: Volume) -> None:
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    assert info.iqn == f'iqn.2010-10.org.openstack:volume-{volume.id}'
    assert (info.lun, info.portal) == (1, volume.portal)
    with volume.login(info, grant) as session:
        assert session.read(0) == bytes(BLOCK)


@pytest.mark.parametrize(
    'name',
    [
        'fake',
        'iqn.1994-05.com.example:A_b-c.d:e',
        'initiator-address',
        'fake:initiator-name.targetname',
        'password.user-10',
        'h' * 223,
    ],
)
def test_a_name_of_any_form_is_told_as_it_is(tgtd: PrivateTgtd, target: TgtTarget, volume: Volume, name: str) -> None:
    grant = dataclasses.replace(volume.grant(1), initiator=name)
    info = target.grant(volume.id, volume.device, grant)
    shown = run('tgtadm', '-C', str(tgtd.daemon.control_port), '--op', 'show', '--mode', 'target')
    assert shown.split('ACL information:')[1].split() == [name]
    with volume.login(info, grant) as session:
        assert session.read(0) == bytes(BLOCK)
    with pytest.raises(LoginRefused):
        volume.login(info, grant, initiator='iqn.1994-05.com.example:other')


@pytest.mark.parametrize(
    'changes',
    [
        {'secret': 'wrongwrongwrong1'},
        {'user': '', 'secret': ''},
        {'user': 'nobody'},
        {'initiator': 'iqn.2010-10.org.openstack.test:stranger'},
    ],
)
@pytest.mark.every_target
def test_anything_else_is_refused(target: TgtTarget, volume: Volume, changes: dict[str, str]) -> None:
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with pytest.raises(LoginRefused):
        volume.login(info, grant, **changes)
    volume.login(info, grant).close()


@pytest.mark.every_target
def test_one_initiator_can_not_use_its_account_at_another_volume(
    target: TgtTarget, make_volume: Callable[[], Volume]
) -> None:
    first, second = make_volume(), make_volume()
    mine, other = first.grant(1), second.grant(1)
    target.grant(first.id, first.device, mine)
    info = target.grant(second.id, second.device, other)
    with pytest.raises(LoginRefused):
        second.login(info, mine)


@pytest.mark.every_target
def test_discovery_shows_only_what_is_granted(target: TgtTarget, make_volume: Callable[[], Volume]) -> None:
    first, second = make_volume(), make_volume()
    target.grant(first.id, first.device, first.grant(1))
    target.grant(second.id, second.device, second.grant(2))
    seen = run('iscsi-ls', '-i', first.grant(1).initiator, f'iscsi://{first.portal}')
    assert first.id in seen
    assert second.id not in seen
    nobody = run('iscsi-ls', '-i', 'iqn.2010-10.org.openstack.test:x', f'iscsi://{first.portal}')
    assert nobody.strip() == ''


def test_identity_is_made_from_the_uuid(target: TgtTarget, volume: Volume) -> None:
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with volume.login(info, grant) as session:
        page, serial = session.vital_page(0x83), session.vital_page(0x80)
    designators = []
    while page:
        designators.append((page[1] & 0x0F, page[4 : 4 + page[3]]))
        page = page[4 + page[3] :]
    t10, naa_local, naa = designators
    assert t10 == (1, scsi_id(volume.id).encode().ljust(36, b'\0'))
    assert (naa_local[0], naa_local[1].hex()[0], len(naa_local[1])) == (3, '3', 8)
    assert (naa[0], naa[1].hex()) == (3, wwn(volume.id))
    assert serial.decode() == scsi_serial(volume.id)
    shown = run('iscsi-inq', '-i', grant.initiator, url(volume, info.iqn, grant))
    assert 'Vendor:IET' in shown
    assert 'Product:VIRTUAL-DISK' in shown


# Sharing ----------------------------------------------------------------------------------


@pytest.mark.every_store
@pytest.mark.every_target
def test_written_through_one_login_is_read_through_another(target: TgtTarget, volume: Volume, store: Store) -> None:
    one, two = volume.grant(1), volume.grant(2)
    info = target.grant(volume.id, volume.device, one)
    assert target.grant(volume.id, volume.device, two) == info
    with volume.login(info, one) as first, volume.login(info, two) as second:
        first.write(5, pattern(7))
        assert second.read(5) == pattern(7)
        second.write(6, pattern(8))
        assert first.read(6) == pattern(8)
        # What is stored, too, is what was written, and the other way round.
        assert store.read(volume.id, 5 * BLOCK, 2 * BLOCK) == pattern(7) + pattern(8)
        store.write(volume.id, 7 * BLOCK, pattern(9))
        assert second.read(7) == pattern(9)


@pytest.mark.every_target
def test_forty_initiators_at_once(target: TgtTarget, volume: Volume) -> None:
    # More than the 16 and 32 slots after which tgtd grows its array of accounts.
    grants = [volume.grant(number) for number in range(40)]
    info = volume.grant_all(target, grants)
    with ThreadPoolExecutor(10) as pool:
        sessions = list(pool.map(lambda grant: volume.login(info, grant), grants))
        list(pool.map(lambda n: sessions[n].write(n, pattern(n + 1)), range(40)))
    assert [sessions[39 - n].read(n) for n in range(40)] == [pattern(n + 1) for n in range(40)]
    assert len(target.list_exports()[volume.id].sessions) == 40
    for session in sessions:
        session.close()


@pytest.mark.every_store
@pytest.mark.every_target
def test_revoked_session_dies_and_stays_out_while_another_reads_on(target: TgtTarget, volume: Volume) -> None:
    out, stays = volume.grant(1), volume.grant(2)
    target.grant(volume.id, volume.device, out)
    info = target.grant(volume.id, volume.device, stays)
    first, second = volume.login(info, out), volume.login(info, stays)
    reads, failures, stop = [0], [], threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            try:
                second.read(1)
                reads[0] += 1
            except IoFailed as error:
                failures.append(error)
                return

    first.write(1, pattern(1))
    reader = threading.Thread(target=read_on)
    reader.start()
    target.revoke(volume.id, out.initiator, out.username)
    at_revoke = reads[0]
    with pytest.raises(IoFailed):
        first.write(1, pattern(2))
    with pytest.raises(LoginRefused):
        volume.login(info, out)
    look_until(lambda: reads[0] >= at_revoke + 20 or failures, bool, 10, 0.01)
    stop.set()
    reader.join()
    assert not failures
    assert reads[0] >= at_revoke + 20
    assert second.read(1) == pattern(1)
    state = target.list_exports()[volume.id]
    assert state.initiators == (stays.initiator,)
    assert state.accounts == (stays.username,)
    assert [session.initiator for session in state.sessions] == [stays.initiator]
    volume.login(info, stays).close()
    second.close()
    first.close()


@pytest.mark.parametrize('leaver', range(5))
def test_whoever_leaves_the_others_log_in_again(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, leaver: int
) -> None:
    # tgtd itself crashes on "show" after an account in the middle was unbound.
    grants = [volume.grant(number) for number in range(5)]
    info = volume.grant_all(target, grants)
    pid = tgtd.pid
    target.revoke(volume.id, grants[leaver].initiator, grants[leaver].username)
    for number, grant in enumerate(grants):
        if number == leaver:
            with pytest.raises(LoginRefused):
                volume.login(info, grant)
        else:
            volume.login(info, grant).close()
    assert set(target.list_exports()[volume.id].accounts) == {
        grant.username for number, grant in enumerate(grants) if number != leaver
    }
    assert tgtd.pid == pid


def test_no_moment_without_chap_while_the_first_account_leaves(target: TgtTarget, volume: Volume) -> None:
    grants = [volume.grant(number) for number in range(6)]
    info = volume.grant_all(target, grants)
    stays = grants[5]
    entered, stop = [], threading.Event()

    def knock() -> None:
        while not stop.is_set():
            try:
                Session(volume.portal, info.iqn, stays.initiator).close()
                entered.append(1)
            except LoginRefused:
                pass

    thieves = [threading.Thread(target=knock) for _ in range(2)]
    for thief in thieves:
        thief.start()
    for _ in range(20):
        for leaves in grants[:5]:
            target.revoke(volume.id, leaves.initiator, leaves.username)
        for comes in grants[:5]:
            target.grant(volume.id, volume.device, comes)
        # The one that stays is at the first place now; it goes back to the last.
        target.revoke(volume.id, stays.initiator, stays.username)
        target.grant(volume.id, volume.device, stays)
    stop.set()
    for thief in thieves:
        thief.join()
    assert not entered


# Idempotence ------------------------------------------------------------------------------


@pytest.mark.every_target
def test_grant_again_changes_nothing(target: TgtTarget, volume: Volume) -> None:
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    before = target.list_exports()
    with volume.login(info, grant) as session:
        assert target.grant(volume.id, volume.device, grant) == info
        session.read(0)
    assert target.list_exports() == before


@pytest.mark.every_target
def test_grant_with_another_secret_replaces_it(target: TgtTarget, volume: Volume) -> None:
    old, other = volume.grant(1), volume.grant(2)
    target.grant(volume.id, volume.device, old)
    info = target.grant(volume.id, volume.device, other)
    new = Grant(old.initiator, old.username, generate_secret())
    target.grant(volume.id, volume.device, new)
    with pytest.raises(LoginRefused):
        volume.login(info, old)
    volume.login(info, new).close()
    volume.login(info, other).close()


def test_leftover_account_gets_the_new_secret(target: TgtTarget, tgtd: PrivateTgtd, volume: Volume) -> None:
    grant = volume.grant(1)
    tgtd.daemon.new_account(grant.username, 'leftleftleft1234')
    info = target.grant(volume.id, volume.device, grant)
    volume.login(info, grant).close()


def test_half_made_target_is_finished(target: TgtTarget, tgtd: PrivateTgtd, volume: Volume) -> None:
    grant = volume.grant(1)
    tgtd.daemon.new_target(3, target.iqn(volume.id))
    info = target.grant(volume.id, volume.device, grant)
    assert info.tid == 3
    lun = target.list_exports()[volume.id].luns[0]
    assert (lun.device, lun.online, lun.scsi_id) == (find_store(volume.device).path, True, scsi_id(volume.id))
    volume.login(info, grant).close()


@pytest.mark.parametrize('how', ['new', 'without its unit', 'extended'])
def test_what_is_opened_in_vain_is_closed_before_anybody_gets_in(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, how: str
) -> None:
    """A gateway that was lost while its worker stood still finds that out after it has opened the image."""
    one, two = volume.grant(1), volume.grant(2)
    if how != 'new':
        tid = target.grant(volume.id, volume.device, one).tid
    if how == 'without its unit':
        words = ('--op', 'delete', '--mode', 'logicalunit', '--tid', str(tid), '--lun', '1')
        run('tgtadm', '-C', str(tgtd.daemon.control_port), '--lld', 'iscsi', *words)
    seen = []

    def refuse() -> None:
        (shown,) = tgtd.daemon.show_targets()
        seen.append((shown.luns[1].online, shown.is_open and bool(shown.initiators)))
        raise errors.Conflict('It is lost.')

    target.confirm = refuse
    with pytest.raises(errors.Conflict, match='It is lost'):
        target.extend(volume.id, volume.device) if how == 'extended' else target.grant(volume.id, volume.device, two)
    assert seen == [(True, False)]
    assert target.list_exports() == {}
    target.confirm = lambda: None
    info = target.grant(volume.id, volume.device, two)
    with volume.login(info, two) as session:
        assert session.read(0) == bytes(BLOCK)


@pytest.mark.every_target
def test_revoke_and_remove_of_what_is_absent_succeed(target: TgtTarget, volume: Volume) -> None:
    grant = volume.grant(1)
    target.revoke(volume.id, grant.initiator, grant.username)
    target.remove_export(volume.id)
    target.grant(volume.id, volume.device, grant)
    target.revoke(volume.id, grant.initiator, grant.username)
    target.revoke(volume.id, grant.initiator, grant.username)
    target.remove_export(volume.id)
    target.remove_export(volume.id)


@pytest.mark.parametrize('end', [TgtTarget.revoke, TgtTarget.fence])
def test_an_account_that_a_crash_left_unbound_goes_with_the_last_initiator(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, end: Callable[..., object]
) -> None:
    """It was not the last one when the worker died between unbinding and deleting its account."""
    stays, leaves = volume.grant(1), volume.grant(2)
    info = volume.grant_all(target, [stays, leaves])
    target._drop_grant(volume.id, leaves.initiator, leaves.username)
    tgtd.daemon.unbind_initiator(info.tid, leaves.initiator)
    tgtd.daemon.unbind_account(info.tid, leaves.username)
    target.revoke(volume.id, stays.initiator, stays.username)
    assert tgtd.daemon.show_accounts() == [leaves.username]
    end(target, volume.id, leaves.initiator, leaves.username, alone=True)
    assert tgtd.daemon.show_accounts() == []
    assert target.list_exports() == {}


def test_ensure_makes_exactly_the_grants(target: TgtTarget, tgtd: PrivateTgtd, volume: Volume) -> None:
    stranger, keeps, comes = (volume.grant(number) for number in range(3))
    target.grant(volume.id, volume.device, stranger)
    info = target.grant(volume.id, volume.device, keeps)
    # Somebody opens the target for everybody.
    run(
        'tgtadm',
        '-C',
        str(tgtd.daemon.control_port),
        '--lld',
        'iscsi',
        '--op',
        'bind',
        '--mode',
        'target',
        '--tid',
        str(info.tid),
        '-I',
        'ALL',
    )
    with volume.login(info, stranger) as out, volume.login(info, keeps) as stays:
        again = target.ensure_export(Export(volume.id, volume.device, (keeps, comes)))
        assert again == info
        with pytest.raises(IoFailed):
            out.read(0)
        stays.read(0)
        state = target.list_exports()[volume.id]
        assert set(state.initiators) == {keeps.initiator, comes.initiator}
        assert set(state.accounts) == {keeps.username, comes.username}
        assert [session.initiator for session in state.sessions] == [keeps.initiator]
        for initiator in ('iqn.2010-10.org.openstack.test:x', stranger.initiator):
            with pytest.raises(LoginRefused):
                volume.login(info, keeps, initiator=initiator)
    for grant in (keeps, comes):
        volume.login(info, grant).close()
    assert not [a for t in tgtd.daemon.show_targets() for a in t.addresses]


def test_remove_leaves_nothing(target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, tmp_path: Path) -> None:
    grants = [volume.grant(number) for number in range(3)]
    info = volume.grant_all(target, grants)
    session = volume.login(info, grants[1])
    file = tmp_path / 'targets' / f'volume-{volume.id}'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    target.remove_export(volume.id)
    with pytest.raises(IoFailed):
        session.read(0)
    session.close()
    assert target.list_exports() == {}
    assert tgtd.daemon.show_targets().tids() == set()
    assert tgtd.daemon.show_accounts() == []
    assert list((tmp_path / 'targets').iterdir()) == []


@pytest.mark.every_target
def test_remove_while_everybody_writes(target: TgtTarget, volume: Volume) -> None:
    grants = [volume.grant(number) for number in range(4)]
    info = volume.grant_all(target, grants)
    sessions = [volume.login(info, grant) for grant in grants]
    life = target.generation()

    def write(session: Session) -> int:
        for count in range(1_000_000):
            try:
                session.write(count % 100, pattern(count) * 64)
            except IoFailed:
                return count
        return -1

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, session) for session in sessions]
        time.sleep(0.3)
        target.remove_export(volume.id)
        assert all(writer.result(30) > 0 for writer in writers)
    for session in sessions:
        session.close()
    assert target.generation() == life
    assert target.list_exports() == {}


# Many -------------------------------------------------------------------------------------


def test_twenty_volumes_by_eight_threads(
    target: TgtTarget, tgtd: PrivateTgtd, make_volume: Callable[[], Volume]
) -> None:
    volumes = [make_volume() for _ in range(20)]
    tgtd.daemon.new_target(1, 'iqn.2001-01.org.example:foreign')

    def life(volume: Volume) -> int:
        grants = [volume.grant(number) for number in range(3)]
        info = volume.grant_all(target, grants)
        target.revoke(volume.id, grants[0].initiator, grants[0].username)
        volume.login(info, grants[1]).close()
        return info.tid

    with ThreadPoolExecutor(8) as pool:
        tids = list(pool.map(life, volumes))
    assert len(set(tids)) == 20
    states = target.list_exports()
    assert set(states) == {volume.id for volume in volumes}
    assert all(len(state.accounts) == 2 == len(state.initiators) for state in states.values())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda volume: target.remove_export(volume.id), volumes))
    assert tgtd.daemon.show_accounts() == []
    assert tgtd.daemon.show_targets().tids() == {1}


def test_two_drivers_fight_for_the_same_numbers(tgtd: PrivateTgtd, make_volume: Callable[[], Volume]) -> None:
    drivers = [TgtTarget(tgtd.daemon, portal=tgtd.portal) for _ in range(4)]
    volumes = [make_volume() for _ in range(24)]
    with ThreadPoolExecutor(4) as pool:
        infos = list(
            pool.map(lambda n: drivers[n % 4].grant(volumes[n].id, volumes[n].device, volumes[n].grant(n)), range(24))
        )
    assert len({info.tid for info in infos}) == 24


# Restart ----------------------------------------------------------------------------------


@pytest.mark.every_store
def test_killed_tgtd_is_noticed_and_everything_comes_back(target: TgtTarget, tgtd: PrivateTgtd, volume: Volume) -> None:
    grants = tuple(volume.grant(number) for number in range(2))
    info = target.ensure_export(Export(volume.id, volume.device, grants))
    with volume.login(info, grants[0]) as session:
        session.write(3, pattern(9))
    before, shown = target.generation(), target.list_exports()
    assert target.generation() == before
    assert tgtd.pid is not None
    os.kill(tgtd.pid, signal.SIGKILL)
    wait_until(lambda: not tgtd.alive(), 10, 'the end of tgtd', 0.01)
    for attempt in (target.generation, target.check, target.list_exports):
        with pytest.raises(TargetUnavailable, match='no tgtd answers'):
            attempt()
    with pytest.raises(TargetUnavailable):
        target.revoke(volume.id, grants[0].initiator, grants[0].username)
    tgtd.start()
    target.check()
    assert target.generation() != before
    assert target.list_exports() == {}
    again = target.ensure_export(Export(volume.id, volume.device, grants))
    with volume.login(again, grants[1]) as session:
        assert session.read(3) == pattern(9)
    assert target.list_exports()[volume.id].accounts == shown[volume.id].accounts


def test_restart_in_the_middle_of_a_change_changes_nothing(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume
) -> None:
    target.grant(volume.id, volume.device, volume.grant(1))
    pinned, restarted = threading.Event(), threading.Event()

    def change() -> None:
        with tgtd.daemon.pinned():
            tgtd.daemon.show_targets()
            pinned.set()
            restarted.wait(30)
            tgtd.daemon.new_target(7, target.iqn(volume.id))

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        pinned.wait(10)
        tgtd.stop()
        tgtd.start()
        restarted.set()
        with pytest.raises(TargetUnavailable, match='restarted in the middle') as error:
            changing.result(30)
    assert not error.value.delivered
    assert target.list_exports() == {}


@pytest.mark.every_store
def test_tgt_admin_restores_an_equal_target(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume, tmp_path: Path
) -> None:
    grants = [volume.grant(number) for number in range(3)]
    for grant in grants:
        target.grant(volume.id, volume.device, grant)
    target.revoke(volume.id, grants[1].initiator, grants[1].username)
    before = target.list_exports()[volume.id]
    assert tgtd.pid is not None
    os.kill(tgtd.pid, signal.SIGKILL)
    wait_until(lambda: not tgtd.alive(), 10, 'the end of tgtd', 0.01)
    tgtd.start()
    main = tmp_path / 'targets.conf'
    main.write_text(f'default-driver iscsi\ninclude {tmp_path / "targets"}/*\n')
    run('tgt-admin', '-C', str(tgtd.daemon.control_port), '-c', str(main), '-e')
    after = target.list_exports()[volume.id]
    assert after.luns == before.luns
    assert set(after.initiators) == set(before.initiators)
    assert set(after.accounts) == set(before.accounts)
    info = target.grant(volume.id, volume.device, grants[0])
    for grant in (grants[0], grants[2]):
        volume.login(info, grant).close()
    for initiator in (grants[1].initiator, 'iqn.2010-10.org.openstack.test:stranger'):
        with pytest.raises(LoginRefused):
            volume.login(info, grants[0], initiator=initiator)


# Size, cache, secrets -----------------------------------------------------------------------


@pytest.mark.every_store
@pytest.mark.every_target
def test_extend_is_seen_under_io(target: TgtTarget, volume: Volume) -> None:
    one, two = volume.grant(1), volume.grant(2)
    target.grant(volume.id, volume.device, one)
    info = target.grant(volume.id, volume.device, two)
    beyond = VOLUME_SIZE // BLOCK
    with volume.login(info, one, comes_back=True) as first, volume.login(info, two, comes_back=True) as second:
        with pytest.raises(IoFailed):
            first.write(beyond, pattern(1))
        failures, writes, stop = [], [0], threading.Event()

        def write_on() -> None:
            while not stop.is_set():
                try:
                    second.write(writes[0] % 100, pattern(writes[0]))
                    writes[0] += 1
                except IoFailed as error:
                    failures.append(str(error))

        writer = threading.Thread(target=write_on)
        writer.start()
        for _ in range(10):
            volume.grow(VOLUME_SIZE)
            target.extend(volume.id, volume.device)
        stop.set()
        writer.join()
        assert not failures
        assert writes[0] > 0
        assert first.capacity() == VOLUME_SIZE * 11 == second.capacity()
        first.write(beyond * 11 - 1, pattern(5))
        assert second.read(beyond * 11 - 1) == pattern(5)


@pytest.mark.every_target
def test_extend_of_what_is_absent_fails(target: TgtTarget, volume: Volume) -> None:
    with pytest.raises(TargetError, match='no LUN'):
        target.extend(volume.id, volume.device)


@pytest.mark.parametrize('write_cache', [True, False])
def test_write_cache_is_told_to_the_initiator(tgtd: PrivateTgtd, volume: Volume, write_cache: bool) -> None:
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal, write_cache=write_cache)
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with volume.login(info, grant) as session:
        page = session.mode_page(8)
    assert bool(page[2] & 0x04) is write_cache


def test_no_secret_in_logs_errors_or_reprs(target: TgtTarget, volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    grant = volume.grant(1)
    texts = [repr(grant), repr(Export(volume.id, volume.device, (grant,)))]
    info = target.grant(volume.id, volume.device, grant)
    target.ensure_export(Export(volume.id, volume.device, (grant, volume.grant(2))))
    texts.append(repr(info))
    with pytest.raises(TargetError) as refused:
        target.grant(volume.id, '/nonexistent/device', grant)
    texts.append(repr(refused.value))
    bad = Grant(grant.initiator, grant.username, grant.secret + ',user=x')
    with pytest.raises(TargetRequestInvalid) as invalid:
        target.grant(volume.id, volume.device, bad)
    texts.append(repr(invalid.value))
    target.revoke(volume.id, grant.initiator, grant.username)
    target.remove_export(volume.id)
    assert 'make account' in caplog.text
    assert grant.secret not in caplog.text + ''.join(texts)


@pytest.mark.parametrize(
    'initiator',
    [
        'iqn.x:a,initiator-address=ALL',
        'initiator-address=ALL',
        'iqn.x:a initiator-address=ALL',
        'iqn.x:a\ninitiator-name iqn.y:b',
        'ALL',
        '',
        'iqn.' + 'x' * 300,
    ],
)
def test_odd_initiator_names_reach_nobody(target: TgtTarget, volume: Volume, initiator: str) -> None:
    with pytest.raises(TargetRequestInvalid):
        target.grant(volume.id, volume.device, Grant(initiator, 'user', generate_secret()))
    assert target.list_exports() == {}


def test_address_rules_of_half_a_configuration_are_taken_away(
    target: TgtTarget, tgtd: PrivateTgtd, volume: Volume
) -> None:
    tgtd.daemon.new_target(1, target.iqn(volume.id))
    run(
        'tgtadm',
        '-C',
        str(tgtd.daemon.control_port),
        '--lld',
        'iscsi',
        '--op',
        'bind',
        '--mode',
        'target',
        '--tid',
        '1',
        '-I',
        'ALL',
    )
    grant = volume.grant(1)
    info = target.grant(volume.id, volume.device, grant)
    with pytest.raises(LoginRefused):
        volume.login(info, grant, initiator='iqn.2010-10.org.openstack.test:x')


def test_an_account_that_another_target_has_is_left_where_it_is(tgtd, make_volume):
    """Nothing is taken off before it is known that it can be made again: a target without an account lets nobody in."""
    one, other = make_volume(), make_volume()
    grant = one.grant(1)
    first, second = (TgtTarget(tgtd.daemon, portal=tgtd.portal) for _ in range(2))
    info = first.grant(one.id, one.device, grant)
    tid = first.grant(other.id, other.device, other.grant(2)).tid
    tgtd.daemon.bind_account(tid, grant.username)
    with pytest.raises(TargetError, match='belongs to another target'):
        second.grant(one.id, one.device, grant)
    one.login(info, grant).close()
    tgtd.daemon.unbind_account(tid, grant.username)
