# SPDX-License-Identifier: Apache-2.0
"""No step may leave a hole in tgtd's account slots: seen here at a model of those slots."""

import random

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.tgt.accounts import AccountSlots, KnownSecrets
from multiattach.drivers.targets.tgt.ledger import Ledger, View
from multiattach.drivers.targets.tgt.parse import Listing, ShownTarget
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError


class Slots:
    """tgtd's array of accounts of one target, which fails as soon as it has a hole."""

    def __init__(self) -> None:
        self.accounts: dict[str, str] = {}
        self.bound: list[str] = []
        self.initiators: set[str] = set()
        self.fail_at: int | None = None
        self.elsewhere = ''
        self.listed = 0
        self.ledger = Ledger()

    def _step(self) -> None:
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                raise TargetUnavailable('gone')

    def _check_door(self) -> None:
        assert self.bound or not self.initiators, 'open without CHAP'

    def new_account(self, user: str, secret: str) -> None:
        self._step()
        if user in self.accounts:
            raise TgtError(ErrorCode.USER_EXISTS, 'x')
        self.accounts[user] = secret

    def delete_account(self, user: str) -> None:
        self._step()
        if user not in self.accounts:
            raise TgtError(ErrorCode.NO_USER, 'x')
        assert user not in self.bound[:-1], 'a hole'
        del self.accounts[user]
        if user in self.bound:
            self.bound.remove(user)
        self._check_door()

    def bind_account(self, tid: int, user: str) -> None:
        self._step()
        assert user in self.accounts
        if user in self.bound:
            raise TgtError(ErrorCode.USER_EXISTS, 'x')
        self.bound.append(user)

    def unbind_account(self, tid: int, user: str) -> None:
        self._step()
        assert self.bound[-1] == user, 'a hole'
        self.bound.pop()
        self._check_door()

    def bind_initiator(self, tid: int, initiator: str) -> None:
        self._step()
        self.initiators.add(initiator)
        self._check_door()

    def unbind_initiator(self, tid: int, initiator: str) -> None:
        self._step()
        self.initiators.discard(initiator)

    def shown(self) -> ShownTarget:
        return ShownTarget(1, 'iqn.x:v', accounts=list(self.bound), initiators=[*self.initiators])

    # What a view asks.

    pinned_generation = 1

    def show_accounts(self) -> list[str]:
        return list(reversed(self.accounts))

    def show_targets(self) -> Listing:
        self.listed += 1
        text = (
            'Target 1: iqn.x:v\n    I_T nexus information:\n    LUN information:\n    Account information:\n'
            + ''.join(f'        {user}\n' for user in self.bound)
            + '    ACL information:\n'
            + ''.join(f'        {name}\n' for name in self.initiators)
        )
        return Listing(text + self.elsewhere)

    def view(self, known: ShownTarget | None = None) -> View:
        """Begin a step; *known* is what is remembered of the target."""
        return View(self, self.ledger, self.ledger.begin('iqn.x:v', None), known)


def put(accounts: AccountSlots, view: View, wanted: dict[str, str], generation: int = 1) -> ShownTarget:
    assert view.target is not None
    accounts.put(view, view.target, wanted, generation)
    return view.target


def remove(accounts: AccountSlots, view: View, users: list[str]) -> ShownTarget:
    assert view.target is not None
    accounts.remove(view, view.target, users)
    return view.target


@pytest.mark.parametrize('remembers', [False, True])
def test_random_changes_never_leave_a_hole_or_an_open_door(remembers: bool) -> None:
    chance = random.Random(1)
    slots = Slots()
    accounts = AccountSlots(slots)  # type: ignore[arg-type]
    wished: dict[str, str] = {}
    known: ShownTarget | None = None
    for _ in range(2000):
        user = f'u{chance.randrange(8)}'
        if chance.random() < 0.5:
            wished[user] = f's{chance.randrange(3)}'
            known = put(accounts, slots.view(known if remembers else None), {user: wished[user]})
            slots.initiators.add(f'iqn.{user}')
            known.initiators = [*slots.initiators]
        else:
            wished.pop(user, None)
            slots.initiators.discard(f'iqn.{user}')
            shown = known.initiators if known is not None else []
            if f'iqn.{user}' in shown:
                shown.remove(f'iqn.{user}')
            known = remove(accounts, slots.view(known if remembers else None), [user])
        if known is not None:
            assert (known.accounts, set(known.initiators)) == (slots.bound, slots.initiators)
        assert slots.accounts == wished
        assert set(slots.bound) == set(wished)
        assert slots.initiators == {f'iqn.{user}' for user in wished}
    assert slots.listed < (1000 if remembers else 2001)


@pytest.mark.parametrize('step', range(20))
def test_a_failure_half_way_is_repaired_by_repeating(step: int) -> None:
    slots = Slots()
    accounts = AccountSlots(slots)  # type: ignore[arg-type]
    wanted = dict.fromkeys('abcd', 's')
    put(accounts, slots.view(), wanted)
    slots.initiators = {'iqn.b', 'iqn.c', 'iqn.d'}
    slots.fail_at = step
    try:
        remove(accounts, slots.view(), ['a'])
    except TargetUnavailable:
        # As the driver does it: the wished state is put again, from what is shown.
        view = slots.view()
        remove(accounts, view, ['a'])
        put(accounts, view, dict.fromkeys('bcd', 's'))
        slots.initiators = {'iqn.b', 'iqn.c', 'iqn.d'}
    assert slots.accounts == dict.fromkeys('bcd', 's')
    assert sorted(slots.bound) == ['b', 'c', 'd']


def test_same_secret_is_not_touched_after_it_was_put() -> None:
    slots = Slots()
    accounts = AccountSlots(slots)  # type: ignore[arg-type]
    put(accounts, slots.view(), {'a': 's', 'b': 's'})
    slots.fail_at = 0
    put(accounts, slots.view(), {'a': 's', 'b': 's'})
    assert slots.fail_at == 0, 'a request was sent'
    with pytest.raises(TargetUnavailable):
        put(accounts, slots.view(), {'a': 's'}, 2)


def test_account_of_another_target_is_not_taken() -> None:
    slots = Slots()
    slots.accounts['a'] = 'theirs'
    slots.elsewhere = (
        'Target 5: iqn.y:z\n    I_T nexus information:\n    LUN information:\n'
        '    Account information:\n        a\n        b\n'
    )
    with pytest.raises(Exception, match='another target'):
        put(AccountSlots(slots), slots.view(), {'a': 's'})  # type: ignore[arg-type]
    remove(AccountSlots(slots), slots.view(), ['a'])  # type: ignore[arg-type]
    assert slots.accounts == {'a': 'theirs'}


def test_known_secrets_die_with_the_generation() -> None:
    known = KnownSecrets()
    known.put(1, 'a', 's')
    assert known.matches(1, 'a', 's')
    assert not known.matches(1, 'a', 't')
    assert not known.matches(2, 'a', 's')
    known.put(2, 'b', 's')
    assert not known.matches(2, 'a', 's')
    known.drop('b')
    assert not known.matches(2, 'b', 's')
