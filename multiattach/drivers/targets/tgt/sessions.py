# SPDX-License-Identifier: Apache-2.0
"""Ending live sessions, and waiting until they are really gone."""

import collections
from collections.abc import Callable
from typing import TypeVar

from oslo_log import log

from multiattach import backoff
from multiattach.drivers.errors import TargetBusy
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.parse import Nexus
from multiattach.drivers.targets.tgt.protocol import ErrorCode, tolerate

T = TypeVar('T')
LOG = log.getLogger(__name__)

_POLL_FIRST, _POLL_MOST = 0.001, 0.05


def poll(look: Callable[[], T], is_done: Callable[[T], bool], limit: float) -> T:
    """Poll as fast as tgtd's event loop may be through: see :func:`multiattach.backoff.poll`."""
    return backoff.poll(look, is_done, limit, first=_POLL_FIRST, most=_POLL_MOST)


def close_sessions(
    daemon: TgtDaemon, tid: int, *, timeout: float, only: set[str] | None = None, keep: set[str] | None = None
) -> list[Nexus]:
    """Close live sessions of a target, wait until they are gone, and return them.

    tgtd only marks a connection. Until its event loop gets there the session may still carry
    a write, so the wait is part of the fence.

    :param timeout: how long it may take, seconds.
    :param only: initiators whose sessions are closed, None for all.
    :param keep: initiators whose sessions stay.
    :raises TargetBusy: a session did not end in time.
    """
    # How many connections of one number a session had when one of them was closed: tgtd takes any number of
    # them in, and closes the newest. The same one is not to be closed twice.
    closed: dict[tuple[int, int], int] = {}
    ended: dict[int, Nexus] = {}

    def close() -> int:
        left = [
            nexus
            for nexus in daemon.show_connections(tid)
            if (only is None or nexus.initiator in only) and (keep is None or nexus.initiator not in keep)
        ]
        for nexus in left:
            ended[nexus.sid] = nexus
            for cid, count in collections.Counter(one.cid for one in nexus.connections).items():
                if closed.get((nexus.sid, cid)) != count:
                    LOG.info('Closing a session of %s at target %s', nexus.initiator, tid)
                    with tolerate(ErrorCode.NO_SESSION, ErrorCode.NO_CONNECTION):
                        daemon.close_connection(tid, nexus.sid, cid)
                    closed[nexus.sid, cid] = count
        return len(left)

    if left := poll(close, lambda number: not number, timeout):
        raise TargetBusy(f'{left} sessions at target {tid} did not end in {timeout:g} s')
    return list(ended.values())
