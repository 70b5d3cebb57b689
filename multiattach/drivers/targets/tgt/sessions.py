# SPDX-License-Identifier: Apache-2.0
"""Ending live sessions, and waiting until they are really gone."""

import collections
import logging
import time

from multiattach.drivers.errors import TargetBusy
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.parse import Nexus
from multiattach.drivers.targets.tgt.protocol import ErrorCode, tolerate

LOG = logging.getLogger(__name__)

_POLL_FIRST, _POLL_MOST = 0.001, 0.05


class Pause:
    """Waits that grow, up to a limit in all.

    :param limit: after this time there is no further wait, seconds.
    """

    def __init__(self, limit: float) -> None:
        self._deadline = time.monotonic() + limit
        self._next = _POLL_FIRST

    def take(self) -> bool:
        """Wait.

        :returns: False, at once, when the limit is over.
        """
        if time.monotonic() > self._deadline:
            return False
        time.sleep(self._next)
        self._next = min(self._next * 2, _POLL_MOST)
        return True


def close_sessions(
    daemon: TgtDaemon, tid: int, *, timeout: float, only: set[str] | None = None, keep: set[str] | None = None
) -> list[Nexus]:
    """Close live sessions of a target and wait until they are gone.

    tgtd only marks a connection. Until its event loop gets there the session may still carry
    a write, so the wait is part of the fence.

    :param timeout: how long it may take, seconds.
    :param only: initiators whose sessions are closed, None for all.
    :param keep: initiators whose sessions stay.
    :returns: the sessions that were closed.
    :raises TargetBusy: a session did not end in time.
    """
    pause = Pause(timeout)
    # How many connections of one number a session had when one of them was closed: tgtd takes any number of
    # them in, and closes the newest. The same one is not to be closed twice.
    closed: dict[tuple[int, int], int] = {}
    ended: dict[int, Nexus] = {}
    while True:
        left = [
            nexus
            for nexus in daemon.show_connections(tid)
            if (only is None or nexus.initiator in only) and (keep is None or nexus.initiator not in keep)
        ]
        if not left:
            return list(ended.values())
        for nexus in left:
            ended[nexus.sid] = nexus
            for cid, count in collections.Counter(one.cid for one in nexus.connections).items():
                if closed.get((nexus.sid, cid)) != count:
                    LOG.info('Closing a session of %s at target %s', nexus.initiator, tid)
                    with tolerate(ErrorCode.NO_SESSION, ErrorCode.NO_CONNECTION):
                        daemon.close_connection(tid, nexus.sid, cid)
                    closed[nexus.sid, cid] = count
        if not pause.take():
            raise TargetBusy(f'{len(left)} sessions at target {tid} did not end in {timeout:g} s')
