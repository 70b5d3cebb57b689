# SPDX-License-Identifier: Apache-2.0
"""CHAP accounts of one target, changed without leaving a hole in tgtd's slots.

tgtd keeps a target's accounts in an array and a count, and reads only the first ``count``
slots. Unbinding (or deleting) an account that is not the last one leaves an empty slot; then

- "show targets", by anybody, ends tgtd with a segmentation fault, and
- the last account is not found, so its initiator cannot log in.

(``usr/target.c`` of tgt 1.0.85 to 1.0.97: account_ctl, account_lookup, tgt_target_show_all.)
So accounts are taken off from the end only, and those that stay are bound again. For that
moment (a few milliseconds) their initiators cannot log in; live sessions do not notice.

A target without any account needs no CHAP. When all accounts come off for a moment, the
initiators are shut out for it too.
"""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.ledger import View
from multiattach.drivers.targets.tgt.parse import ShownTarget
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError, tolerate


class KnownSecrets:
    """Remembers which secret each account was given, as digests that die with the process.

    tgtd does not show secrets. An account whose secret is not known here to be the wished one
    is made anew.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._generation = 0
        self._digests: dict[str, bytes] = {}

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._key, secret.encode(), hashlib.sha256)

    def matches(self, generation: int, user: str, secret: str) -> bool:
        """Return whether an account surely was given a secret in this life of tgtd."""
        with self._lock:
            known = self._digests.get(user) if generation == self._generation else None
        return known is not None and hmac.compare_digest(known, self._digest(secret))

    def put(self, generation: int, user: str, secret: str) -> None:
        with self._lock:
            if generation != self._generation:
                self._generation = generation
                self._digests.clear()
            self._digests[user] = self._digest(secret)

    def drop(self, user: str) -> None:
        with self._lock:
            self._digests.pop(user, None)


class AccountSlots:
    def __init__(self, daemon: TgtDaemon) -> None:
        self._daemon = daemon
        self._known = KnownSecrets()

    def put(self, view: View, target: ShownTarget, wanted: Mapping[str, str], generation: int) -> None:
        """Give a target accounts (secret by CHAP name); others that it has are left as they are.

        :param target: the target in the view; its accounts are brought up to date.
        :raises TargetError: an account of this name belongs to another target.
        """
        self._check_bound(view, target, wanted)
        if view.is_remembered and self._find_stale(target, wanted, generation):
            view.read()
        stale = self._find_stale(target, wanted, generation)
        for user in stale:  # before anything is taken off
            if view.bound_elsewhere(user):
                raise _belong_elsewhere(user)
        with self._never_open(target, stale):
            self._take_off(view, target, stale)
            for user, secret in wanted.items():
                if user in target.accounts:
                    continue
                self._make(view, target, user, secret)
                view.note_account(user)
                self._daemon.bind_account(target.tid, user)
                target.accounts.append(user)
                self._known.put(generation, user, secret)

    def _find_stale(self, target: ShownTarget, wanted: Mapping[str, str], generation: int) -> list[str]:
        return [
            user
            for user in target.accounts
            if user in wanted and not self._known.matches(generation, user, wanted[user])
        ]

    def _check_bound(self, view: View, target: ShownTarget, wanted: Mapping[str, str]) -> None:
        """See that accounts that a target is remembered to have are bound to it; read all targets if one is not."""
        if not view.is_remembered:
            return
        for user in [user for user in target.accounts if user in wanted]:
            try:
                self._daemon.bind_account(target.tid, user)
            except TgtError as exc:
                if exc.code is ErrorCode.USER_EXISTS:
                    continue
                if exc.code is not ErrorCode.NO_USER:
                    raise
            view.read()  # where it is now is not known
            return

    def _make(self, view: View, target: ShownTarget, user: str, secret: str) -> None:
        try:
            self._daemon.new_account(user, secret)
        except TgtError as exc:
            if exc.code is not ErrorCode.USER_EXISTS:
                raise
            # Left over from a crash between making and binding, or between unbinding and
            # deleting. Deleting one that is bound elsewhere would leave a hole there.
            if view.bound_elsewhere(user):
                raise _belong_elsewhere(user) from exc
            with self._never_open(target, [user]):  # it may be the target's own, by hand
                self._take_off(view, target, [user])
            self._daemon.new_account(user, secret)

    def remove(self, view: View, target: ShownTarget, users: Sequence[str], *, is_shut: bool = False) -> set[str]:
        """Take accounts off a target and delete them; absent ones are deleted all the same.

        :param target: the target in the view; its accounts are brought up to date.
        :param is_shut: whether nobody can log in meanwhile.
        :returns: those that it had.
        """
        if not users:
            return set()
        if view.is_remembered and _empties(target, users) and not (is_shut and set(target.accounts) - set(users)):
            view.read()  # somebody may have admitted others by hand
        view.confirm_accounts()
        for user in users:
            if user not in target.accounts:  # if tgtd has it, all targets are read: it may be the target's own, by hand
                view.bound_elsewhere(user)
        with self._never_open(target, users):
            return self._take_off(view, target, users)

    def clear(self, view: View, target: ShownTarget) -> set[str]:
        """Take all accounts off a target that is shut, and that will be deleted before it opens; return them."""
        view.confirm_accounts()
        return self._take_off(view, target, list(target.accounts))

    def _take_off(self, view: View, target: ShownTarget, users: Sequence[str]) -> set[str]:
        try:
            off = self._unbind(target, users)
        except TgtError as exc:
            if exc.code is not ErrorCode.NO_USER or not view.is_remembered:
                raise
            view.read()  # somebody took one off by hand
            off = self._unbind(target, users)
        for user in users:
            if not view.bound_elsewhere(user):
                self._delete(user)
        return off

    def _unbind(self, target: ShownTarget, users: Sequence[str]) -> set[str]:
        unwanted = [user for user in target.accounts if user in users]
        if not unwanted:
            return set()
        keep = target.accounts.index(unwanted[0])
        staying = [user for user in target.accounts[keep:] if user not in unwanted]
        try:
            while len(target.accounts) > keep:
                self._daemon.unbind_account(target.tid, target.accounts[-1])
                target.accounts.pop()
        finally:
            # Also after a failure: whoever came off must not stay off.
            for user in staying:
                if user not in target.accounts:
                    self._daemon.bind_account(target.tid, user)
                    target.accounts.append(user)
        return set(unwanted)

    @contextmanager
    def _never_open(self, target: ShownTarget, leaving: Sequence[str]) -> Iterator[None]:
        """Shut everybody out while the target has no account, because then it asks for none."""
        emptied = _empties(target, leaving)
        doors = list(target.initiators) if emptied else []
        for initiator in doors:
            self._daemon.unbind_initiator(target.tid, initiator)
            target.initiators.remove(initiator)
        try:
            yield
        finally:
            for initiator in doors if target.accounts else []:
                self._daemon.bind_initiator(target.tid, initiator)
                target.initiators.append(initiator)

    def forget(self, user: str) -> None:
        """Delete an account that no target has, if it exists."""
        self._delete(user)

    def _delete(self, user: str) -> None:
        self._known.drop(user)
        with tolerate(ErrorCode.NO_USER):
            self._daemon.delete_account(user)


def _empties(target: ShownTarget, leaving: Sequence[str]) -> bool:
    """Return whether all accounts come off, be it for a moment, when some leave."""
    return bool(target.accounts) and target.accounts[0] in leaving


def _belong_elsewhere(user: str) -> TargetError:
    return TargetError(f'account {user} belongs to another target')
