# SPDX-License-Identifier: Apache-2.0
"""Targets are read right, whatever initiators say in tgtd's list of them."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings, strategies as st

from multiattach.drivers.targets.tgt.parse import Listing, Nexus, ShownTarget, tells_of
from multiattach.drivers.targets.tgt.roster import Roster

PID = 4711
MOST_INFO = 1023  # bytes of a session's text: tgtd cuts it there


@dataclass(frozen=True)
class Real:
    """A target as tgtd has it."""

    tid: int
    iqn: str
    accounts: tuple[str, ...] = ('user',)
    initiators: tuple[str, ...] = ('iqn.x:one',)
    aliases: tuple[str, ...] = ()
    state: str = 'ready'

    def write(self) -> str:
        """Write it as tgt_target_show_all does."""
        nexuses = ''.join(self._write_nexus(number, alias) for number, alias in enumerate(self.aliases, 1))
        return (
            f'Target {self.tid}: {self.iqn}\n    System information:\n        Driver: iscsi\n'
            f'        State: {self.state}\n    I_T nexus information:\n{nexuses}    LUN information:\n'
            '        LUN: 0\n            Type: controller\n            Online: Yes\n'
            f'            Backing store path: None\n        LUN: 1\n            SCSI ID: {self.tid:032x}\n'
            f'            Online: Yes\n            Backing store path: /v/{self.tid}\n'
            '    Account information:\n'
            + ''.join(f'        {one}\n' for one in self.accounts)
            + '    ACL information:\n'
            + ''.join(f'        {one}\n' for one in self.initiators)
        )

    def _write_nexus(self, number: int, alias: str) -> str:
        info = (
            f'            Initiator: iqn.x:one alias: {alias}\n            Connection: 0\n'
            '                IP Address: 192.0.2.1\n'
        )
        return f'        I_T nexus: {number}\n{info[:MOST_INFO]}'

    def shown(self) -> ShownTarget:
        calm = Real(self.tid, self.iqn, self.accounts, self.initiators, (), self.state)
        found = Listing(calm.write()).find(self.iqn)
        assert found is not None
        return found


def read(targets: list[Real], roster: Roster) -> tuple[dict[str, ShownTarget], set[int]]:
    """Read tgtd's list, and once more if it may be of the moment before a target was removed."""
    text = ''.join(one.write() for one in targets)
    for _ in range(2):
        exists = {one.tid for one in targets}.__contains__
        heads, doubted, stale = roster.resolve(text, PID, exists, roster.list_absent())
        if not stale:
            break
    assert not stale
    if doubted:
        return {}, doubted
    return {one.iqn: one for one in Listing(text, heads)}, set()


def teach(targets: list[Real]) -> Roster:
    """A roster that has seen these targets without anybody logged in."""
    roster = Roster()
    read([Real(one.tid, one.iqn) for one in targets], roster)
    return roster


NAMES = st.sampled_from(['iqn.v:a', 'iqn.v:b', 'iqn.v:c', 'iqn.v:d'])
LINES = st.one_of(
    st.builds('Target {}: {}'.format, st.integers(1, 6), NAMES),
    st.sampled_from(
        [
            '    System information:',
            '        State: offline',
            '        State: ready',
            '    I_T nexus information:',
            '        I_T nexus: 1',
            '            Initiator: iqn.x:one alias: x',
            '            Connection: 0',
            '                IP Address: 192.0.2.9',
            '    LUN information:',
            '        LUN: 1',
            '            Online: No',
            '            Backing store path: /etc/passwd',
            '    Account information:',
            '        forged',
            '    ACL information:',
            '        ALL',
            '        iqn.x:forged',
            '',
            'Target',
            'Target : ',
        ]
    ),
    st.text(max_size=30),
)
ALIASES = st.lists(LINES, max_size=25).map(lambda lines: 'x\n' + '\n'.join(lines))
SETS = st.lists(ALIASES, max_size=2).map(tuple)


@settings(max_examples=500, deadline=None)
@given(SETS, SETS, SETS)
def test_no_alias_changes_what_is_read_of_targets_that_are_known(
    first: tuple[str, ...], second: tuple[str, ...], third: tuple[str, ...]
) -> None:
    """Nothing but a whole copy of a heading is in doubt, and then nothing is said at all."""
    targets = [
        Real(1, 'iqn.v:a', aliases=first),
        Real(3, 'iqn.v:b', accounts=('u', 'v'), aliases=second),
        Real(5, 'iqn.v:c', initiators=('iqn.x:two', 'iqn.x:one'), aliases=third),
    ]
    found, doubted = read(targets, teach(targets))
    if doubted:
        written = ''.join(alias for one in targets for alias in one.aliases)
        assert any(f'Target {one.tid}: {one.iqn}' in written for one in targets)
    else:
        assert found == {one.iqn: one.shown() for one in targets}


@settings(max_examples=500, deadline=None)
@given(SETS, SETS)
def test_nor_of_targets_that_a_worker_sees_for_the_first_time(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    targets = [Real(2, 'iqn.v:a', aliases=first), Real(4, 'iqn.v:b', state='offline', aliases=second)]
    found, doubted = read(targets, Roster())
    assert doubted or found == {one.iqn: one.shown() for one in targets}


@settings(max_examples=300, deadline=None)
@given(ALIASES)
def test_those_that_are_to_be_ended_are_among_the_writers(alias: str) -> None:
    """Ending the sessions of the targets that are named resolves each doubt in the end."""
    targets = [Real(1, 'iqn.v:a'), Real(3, 'iqn.v:b', aliases=(alias,)), Real(5, 'iqn.v:c')]
    for roster in (Roster(), teach(targets)):
        found, doubted = read(targets, roster)
        if not found:
            assert doubted
            assert 3 in doubted


def test_a_doubt_names_the_targets_whose_sessions_may_have_written_it() -> None:
    targets = [Real(1, 'iqn.v:a', aliases=('x\nTarget 3: iqn.v:b',)), Real(3, 'iqn.v:b'), Real(9, 'iqn.v:c')]
    assert read(targets, teach(targets)) == ({}, {1, 3})


def test_targets_that_are_not_there_are_left_out_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    targets = [Real(1, 'iqn.v:a', aliases=('x\nTarget 7: iqn.v:z\n    LUN information:\n',))]
    roster = Roster()
    for _ in range(3):
        found, _ = read(targets, roster)
        assert found == {'iqn.v:a': targets[0].shown()}
    assert [one.getMessage() for one in caplog.records if 'imitates' in one.getMessage()] == [
        caplog.records[0].getMessage()
    ]
    assert 'iqn.v:a' in caplog.records[0].getMessage()
    assert 'iqn.v:z' not in caplog.text  # no foreign text in logs


def test_an_alias_as_long_as_can_be_swallows_the_heading_of_the_units() -> None:
    target = Real(1, 'iqn.v:a', aliases=('y' * 2000,))
    assert 'yyy    LUN information:' in target.write()
    assert read([target, Real(2, 'iqn.v:b')], Roster())[0]['iqn.v:a'] == target.shown()


def test_a_target_that_took_the_number_of_another_is_known_by_its_own_name() -> None:
    roster = teach([Real(1, 'iqn.v:a')])
    assert set(read([Real(1, 'iqn.v:b')], roster)[0]) == {'iqn.v:b'}


def test_another_tgtd_has_other_targets() -> None:
    roster = teach([Real(1, 'iqn.v:a')])
    text = Real(1, 'iqn.v:a', aliases=('x\nTarget 2: iqn.v:b',)).write()
    asked: list[int] = []

    def exists(tid: int) -> bool:
        asked.append(tid)
        return tid == 1

    absent = frozenset({(2, 'iqn.v:b')})  # of the tgtd before
    assert roster.resolve(text, PID + 1, exists, absent)[2] == {1, 2}
    heads, doubted, stale = roster.resolve(text, PID + 1, exists, roster.list_absent())
    assert (asked, [head.tid for head in heads], doubted, stale) == ([1, 2, 1, 2], [1], set(), set())


def test_a_target_that_was_removed_since_says_nothing_of_the_one_before_it() -> None:
    """Another worker made it and removed it. What was said of it is not the accounts of its neighbour."""
    stays, goes = Real(1, 'iqn.v:a', accounts=('one', 'two')), Real(2, 'iqn.v:b', accounts=())
    roster = Roster()
    heads, doubted, stale = roster.resolve(stays.write() + goes.write(), PID, {1}.__contains__, roster.list_absent())
    assert (heads, doubted, stale) == ([], set(), {1, 2})
    assert read([stays], roster) == ({'iqn.v:a': stays.shown()}, set())


@pytest.mark.parametrize(
    ('alias', 'nexuses', 'plain'),
    [
        ('host', [Nexus(1, 'iqn.x:one')], True),
        ('host', [], False),
        ('host', [Nexus(2, 'iqn.x:one')], False),
        (
            'x\n            Connection: 0\n                IP Address: ::1\n        I_T nexus: 2\n'
            '            Initiator: iqn.x:two alias: y',
            [Nexus(1, 'iqn.x:one')],
            False,
        ),
    ],
)
def test_text_of_sessions_counts_only_when_it_is_what_tgtd_would_write(
    alias: str, nexuses: list[Nexus], plain: bool
) -> None:
    text = Real(1, 'iqn.v:a', aliases=(alias,)).write()
    assert tells_of(Listing(text).find_sessions('iqn.v:a'), nexuses) is plain
    assert tells_of('', [])
