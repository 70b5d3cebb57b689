# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a target is enough for a step, and is not relied on when somebody else was at it."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError, TargetUnavailable
from multiattach.drivers.targets.base import Export, Grant, TargetInfo
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.parse import Listing
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget

from .conftest import Volume
from .initiator import BLOCK, LoginRefused
from .test_exclusion import another
from .test_fence import Bench, bench  # noqa: F401 - a fixture

HAND = 'hand-made'


class Lists:
    """Counts how often tgtd is asked for the list of all targets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        show_targets = TgtDaemon.show_targets

        def count(daemon: TgtDaemon) -> Listing:
            self.asked += 1
            return show_targets(daemon)

        monkeypatch.setattr(TgtDaemon, 'show_targets', count)


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    return Lists(monkeypatch)


class Hand:
    """Somebody with tgtadm."""

    def __init__(self, tgtd: PrivateTgtd) -> None:
        self._number = str(tgtd.daemon.control_port)

    def do(self, mode: str, op: str, *words: str, tid: int | None = None) -> str:
        """Run tgtadm.

        :param words: further options, without their dashes.
        """
        more = [word if number % 2 else f'--{word}' for number, word in enumerate(words)]
        if tid is not None:
            more += ['--tid', str(tid)]
        argv = ['tgtadm', '-C', self._number, '--lld', 'iscsi', '--mode', mode, '--op', op, *more]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout

    def make_account(self, tid: int, user: str, secret: str = 'secret-of-a-hand') -> None:
        self.do('account', 'new', 'user', user, 'password', secret)
        self.do('account', 'bind', 'user', user, tid=tid)


@pytest.fixture
def hand(tgtd: PrivateTgtd) -> Hand:
    return Hand(tgtd)


class Scene:
    """A target that three initiators are admitted to."""

    def __init__(self, tgtd: PrivateTgtd, target: TgtTarget, volume: Volume) -> None:
        self.tgtd, self.target, self.volume = tgtd, target, volume
        self.grants = [volume.grant(number) for number in (1, 2, 3)]
        self.info: TargetInfo = volume.grant_all(target, self.grants)
        self.pid = tgtd.daemon.pid

    def grant(self, grant: Grant) -> None:
        self.info = self.target.grant(self.volume.id, self.volume.device, grant)

    def leave(self, step: str, grant: Grant) -> None:
        """Have an initiator leave by a step of the driver."""
        getattr(self.target, step)(self.volume.id, grant.initiator, grant.username)

    def check(self, *staying: Grant, left: tuple[str, ...] = ()) -> None:
        """See that these can log in, and have the only accounts but those that were *left*."""
        assert self.tgtd.daemon.pid == self.pid
        state = self.target.show(self.volume.id)
        assert state is not None
        assert set(state.accounts) == {*(grant.username for grant in staying), *left}
        for grant in staying:
            with self.volume.login(self.info, grant) as session:
                session.read(0)


@pytest.fixture
def scene(tgtd: PrivateTgtd, target: TgtTarget, volume: Volume) -> Scene:
    return Scene(tgtd, target, volume)


# Without the list -------------------------------------------------------------------------


def test_no_step_asks_for_the_list_of_all_targets(bench: Bench, lists: Lists) -> None:  # noqa: F811
    """It is what takes longer with each volume beside."""
    volume_id = bench.d.make_volume('multi')
    rows = [bench.attach(volume_id, host) for host in ('one', 'two', 'three')]
    bench.write(rows[0], 0)
    [first] = bench.fence(rows[0])
    assert first.proof is not None
    assert first.proof['cut']['acl']
    assert first.proof['cut']['account']
    bench.fence(rows[0])  # again
    bench.d.engine.attachments.delete(bench.d.ctx, rows[2].id)
    bench.write(rows[1], 1)
    [last] = bench.fence(rows[1])
    assert last.proof is not None
    assert last.proof['cut']['acl']
    assert last.proof['cut']['account']
    for row in rows[:2]:
        bench.d.engine.attachments.delete(bench.d.ctx, row.id)
    bench.d.engine.volumes.delete(bench.d.ctx, volume_id)
    bench.d.wait(lambda: bench.d.status(volume_id) is None)
    assert lists.asked == 0


def test_an_extend_does_not_either(lists: Lists, target: TgtTarget, volume: Volume) -> None:
    info, size = target.grant(volume.id, volume.device, grant := volume.grant(1)), volume.size
    volume.grow()
    target.extend(volume.id, volume.device)
    assert lists.asked == 0
    with volume.login(info, grant) as session:
        assert volume.size > size
        session.read(volume.size // BLOCK - 1)


def test_the_first_who_leaves_others_behind_costs_a_list(lists: Lists, scene: Scene) -> None:
    """All accounts come off for a moment, and with them the need for one: nobody is to be admitted unseen."""
    scene.leave('revoke', scene.grants[2])
    assert lists.asked == 0
    scene.leave('revoke', scene.grants[0])
    assert lists.asked == 1
    scene.check(scene.grants[1])


def test_a_target_that_is_not_known_costs_one_list(
    lists: Lists, tgtd: PrivateTgtd, scene: Scene, tmp_path: Path
) -> None:
    """As for a worker that was started anew; then it knows the target."""
    scene.target = another(tgtd, tmp_path / 'targets')
    scene.leave('fence', scene.grants[1])
    assert lists.asked == 1
    scene.grant(scene.volume.grant(4))
    assert lists.asked == 1
    scene.leave('revoke', scene.grants[2])  # accounts that it did not make
    assert lists.asked == 2
    scene.leave('fence', scene.grants[0])
    assert lists.asked == 2


# Another process of ours ------------------------------------------------------------------


def test_what_another_worker_changed_is_read_again(
    tgtd: PrivateTgtd, target: TgtTarget, make_volume: Callable[[], Volume], tmp_path: Path
) -> None:
    """Nothing that tgtd answers to the next step tells it."""
    volume, elsewhere = make_volume(), make_volume()
    assert volume.store is not None
    assert elsewhere.store is not None
    volume.store.write(volume.id, 0, b'here'.ljust(BLOCK))
    elsewhere.store.write(elsewhere.id, 0, b'there'.ljust(BLOCK))
    one = volume.grant(1)
    target.grant(volume.id, volume.device, one)
    another(tgtd, tmp_path / 'targets').grant(volume.id, elsewhere.device, volume.grant(2))
    with volume.login(target.grant(volume.id, volume.device, one), one) as session:
        assert session.read(0).startswith(b'here')


@pytest.mark.parametrize('step', ['revoke', 'fence'])
def test_accounts_of_another_worker_are_known_before_some_come_off(
    scene: Scene, tgtd: PrivateTgtd, tmp_path: Path, step: str
) -> None:
    late = scene.volume.grant(4)
    another(tgtd, tmp_path / 'targets').grant(scene.volume.id, scene.volume.device, late)
    scene.leave(step, scene.grants[1])
    scene.check(scene.grants[0], scene.grants[2], late)


def test_a_worker_that_was_killed_half_way_leaves_its_mark(scene: Scene, tgtd: PrivateTgtd) -> None:
    """What it leaves is a target that nobody can log in to."""
    dies = f"""
        import os
        from multiattach.drivers.targets.tgt.daemon import TgtDaemon
        prefix, _, number = {tgtd.daemon.socket_path!r}.rpartition('.')
        daemon = TgtDaemon(int(number), socket_prefix=prefix)
        with daemon.changing({scene.info.iqn!r}):
            daemon.set_open({scene.info.tid}, False)
            os._exit(7)
    """
    assert subprocess.run([sys.executable, '-c', textwrap.dedent(dies)], timeout=60).returncode == 7
    with pytest.raises(LoginRefused):
        scene.volume.login(scene.info, scene.grants[0])
    scene.grant(scene.grants[0])
    scene.check(*scene.grants)


def test_a_file_of_marks_that_was_emptied_is_none_of_ours(lists: Lists, scene: Scene) -> None:
    """As by a tgtd that found no room, or by whoever tidies up."""
    Path(f'{scene.tgtd.daemon.socket_path}.lock').write_bytes(b'')
    scene.leave('fence', scene.grants[0])
    assert lists.asked == 1
    scene.leave('fence', scene.grants[1])
    assert lists.asked == 1


def break_off(scene: Scene, monkeypatch: pytest.MonkeyPatch, request: str) -> Grant:
    """Grant the volume to one more, and have a request to tgtd fail; return the grant."""
    late = scene.volume.grant(4)

    def fail(daemon: TgtDaemon, tid: int, name: str) -> None:
        raise TargetUnavailable('gone')

    with monkeypatch.context() as patched:
        patched.setattr(TgtDaemon, request, fail)
        with pytest.raises(TargetUnavailable, match='gone'):
            scene.grant(late)
    return late


def test_a_step_that_failed_is_not_built_on(scene: Scene, monkeypatch: pytest.MonkeyPatch, lists: Lists) -> None:
    """Its account is at the target, and the step did not get so far that it could say so."""
    late = break_off(scene, monkeypatch, 'bind_initiator')
    asked = lists.asked
    scene.leave('fence', scene.grants[0])
    assert lists.asked == asked + 1
    scene.check(*scene.grants[1:], left=(late.username,))


# By hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize('step', ['revoke', 'fence'])
@pytest.mark.parametrize('number', [0, 1, 2])
def test_an_account_that_was_added_by_hand_leaves_no_hole(scene: Scene, hand: Hand, step: str, number: int) -> None:
    """Behind those that are remembered; tgtd ends with a segmentation fault when it shows a target with a hole."""
    hand.make_account(scene.info.tid, HAND)
    scene.leave(step, scene.grants.pop(number))
    scene.check(*scene.grants, left=(HAND,))
    scene.leave(step, scene.grants.pop(0))
    scene.check(*scene.grants, left=(HAND,))


@pytest.mark.parametrize('alone', [False, True])
def test_a_target_with_an_account_that_was_added_by_hand_is_removed(scene: Scene, hand: Hand, alone: bool) -> None:
    hand.make_account(scene.info.tid, HAND)
    if alone:
        cut = scene.target.fence(scene.volume.id, scene.grants[0].initiator, scene.grants[0].username, alone=True)
        assert (cut.acl, cut.account, cut.whole) == (True, True, True)
    else:
        scene.target.remove_export(scene.volume.id)
    assert scene.target.list_exports() == {}
    assert scene.tgtd.daemon.show_accounts() == []
    assert scene.tgtd.daemon.pid == scene.pid


def test_an_account_by_hand_at_a_neighbour_is_seen_by_the_neighbours_steps(
    scene: Scene, target: TgtTarget, make_volume: Callable[[], Volume], hand: Hand
) -> None:
    """By the time the neighbour's turn comes, its name is known already: from the list that the first one read."""
    first = make_volume()
    leaves = [first.grant(number) for number in (1, 2)]
    first.grant_all(target, leaves)
    hand.make_account(scene.info.tid, HAND)
    target.fence(first.id, leaves[1].initiator, leaves[1].username)
    scene.leave('fence', scene.grants[1])
    scene.check(scene.grants[0], scene.grants[2], left=(HAND,))


@pytest.mark.parametrize('step', ['revoke', 'fence'])
def test_an_account_that_was_deleted_by_hand_does_not_stop_a_step(scene: Scene, hand: Hand, step: str) -> None:
    hand.do('account', 'delete', 'user', scene.grants[2].username)
    scene.leave(step, scene.grants[1])
    scene.check(scene.grants[0])


@pytest.mark.parametrize('how', ['delete', 'unbind'])
def test_an_account_that_was_taken_off_by_hand_comes_back_with_a_grant(scene: Scene, hand: Hand, how: str) -> None:
    tid = None if how == 'delete' else scene.info.tid
    hand.do('account', how, 'user', scene.grants[2].username, tid=tid)
    with pytest.raises(LoginRefused):
        scene.volume.login(scene.info, scene.grants[2])
    scene.grant(scene.grants[2])
    scene.check(*scene.grants)
    scene.leave('fence', scene.grants[0])
    scene.check(*scene.grants[1:])


@pytest.mark.parametrize('number', [1, 2])
def test_an_account_that_was_taken_off_by_hand_is_in_no_proof(scene: Scene, hand: Hand, number: int) -> None:
    hand.do('account', 'unbind', 'user', scene.grants[2].username, tid=scene.info.tid)
    leaves = scene.grants[number]
    cut = scene.target.fence(scene.volume.id, leaves.initiator, leaves.username)
    assert (cut.acl, cut.account, cut.is_left) == (True, number == 1, False)
    scene.check(*scene.grants[:number], left=())


@pytest.mark.parametrize('number', [1, 2])
def test_nor_is_one_of_a_target_that_is_removed(scene: Scene, hand: Hand, number: int) -> None:
    hand.do('account', 'unbind', 'user', scene.grants[2].username, tid=scene.info.tid)
    leaves = scene.grants[number]
    cut = scene.target.fence(scene.volume.id, leaves.initiator, leaves.username, alone=True)
    assert (cut.acl, cut.account, cut.is_left) == (True, number == 1, False)
    assert scene.target.list_exports() == {}
    assert leaves.username not in scene.tgtd.daemon.show_accounts()


def test_accounts_that_were_made_again_in_another_order_leave_no_hole(scene: Scene, hand: Hand) -> None:
    """The same names, and a release of ours that leaves no mark does so when it starts."""
    for grant in reversed(scene.grants):
        hand.do('account', 'delete', 'user', grant.username)
    for grant in reversed(scene.grants):
        hand.make_account(scene.info.tid, grant.username, grant.secret)
    scene.leave('fence', scene.grants[1])
    scene.check(scene.grants[0], scene.grants[2])


@pytest.mark.parametrize('step', ['revoke', 'fence'])
def test_a_target_that_tgt_admin_made_again_is_read_again(scene: Scene, tmp_path: Path, step: str) -> None:
    """``systemctl reload tgt`` does so where nobody is logged in: number and accounts stay, their order is the file's.

    With the one that is remembered, a hole would be left in the target.
    """
    for _ in range(2):
        scene.grant(scene.grants[0])  # in the file it is the last one now
        include = tmp_path / 'targets.conf'
        include.write_text(f'include {tmp_path}/targets/*\n')
        number = str(scene.tgtd.daemon.control_port)
        argv = ['tgt-admin', '-C', number, '--update', 'ALL', '-c', str(include)]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        scene.leave(step, scene.grants.pop())
        scene.check(*scene.grants)


@pytest.mark.parametrize('step', ['grant', 'revoke', 'fence'])
@pytest.mark.parametrize('place', [0, 1])
def test_an_account_of_ours_that_was_bound_by_hand_leaves_no_hole(
    scene: Scene, hand: Hand, monkeypatch: pytest.MonkeyPatch, step: str, place: int
) -> None:
    """A step that failed has left it; all that tgtd has is known, and the target's own are as old as they were."""
    late = break_off(scene, monkeypatch, 'bind_account')
    scene.leave('revoke', scene.grants.pop())
    for grant in reversed(scene.grants[place:]):
        hand.do('account', 'unbind', 'user', grant.username, tid=scene.info.tid)
    for grant in (late, *scene.grants[place:]):
        hand.do('account', 'bind', 'user', grant.username, tid=scene.info.tid)
    taken, delete = [], TgtDaemon.delete_account

    def look(daemon: TgtDaemon, user: str) -> None:
        delete(daemon, user)
        taken.append(user)
        daemon.show_targets()  # as others may at any time

    with monkeypatch.context() as patched:
        patched.setattr(TgtDaemon, 'delete_account', look)
        if step == 'grant':
            scene.grant(late)
            scene.grants.append(late)
        else:
            scene.leave(step, late)
    assert taken == [late.username]
    scene.check(*scene.grants)


def test_what_no_answer_tells_the_next_list_does(scene: Scene, hand: Hand) -> None:
    """The accounts are the same ones, bound in another order: the reconciler reads the list once in a while."""
    for op, grants in (('unbind', scene.grants[::-1]), ('bind', scene.grants[::-1])):
        for grant in grants:
            hand.do('account', op, 'user', grant.username, tid=scene.info.tid)
    scene.target.list_exports()
    scene.leave('fence', scene.grants[1])
    scene.check(scene.grants[0], scene.grants[2])


def test_nobody_who_was_admitted_by_hand_enters_without_an_account(
    scene: Scene, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, tried = 'iqn.2010-10.org.openstack.test:by-hand', []
    hand.do('target', 'bind', 'initiator-name', name, tid=scene.info.tid)
    unbind = TgtDaemon.unbind_account

    def knock(daemon: TgtDaemon, tid: int, user: str) -> None:
        unbind(daemon, tid, user)
        with pytest.raises(LoginRefused):
            scene.volume.login(scene.info, scene.grants[0], initiator=name, user='', secret='')
        tried.append(user)

    with monkeypatch.context() as patched:
        patched.setattr(TgtDaemon, 'unbind_account', knock)
        scene.leave('revoke', scene.grants[0])
    assert tried == [grant.username for grant in reversed(scene.grants)]
    scene.check(*scene.grants[1:])


def test_whoever_was_admitted_by_hand_is_cut_off_like_others(scene: Scene, hand: Hand) -> None:
    name = 'iqn.2010-10.org.openstack.test:by-hand'
    hand.do('target', 'bind', 'initiator-name', name, tid=scene.info.tid)
    cut = scene.target.fence(scene.volume.id, name, '')
    assert (cut.acl, cut.is_left) == (True, False)
    state = scene.target.show(scene.volume.id)
    assert state is not None
    assert name not in state.initiators


def test_a_proof_does_not_say_that_a_name_was_taken_away_that_was_gone(scene: Scene, hand: Hand) -> None:
    hand.do('target', 'unbind', 'initiator-name', scene.grants[0].initiator, tid=scene.info.tid)
    cut = scene.target.fence(scene.volume.id, scene.grants[0].initiator, scene.grants[0].username)
    assert (cut.acl, cut.account, cut.is_left) == (False, True, False)


def test_a_name_that_was_taken_away_by_hand_comes_back_with_a_grant(scene: Scene, hand: Hand) -> None:
    hand.do('target', 'unbind', 'initiator-name', scene.grants[0].initiator, tid=scene.info.tid)
    scene.grant(scene.grants[0])
    scene.check(*scene.grants)


def test_whoever_repairs_looks_at_the_target(scene: Scene, hand: Hand) -> None:
    hand.do('target', 'bind', 'initiator-address', 'ALL', tid=scene.info.tid)
    hand.do('target', 'bind', 'initiator-name', 'iqn.2010-10.org.openstack.test:by-hand', tid=scene.info.tid)
    hand.do('target', 'update', 'name', 'state', 'value', 'offline', tid=scene.info.tid)
    scene.target.ensure_export(Export(scene.volume.id, scene.volume.device, tuple(scene.grants)))
    state = scene.target.show(scene.volume.id)
    assert state is not None
    assert state.is_open
    assert state.addresses == ()
    assert set(state.initiators) == {grant.initiator for grant in scene.grants}
    scene.check(*scene.grants)


@pytest.mark.parametrize('step', ['grant', 'revoke', 'fence', 'last', 'remove'])
def test_a_target_that_was_deleted_by_hand_is_not_believed_in(scene: Scene, hand: Hand, step: str) -> None:
    hand.do('target', 'delete', 'force', tid=scene.info.tid)
    one = scene.grants[0]
    if step == 'grant':
        scene.grant(one)
        scene.check(one)
        return
    if step == 'last':
        cut = scene.target.fence(scene.volume.id, one.initiator, one.username, alone=True)
        assert (cut.acl, cut.account, cut.whole) == (False, False, True)
    elif step == 'remove':
        scene.target.remove_export(scene.volume.id)
    else:
        scene.leave(step, one)
    assert scene.target.list_exports() == {}
    assert one.username not in scene.tgtd.daemon.show_accounts()


def test_a_number_of_another_tgtd_is_another_target(
    scene: Scene, tgtd: PrivateTgtd, hand: Hand, tmp_path: Path
) -> None:
    device = tmp_path / 'other'
    device.write_bytes(bytes(1 << 20))
    tgtd.kill()
    tgtd.start()
    hand.do('target', 'new', 'targetname', 'iqn.2010-10.org.example:other', tid=scene.info.tid)
    hand.do('logicalunit', 'new', 'lun', '1', 'backing-store', str(device), tid=scene.info.tid)
    scene.pid, before = tgtd.daemon.pid, scene.info.tid
    scene.grant(scene.grants[0])
    assert scene.info.tid != before
    scene.check(scene.grants[0])
    other = tgtd.daemon.show_targets().find('iqn.2010-10.org.example:other')
    assert other is not None
    assert (other.accounts, other.initiators) == ([], [])


def test_an_account_that_others_name_is_looked_up_each_time(
    lists: Lists, target: TgtTarget, make_volume: Callable[[], Volume], tgtd: PrivateTgtd, hand: Hand
) -> None:
    """Cinder may give one account to all targets; one that is bound elsewhere must not be deleted."""
    volume, other = make_volume(), make_volume()
    taken, behind = Grant(volume.grant(1).initiator, 'cinder', volume.grant(1).secret), other.grant(2)
    target.grant(other.id, other.device, behind)
    volume.grant_all(target, [volume.grant(3), taken])
    hand.do('target', 'new', 'targetname', 'iqn.2010-10.org.openstack:volume-of-cinder', tid=5)
    for user in ('cinder', behind.username):
        hand.do('account', 'bind', 'user', user, tid=5)
    target.fence(volume.id, taken.initiator, taken.username)
    assert lists.asked
    found = tgtd.daemon.show_targets().find('iqn.2010-10.org.openstack:volume-of-cinder')
    assert found is not None
    assert found.accounts == ['cinder', behind.username]


def test_a_target_that_somebody_made_again_is_no_proof(
    scene: Scene, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another number, at once after it was removed."""
    delete = TgtDaemon.delete_target

    def make_again(daemon: TgtDaemon, tid: int, *, force: bool = False) -> None:
        delete(daemon, tid, force=force)
        hand.do('target', 'new', 'targetname', scene.info.iqn, tid=7)

    one = scene.grants[0]
    with monkeypatch.context() as patched:
        patched.setattr(TgtDaemon, 'delete_target', make_again)
        with pytest.raises(TargetError, match=r'made target iqn.* again'):
            scene.target.fence(scene.volume.id, one.initiator, one.username, alone=True)
    cut = scene.target.fence(scene.volume.id, one.initiator, one.username, alone=True)
    assert cut.whole
    assert list(scene.tgtd.daemon.show_targets()) == []
