# SPDX-License-Identifier: Apache-2.0
"""Logins that were begun and are not complete: tgtd shows them nowhere, and lets them go on later.

tgtd checks the ACL and the account once, in the middle of a login. Who stops after that holds a
connection that may become a session whenever it likes, also when the account is long gone.

The kernel shows all connections of tgtd, and tgtd those that are sessions. For each address: when both
are as many, and none came or went meanwhile, each of them is a session. One that was stays one to its end.
"""

import collections
import threading
import time
from collections.abc import Mapping

from oslo_log import log

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError
from multiattach.drivers.targets.tgt.sessions import poll
from multiattach.drivers.targets.tgt.sockets import Peer, list_peers, shut_down
from multiattach.drivers.targets.tgt.tcp_table import plain_address

LOG = log.getLogger(__name__)

# s; a login that is no trick takes a few round trips.
_PATIENCE = 0.05


class Logins:
    """The connections to one tgtd. Safe for several threads.

    :param timeout: how long a connection may take to end, seconds.
    """

    def __init__(self, daemon: TgtDaemon, timeout: float) -> None:
        self._daemon = daemon
        self._timeout = timeout
        self._lock = threading.Lock()
        self._pid = 0
        self._complete: set[int] = set()

    def end_unfinished(self) -> list[str]:
        """End connections that were begun before and may still complete a login; return their addresses.

        One that takes longer than an honest login is ended, and with it, as they cannot be told apart, the
        other connections from its address of which it is not known that they are sessions.

        :raises TargetError: a connection cannot be read or did not end.
        """
        pid = self._daemon.pid
        begun = list_peers(pid)
        if not begun:
            with self._lock:
                self._complete.clear()
            return []
        patient_until = time.monotonic() + _PATIENCE
        ended: dict[int, str] = {}

        def end() -> dict[int, Peer]:
            rest = self._find_unfinished(pid, begun)
            if time.monotonic() > patient_until:
                for peer in rest.values():
                    if peer.inode not in ended:
                        LOG.warning('A login from %s is held open half-way: it is ended', peer.address)
                        ended[peer.inode] = peer.address
                        shut_down(pid, peer)
            return rest

        if rest := poll(end, lambda left: not left, self._timeout):
            raise TargetError(
                f'{len(rest)} logins from {", ".join(sorted({one.address for one in rest.values()}))} '
                'are held open half-way and cannot be ended'
            )
        return sorted(ended.values())

    def _find_unfinished(self, pid: int, begun: Mapping[int, Peer]) -> dict[int, Peer]:
        """Find out which of these connections are still there and not surely sessions."""
        before = list_peers(pid)
        with self._lock:
            if pid != self._pid:
                self._pid = pid
                self._complete.clear()
            self._complete &= before.keys()
            known = set(self._complete)
        rest = {inode: peer for inode, peer in begun.items() if inode in before and inode not in known}
        if not rest:
            return {}
        shown = self._count_sessions()
        after = list_peers(pid)
        complete: set[int] = set()
        for address in {peer.address for peer in rest.values()}:
            its = _pick(before, address)
            if its == _pick(after, address) and len(its) == shown[address]:
                complete |= its
        with self._lock:
            self._complete |= complete
        return {inode: peer for inode, peer in rest.items() if inode in after and inode not in complete}

    def _count_sessions(self) -> collections.Counter[str]:
        """Count the connections of sessions, by address."""
        found: collections.Counter[str] = collections.Counter()
        for tid in self._daemon.list_busy():
            try:
                nexuses = self._daemon.show_connections(tid)
            except TgtError as exc:
                if exc.code is not ErrorCode.NO_TARGET:
                    raise
                continue
            found.update(plain_address(one.address) for nexus in nexuses for one in nexus.connections)
        return found


def _pick(peers: Mapping[int, Peer], address: str) -> set[int]:
    return {peer.inode for peer in peers.values() if peer.address == address}
