# SPDX-License-Identifier: Apache-2.0
"""Cutting one initiator off a target, and seeing in the target that it is.

Order: no new login (ACL entry, then account), then no live session, then a fresh read. A login that
passed ACL and CHAP just before is shown nowhere until it is a session, so what is read must show
nothing twice, a moment apart, and what turns up is cut again.
"""

import dataclasses
import logging
import time

from multiattach.drivers.target import Cut, SessionState, TargetError
from multiattach.drivers.tgt.accounts import AccountSlots
from multiattach.drivers.tgt.daemon import TgtDaemon
from multiattach.drivers.tgt.parse import Listing, Nexus, ShownTarget
from multiattach.drivers.tgt.protocol import ErrorCode, TgtError, tolerate
from multiattach.drivers.tgt.sessions import Pause, close_sessions

LOG = logging.getLogger(__name__)

# s; a login that is on its way takes a few round trips.
_SETTLE = 0.003


@dataclasses.dataclass(frozen=True)
class Intruder:
    """Who is to be cut off, and where.

    :param iqn: name of the target.
    :param initiator: name of the initiator.
    :param username: its CHAP name.
    """

    iqn: str
    initiator: str
    username: str


class Fence:
    """Cuts initiators off the targets of one tgtd.

    :param daemon: the tgtd.
    :param slots: its accounts.
    :param timeout: how long the sessions of one initiator may take to end, seconds.
    """

    def __init__(self, daemon: TgtDaemon, slots: AccountSlots, timeout: float) -> None:
        self._daemon = daemon
        self._slots = slots
        self._timeout = timeout

    def cut(self, who: Intruder) -> Cut:
        """Cut an initiator off; one that the target does not know is success.

        The caller pins the daemon and has taken the grant out of the target's file.

        :param who: the initiator and its target.
        :returns: what was there, and that nothing is left.
        :raises TargetError: tgtd refused a step, or something was still there in the end.
        :raises TargetUnavailable: tgtd did not answer.
        """
        listing = self._daemon.show_targets()
        target = listing.find(who.iqn)
        had_acl = had_account = False
        ended: list[SessionState] = []
        pause, clean, reads = Pause(self._timeout), 0, 0
        while clean < 2:
            left = _find(target, who)
            if target is None or not left.is_left:
                # Of an account that no target has any more, nothing may stay for the next one.
                if not reads and not listing.bound_elsewhere(who.username, who.iqn):
                    self._slots.forget(who.username)
                clean += 1
                if target is None:
                    break
            else:
                clean = 0
                had_acl, had_account = had_acl or left.left_acl, had_account or left.left_account
                ended += self._act(listing, target, who)
            if reads and clean == 0 and not pause.take():
                raise TargetError(f'{who.initiator} is still at target {who.iqn}: {left.describe()}')
            if clean < 2:
                time.sleep(_SETTLE if clean else 0)
                listing = self._daemon.show_targets()
                target = listing.find(who.iqn)
                reads += 1
        return Cut(acl=had_acl, account=had_account, sessions=tuple(ended), reads=reads)

    def revoke(self, who: Intruder) -> None:
        """Shut an initiator out that is thought to have left: read back by steps that are cheap.

        They take the same time with any number of targets.

        :param who: the initiator and its target.
        :raises TargetError: tgtd refused a step, or a session did not end in time.
        :raises TargetUnavailable: tgtd did not answer.
        """
        listing = self._daemon.show_targets()
        target = listing.find(who.iqn)
        if target is None:
            if not listing.bound_elsewhere(who.username, ''):
                self._slots.forget(who.username)
            return
        self._shut_out(listing, target, who)
        self._verify(target, who)
        close_sessions(self._daemon, target.tid, timeout=self._timeout, only={who.initiator})

    def _verify(self, target: ShownTarget, who: Intruder) -> None:
        try:
            self._daemon.unbind_initiator(target.tid, who.initiator)
        except TgtError as error:
            if error.code is not ErrorCode.NO_ACL:
                raise
        else:
            raise TargetError(f'somebody admitted initiator {who.initiator} while it was shut out')
        if who.username in target.accounts or who.username in self._daemon.show_accounts():
            raise TargetError(f'account {who.username} of {target.iqn} is still there')

    def _shut_out(self, listing: Listing, target: ShownTarget, who: Intruder) -> None:
        if who.initiator in target.initiators:
            with tolerate(ErrorCode.NO_ACL):
                self._daemon.unbind_initiator(target.tid, who.initiator)
            target.initiators.remove(who.initiator)
        self._slots.remove(listing, target, [who.username])

    def _act(self, listing: Listing, target: ShownTarget, who: Intruder) -> list[SessionState]:
        self._shut_out(listing, target, who)
        closed = close_sessions(self._daemon, target.tid, timeout=self._timeout, only={who.initiator})
        return [_show(nexus) for nexus in closed]


def _find(target: ShownTarget | None, who: Intruder) -> Cut:
    if target is None:
        return Cut()
    return Cut(left_acl=who.initiator in target.initiators, left_account=who.username in target.accounts,
               left_sessions=tuple(_show(nexus) for nexus in target.nexuses
                                   if nexus.initiator == who.initiator))


def _show(nexus: Nexus) -> SessionState:
    return SessionState(nexus.initiator, next((one.address for one in nexus.connections), ''))
