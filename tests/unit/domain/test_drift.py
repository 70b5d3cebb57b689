# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain import drift, states, target_drift
from multiattach.domain.drift import Drift
from multiattach.domain.states import Attachment
from multiattach.domain.target_drift import Recorded, Shown

ONE = Recorded(Attachment.ATTACHED, 'iqn.one', 'user1')
TWO = Recorded(Attachment.EXPORTED, 'iqn.two', 'user2')
SHARED = Recorded(Attachment.ATTACHED, 'address:192.0.2.7')
SHOWN = Shown(luns_online=True, initiators=['iqn.one'], accounts=['user1'], sessions=['iqn.one'])


def find(recorded: list[Recorded] | None, shown: Shown | None) -> list[tuple[str, str]]:
    return [(one.kind, one.about) for one in target_drift.compare('VOLUME', recorded, shown)]


@pytest.mark.parametrize(
    ('recorded', 'shown', 'found'),
    [
        ([ONE], SHOWN, []),
        ([], None, []),
        ([ONE, ONE], SHOWN, []),
        ([ONE], None, [(Drift.NO_TARGET, 'VOLUME')]),
        (None, Shown(True, [], [], []), [(Drift.NO_VOLUME, 'VOLUME')]),
        ([], Shown(True, [], [], []), [(Drift.UNUSED, 'VOLUME')]),
        ([ONE], Shown(False, ['iqn.one'], ['user1'], []), [(Drift.NO_LUN, 'VOLUME')]),
        ([ONE], Shown(True, ['iqn.one'], ['user1'], [], is_open=False), [(Drift.SHUT, 'VOLUME')]),
        ([ONE, TWO], SHOWN, [(Drift.SHUT_OUT, 'iqn.two'), (Drift.NO_ACCOUNT, 'user2')]),
        ([ONE], Shown(True, ['iqn.one', 'iqn.bad'], ['user1'], []), [(Drift.ADMITTED, 'iqn.bad')]),
        ([ONE], Shown(True, ['iqn.one'], ['user1', 'stray'], []), [(Drift.ACCOUNT, 'stray')]),
        ([ONE], Shown(True, ['iqn.one'], ['user1'], ['iqn.bad']), [(Drift.SESSION, 'iqn.bad')]),
        # Of a host that is known by its address the storage keeps nothing.
        ([SHARED], None, []),
        ([ONE, SHARED], SHOWN, []),
        ([SHARED], Shown(True, [], [], ['address:192.0.2.7']), []),
        ([ONE], Shown(True, ['iqn.one'], ['user1'], ['address:192.0.2.7']), [(Drift.SESSION, 'address:192.0.2.7')]),
    ],
)
def test_what_differs(recorded: list[Recorded] | None, shown: Shown | None, found: list[tuple[str, str]]) -> None:
    assert find(recorded, shown) == found


@pytest.mark.parametrize(
    ('logins', 'about'),
    [
        ([], None),
        ([('iqn.one', '10.0.0.1'), ('iqn.one', '10.0.0.1'), ('iqn.two', '10.0.0.2')], None),
        ([('iqn.one', ''), ('iqn.one', '10.0.0.1')], None),
        ([('iqn.one', '10.0.0.1:0/7'), ('iqn.one', '10.0.0.1:0/8')], None),
        ([('iqn.one', '10.0.0.1:0/7'), ('iqn.one', '10.0.0.2:0/7')], 'iqn.one: 10.0.0.1, 10.0.0.2'),
        ([('iqn.one', '10.0.0.2'), ('iqn.one', '10.0.0.1')], 'iqn.one: 10.0.0.1, 10.0.0.2'),
        (
            [('iqn.one', f'10.0.0.{number}') for number in range(1, 8)],
            'iqn.one: 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5 and 2 more',
        ),
    ],
)
def test_one_name_that_is_logged_in_from_several_addresses(logins: list[tuple[str, str]], about: str | None) -> None:
    shown = Shown(True, ['iqn.one'], ['user1'], ['iqn.one'], logins=logins)
    assert find([ONE], shown) == ([] if about is None else [(Drift.SHARED_LOGIN, about)])


def test_a_registration_that_no_attachment_names() -> None:
    shown = Shown(True, ['iqn.one'], ['user1'], [], registered=['IQN.ONE', 'iqn.bad'])
    assert find([ONE], shown) == [(Drift.STRAY_REGISTRATION, 'iqn.bad')]


@pytest.mark.parametrize('state', sorted(states.ON_TARGET - states.ADMITTED))
def test_a_step_in_flight_may_be_seen_before_and_after(state: str) -> None:
    going = Recorded(state, 'iqn.two', None)
    assert find([ONE, going], SHOWN) == []
    after = Shown(True, ['iqn.one', 'iqn.two'], ['user1', 'user2'], ['iqn.one', 'iqn.two'])
    assert find([ONE, going], after) == []
    assert find([going], None) == []


def test_states_that_are_on_no_target_need_none() -> None:
    for state in set(Attachment) - states.ON_TARGET:
        assert find([Recorded(state, 'iqn.one', 'user1')], None) == []


@pytest.mark.parametrize('kind', list(Drift))
def test_every_kind_has_a_row(kind: Drift) -> None:
    row = drift.TABLE[kind]
    assert row.kind is kind
    for text in (row.means, row.step):
        assert text[0].isupper() or text.startswith('libvirtd')
        assert text.endswith('.')
    assert row.seen[0].islower()
    assert row.action in (drift.Action.REPAIR, drift.Action.REPORT)
    assert row.grace >= 0
    # What may hold data is not taken away by a guess.
    assert row.account is not drift.Account.NOVA or row.is_firm


def test_the_rows_are_in_order_of_the_kinds() -> None:
    assert list(drift.TABLE) == list(Drift)


def test_only_kinds_of_targets_come_from_a_comparison() -> None:
    shown = Shown(False, ['iqn.bad'], ['stray'], ['iqn.bad'])
    for recorded in (None, [], [ONE]):
        for what in (None, shown):
            assert {one.kind for one in target_drift.compare('VOLUME', recorded, what)} <= set(drift.TARGET_KINDS)
