# SPDX-License-Identifier: Apache-2.0
"""Cutting one initiator off a target, and seeing in the target that it is.

tgtd lets any account of a target log in under any name of its ACL, and does not tell by which
account a session came. So the first fence of an initiator ends every session of the target, whatever
its name: the account is gone by then, and whoever has another one logs in again by itself. In this
order: the target is shut (:mod:`multiattach.drivers.targets.tgt.gate`), ACL entry and account are taken away,
all sessions end, logins that are held open half-way end (:mod:`multiattach.drivers.targets.tgt.logins`), the
target is read again, and opens.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable

from oslo_log import log

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Cut, SessionState
from multiattach.drivers.targets.tgt import gate
from multiattach.drivers.targets.tgt.accounts import AccountSlots
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.ledger import View
from multiattach.drivers.targets.tgt.logins import Logins
from multiattach.drivers.targets.tgt.parse import Nexus, ShownTarget
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError
from multiattach.drivers.targets.tgt.sessions import close_sessions, poll

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Intruder:
    """Who is to be cut off; without a *username* others have its account, and it stays."""

    iqn: str
    initiator: str
    username: str


class Fence:
    """Cuts initiators off the targets of one tgtd.

    :param timeout: how long sessions may take to end, seconds.
    :param is_free: sees that tgtd has no target of a name.
    """

    def __init__(self, daemon: TgtDaemon, slots: AccountSlots, timeout: float, is_free: Callable[[str], bool]) -> None:
        self._daemon = daemon
        self._slots = slots
        self._timeout = timeout
        self._is_free = is_free
        self._logins = Logins(daemon, timeout)

    def check_ready(self) -> None:
        """See that nobody restores targets now from files that were read before: they may have the grant."""
        self._daemon.check_ready()

    def cut(self, who: Intruder) -> Cut:
        """Cut an initiator off, with every session that could be its own; one that is unknown is success.

        The caller alone changes the target, and has taken the grant out of the target's file.

        :raises TargetError: tgtd refused a step, or something was still there in the end.
        """
        view = self._daemon.look(who.iqn)
        target = view.target
        if target is None:
            self._forget(view, who)
            return Cut(whole=True)
        with gate.shut(self._daemon, target.tid, self._timeout) as ended:
            had_acl, had_account = self._shut_out(view, target, who, is_shut=True)
            logins = self._end_all(target.tid, ended)
            left = self._look_again(who, target.tid)
            if left.is_left:
                raise TargetError(f'{who.initiator} is still at target {who.iqn}: {left.describe()}')
        return Cut(
            acl=had_acl,
            account=had_account,
            # With an account that it keeps it could be back under another name.
            whole=bool(who.username),
            logins=tuple(logins),
            sessions=_of(who, ended.values()),
            others=_show(nexus for nexus in ended.values() if nexus.initiator != who.initiator),
        )

    def cut_last(self, who: Intruder, remove: Callable[[], Collection[str]]) -> Cut:
        """Cut off the only initiator of a target, by removing the target.

        A login that is held open half-way finds no target any more: numbers are never used again.

        :param remove: removes it, and tells the accounts that it had.
        :raises TargetError: tgtd refused a step, or the target was still there in the end.
        """
        view = self._daemon.look(who.iqn)
        target = view.target
        had_acl, nexuses = False, list[Nexus]()
        if target is not None:
            had_acl = self._shut_out_name(target, who.initiator)
            nexuses = self._list_sessions(target.tid)
        removed = remove()
        self._check_gone(who.iqn)
        return Cut(
            acl=had_acl,
            account=who.username in removed,
            whole=True,
            sessions=_of(who, nexuses),
            others=_show(nexus for nexus in nexuses if nexus.initiator != who.initiator),
        )

    def _end_all(self, tid: int, ended: dict[int, Nexus]) -> list[str]:
        """End sessions and half-open logins until there is neither; nobody is let in meanwhile."""
        logins: list[str] = []

        def end() -> list[Nexus]:
            logins.extend(self._logins.end_unfinished())
            late = close_sessions(self._daemon, tid, timeout=self._timeout)
            ended.update({nexus.sid: nexus for nexus in late})
            return late

        if poll(end, lambda late: not late, self._timeout):
            raise TargetError(f'logins at target {tid} turn up again and again while it is shut')
        return logins

    def confirm(self, who: Intruder) -> Cut:
        """Read again that an initiator that was cut off still is; what turned up under its name is cut.

        Whoever logged in since had an account that it may use.

        :raises TargetError: tgtd refused a step, or something was still there in the end.
        """
        tid = self._daemon.find_number(who.iqn)
        if tid is None:
            view = self._daemon.look(who.iqn)
            if view.target is None:
                self._forget(view, who)
                return Cut()
            tid = view.target.tid
        left = self._look_again(who, tid)
        if not left.is_left:
            return left
        return dataclasses.replace(self.cut(who), acl=left.left_acl, account=left.left_account)

    def revoke(self, who: Intruder) -> None:
        """Shut an initiator out that is thought to have left: read back by steps that are cheap.

        It is no fence: a session of it under another's
        name is not ended, nor a login that it holds open half-way.
        """
        view = self._daemon.look(who.iqn)
        target = view.target
        if target is None:
            self._forget(view, who)
            return
        self._shut_out(view, target, who)
        left = self._look_again(who, target.tid, sessions=False)
        if left.is_left:
            raise TargetError(f'{who.initiator} was admitted to target {who.iqn} while it was shut out')
        close_sessions(self._daemon, target.tid, timeout=self._timeout, only={who.initiator})

    def _shut_out(self, view: View, target: ShownTarget, who: Intruder, *, is_shut: bool = False) -> tuple[bool, bool]:
        """Take name and account away; tell of each whether the target had it."""
        had_name = self._shut_out_name(target, who.initiator)
        users = [who.username] if who.username else []
        return had_name, bool(self._slots.remove(view, target, users, is_shut=is_shut))

    def _shut_out_name(self, target: ShownTarget, initiator: str) -> bool:
        """Take a name away, and tell whether it was there: tgtd is asked, whatever is remembered."""
        if initiator in target.initiators:
            target.initiators.remove(initiator)
        try:
            self._daemon.unbind_initiator(target.tid, initiator)
        except TgtError as exc:
            if exc.code is not ErrorCode.NO_ACL:
                raise
            return False
        return True

    def _forget(self, view: View, who: Intruder) -> None:
        if who.username and not view.bound_elsewhere(who.username):
            self._slots.forget(who.username)

    def _look_again(self, who: Intruder, tid: int, *, sessions: bool = True) -> Cut:
        """See what is left of who was shut out; an entry in the ACL is taken away by it.

        The list of all targets is asked for only if its account is left, maybe at another one: it takes longer
        with each target that there is.

        :param sessions: whether it is asked for those, too.
        """
        try:
            self._daemon.unbind_initiator(tid, who.initiator)
        except TgtError as exc:
            if exc.code is ErrorCode.NO_TARGET:
                self._check_gone(who.iqn)
                return Cut()
            if exc.code is not ErrorCode.NO_ACL:
                raise
        else:
            return Cut(left_acl=True)
        if who.username and who.username in self._daemon.show_accounts():
            listing = self._daemon.show_targets()
            target = listing.find(who.iqn)
            if target is not None and who.username in target.accounts:
                return Cut(left_account=True)
            if not listing.bound_elsewhere(who.username, who.iqn):
                self._slots.forget(who.username)
        return Cut(left_sessions=_of(who, self._list_sessions(tid) if sessions else ()))

    def _check_gone(self, iqn: str) -> None:
        if not self._is_free(iqn):
            raise TargetError(f'somebody made target {iqn} again while it was removed')

    def _list_sessions(self, tid: int) -> list[Nexus]:
        try:
            return self._daemon.show_connections(tid)
        except TgtError as exc:
            if exc.code is not ErrorCode.NO_TARGET:
                raise
            return []


def _of(who: Intruder, nexuses: Iterable[Nexus]) -> tuple[SessionState, ...]:
    return _show(nexus for nexus in nexuses if nexus.initiator == who.initiator)


def _show(nexuses: Iterable[Nexus]) -> tuple[SessionState, ...]:
    return tuple(
        SessionState(nexus.initiator, next((one.address for one in nexus.connections), '')) for nexus in nexuses
    )
