# SPDX-License-Identifier: Apache-2.0
"""What is remembered of targets, and when it is not: the moments that a real tgtd cannot be stopped at."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.exclusion import Mark
from multiattach.drivers.targets.tgt.ledger import Ledger, View
from multiattach.drivers.targets.tgt.parse import Listing, Lun, ShownTarget

IQN = 'iqn.x:v'
GENERATION = 7
ONE, TWO = 'a' * 20, 'b' * 20


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Mark]:
    file = os.open(tmp_path / 'lock', os.O_RDWR | os.O_CREAT)
    yield Mark(file, 5)
    os.close(file)


def show(target: ShownTarget) -> str:
    return (
        f'Target {target.tid}: {target.iqn}\n    System information:\n        State: ready\n'
        '    I_T nexus information:\n    LUN information:\n        LUN: 0\n            Type: controller\n'
        '        LUN: 1\n            SCSI ID: id\n            Online: Yes\n            Backing store path: /dev/x\n'
        '    Account information:\n'
        + ''.join(f'        {user}\n' for user in target.accounts)
        + '    ACL information:\n'
        + ''.join(f'        {name}\n' for name in target.initiators)
    )


def make(*accounts: str, iqn: str = IQN, tid: int = 3) -> ShownTarget:
    return ShownTarget(tid, iqn, {1: Lun.make(1, '/dev/x', 'id')}, list(accounts), ['iqn.a'])


class Daemon:
    """What a view asks; *on_list* happens between a list's beginning and its end."""

    pinned_generation = GENERATION

    def __init__(self, ledger: Ledger, *targets: ShownTarget) -> None:
        self.ledger = ledger
        self.targets = list(targets)
        self.more: list[str] = []
        self.on_list = lambda: None

    def show_accounts(self) -> list[str]:
        return [*self.more, *(user for target in self.targets for user in reversed(target.accounts))]

    def show_targets(self) -> Listing:
        number, known = self.ledger.begin_list()
        listing = Listing(''.join(map(show, self.targets)))
        self.on_list()
        self.ledger.compare(listing, GENERATION, number, known)
        return listing


def step(ledger: Ledger, daemon: Daemon, mark: Mark, target: ShownTarget) -> None:
    """Do a step that ends well, and leaves a target so."""
    turn = ledger.begin(target.iqn, mark)
    turn.view = View(daemon, ledger, turn)
    turn.view.note_made(target)
    for user in target.accounts:
        ledger.expect(user, GENERATION)
    ledger.end(turn, GENERATION)


def recall(ledger: Ledger, mark: Mark, iqn: str = IQN) -> ShownTarget | None:
    """Begin a step and break it off."""
    entry = ledger.begin(iqn, mark).entry
    return entry.target if entry is not None else None


def test_what_a_step_left_is_remembered_until_one_breaks_off(mark: Mark) -> None:
    ledger, target = Ledger(), make(ONE)
    daemon = Daemon(ledger, target)
    step(ledger, daemon, mark, target)
    assert recall(ledger, mark) is target
    assert recall(ledger, mark) is None


def test_a_step_that_looks_at_nothing_leaves_it_as_it_was(mark: Mark) -> None:
    ledger, target = Ledger(), make(ONE)
    step(ledger, Daemon(ledger, target), mark, target)
    ledger.end(ledger.begin(IQN, mark), 0)
    assert recall(ledger, mark) is target


def test_each_of_two_processes_sees_that_the_other_was_there(mark: Mark) -> None:
    mine, theirs, target = Ledger(), Ledger(), make(ONE)
    step(mine, Daemon(mine, target), mark, target)
    step(theirs, Daemon(theirs, target), mark, target)
    assert recall(mine, mark) is None
    assert recall(theirs, mark) is None  # the one before has written its own


def test_a_target_that_shares_a_byte_is_not_mistaken(mark: Mark) -> None:
    ledger, one, other = Ledger(), make(ONE), make(TWO, iqn='iqn.y:v', tid=4)
    daemon = Daemon(ledger, one, other)
    step(ledger, daemon, mark, one)
    step(ledger, daemon, mark, other)
    assert recall(ledger, mark, other.iqn) is other
    assert recall(ledger, mark, one.iqn) is None


def test_without_a_mark_nothing_is_remembered(mark: Mark) -> None:
    ledger, target = Ledger(), make(ONE)
    step(ledger, Daemon(ledger, target), mark, target)
    assert ledger.begin(IQN, None).entry is None
    assert recall(ledger, mark) is None


def test_no_room_for_a_mark_takes_everybodys(mark: Mark, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mark.write(b'12345678')
    assert mark.read() == b'12345678'

    def fail(*_args: object) -> int:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'pwrite', fail)
    assert not mark.write(b'abcdefgh')
    assert mark.read() == b''
    monkeypatch.setattr(os, 'ftruncate', fail)
    with pytest.raises(TargetUnavailable, match='cannot be written: No space left'):
        mark.write(b'abcdefgh')


@pytest.mark.parametrize(
    'change',
    [
        lambda target: target.accounts.append('x'),
        lambda target: target.accounts.reverse(),
        lambda target: target.initiators.append('iqn.by-hand'),
        lambda target: target.addresses.append('ALL'),
        lambda target: setattr(target, 'is_open', False),
        lambda target: setattr(target, 'tid', 4),
        lambda target: setattr(target, 'luns', {}),
        lambda target: setattr(target, 'luns', {1: Lun.make(1, '/dev/y', 'id')}),
    ],
)
def test_what_a_list_contradicts_is_forgotten(mark: Mark, change) -> None:
    ledger, shown, remembered = Ledger(), make(ONE, TWO), make(ONE, TWO)
    daemon = Daemon(ledger, shown)
    step(ledger, daemon, mark, remembered)
    daemon.show_targets()
    ledger.end(ledger.begin(IQN, mark), 0)
    daemon.show_targets()  # says the same
    ledger.end(turn := ledger.begin(IQN, mark), 0)
    assert turn.entry is not None
    change(remembered)
    turn.entry.text = ''
    daemon.show_targets()
    turn = ledger.begin(IQN, mark)
    assert turn.entry is None or turn.entry.text


def test_a_target_that_is_in_no_list_is_forgotten(mark: Mark) -> None:
    ledger, target = Ledger(), make(ONE)
    step(ledger, Daemon(ledger, target), mark, target)
    Daemon(ledger).show_targets()
    assert recall(ledger, mark) is None


def test_what_changed_while_the_list_was_read_is_not_judged_by_it(mark: Mark) -> None:
    ledger, before, after = Ledger(), make(ONE), make(ONE, TWO)
    daemon = Daemon(ledger, before)
    step(ledger, daemon, mark, before)
    daemon.on_list = lambda: step(ledger, daemon, mark, after)
    daemon.show_targets()
    assert recall(ledger, mark) is after


def remember_and_meet(ledger: Ledger, daemon: Daemon, mark: Mark, target: ShownTarget) -> View:
    """Begin a step at a target that is remembered, where accounts are to come off."""
    turn = ledger.begin(target.iqn, mark)
    assert turn.entry is not None
    turn.view = View(daemon, ledger, turn, turn.entry.target)
    turn.view.confirm_accounts()
    ledger.end(turn, GENERATION)
    return turn.view


def test_a_foreign_account_is_looked_for_once(mark: Mark) -> None:
    ledger, target = Ledger(), make(ONE)
    daemon = Daemon(ledger, target)
    step(ledger, daemon, mark, target)
    assert remember_and_meet(ledger, daemon, mark, target).is_remembered
    daemon.more = ['foreign']
    assert not remember_and_meet(ledger, daemon, mark, target).is_remembered
    assert remember_and_meet(ledger, daemon, mark, target).is_remembered


def test_accounts_that_others_have_deleted_are_not_kept_for_good(mark: Mark) -> None:
    """A worker beside this one makes new ones all the time."""
    ledger, target = Ledger(), make(ONE)
    daemon = Daemon(ledger, target)
    for number in range(50):
        step(ledger, daemon, mark, target)
        daemon.more = [f'of-another-{number}']
        turn = ledger.begin(IQN, mark)
        turn.view = View(daemon, ledger, turn, target)
        turn.view.confirm_accounts()
        assert not turn.view.is_remembered
        ledger.end(turn, GENERATION)
    assert ledger._accounts == {ONE, *daemon.more}


def test_who_was_at_work_while_another_met_a_foreign_account_is_not_remembered(mark: Mark, tmp_path: Path) -> None:
    """It may have got the account after the list that the other one read: neither of them has seen that."""
    ledger, one, other = Ledger(), make(ONE), make(TWO, iqn='iqn.y:v', tid=4)
    daemon = Daemon(ledger, one, other)
    file = os.open(tmp_path / 'lock', os.O_RDWR)
    beside = Mark(file, 6)
    step(ledger, daemon, mark, one)
    step(ledger, daemon, beside, other)
    turn = ledger.begin(other.iqn, beside)
    assert turn.entry is not None
    turn.view = View(daemon, ledger, turn, turn.entry.target)
    daemon.more = ['foreign']
    remember_and_meet(ledger, daemon, mark, one)
    ledger.end(turn, GENERATION)
    assert recall(ledger, beside, other.iqn) is None
    step(ledger, daemon, beside, other)
    turn = ledger.begin(other.iqn, beside)
    assert turn.entry is not None
    turn.view = View(daemon, ledger, turn, turn.entry.target)
    daemon.more = ['foreign', 'another']
    remember_and_meet(ledger, daemon, mark, one)
    turn.view.confirm_accounts()  # the names are known by now, and yet
    assert not turn.view.is_remembered
    os.close(file)


def test_what_came_while_a_foreign_account_was_looked_for_is_not_remembered(mark: Mark, tmp_path: Path) -> None:
    """It was not compared with that list."""
    ledger, one, other = Ledger(), make(ONE), make(TWO, iqn='iqn.y:v', tid=4)
    daemon = Daemon(ledger, one, other)
    file = os.open(tmp_path / 'lock', os.O_RDWR)
    beside = Mark(file, 6)
    step(ledger, daemon, mark, one)
    daemon.more = ['foreign']
    daemon.on_list = lambda: step(ledger, daemon, beside, other)
    remember_and_meet(ledger, daemon, mark, one)
    assert recall(ledger, beside, other.iqn) is None
    assert recall(ledger, mark) is not None
    os.close(file)


@pytest.mark.parametrize('user', ['cinder', ONE.upper(), 'a' * 19])
def test_accounts_of_others_are_not_remembered(mark: Mark, user: str) -> None:
    ledger, target = Ledger(), make(user)
    step(ledger, Daemon(ledger, target), mark, target)
    assert recall(ledger, mark) is None


def test_another_tgtd_has_other_targets(mark: Mark) -> None:
    ledger, target = Ledger(), make(ONE)
    step(ledger, Daemon(ledger, target), mark, target)
    ledger.expect(TWO, GENERATION + 1)
    assert recall(ledger, mark) is None
